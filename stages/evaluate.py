"""Read the test parts, once, and say how well each protocol's heads do on them."""

import json
from pathlib import Path

from data_manifest.protocols import ProtocolConfig
from pipeline.checkpoints import load_head
from pipeline.evaluation import MODALITIES, evaluate, headline, named, write_predictions
from pipeline.experiments import aligned_features, open_corpus, plan_runs, predict_runs, read_recipe
from pipeline.figures.results import draw_confusion, draw_embedding, draw_reliability
from pipeline.files import write_text
from pipeline.params import read_section
from stages import run

RESULTS = Path("results")
MODELS = Path("models")


def main() -> None:
    """Write `results/metrics.json`, `results/predictions.csv`, the figures, and what to expect of `models/head`."""
    protocols = read_section("protocols", dict[str, ProtocolConfig])
    corpus = open_corpus()
    runs = plan_runs(corpus.clips, protocols, read_recipe().train.seeds)
    predictions = predict_runs(corpus, runs, MODELS)
    metrics = corpus.summary() | {"protocols": evaluate(predictions, corpus.classes)}
    write_text(RESULTS / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    _, card = load_head(MODELS / "head.safetensors")
    expected = {"expected": headline(metrics)} | {it: metrics[it] for it in ("warning",) if it in metrics}
    write_text(MODELS / "head.json", json.dumps(card.model_dump(mode="json") | expected, indent=2) + "\n")
    write_predictions(RESULTS / "predictions.csv", predictions, corpus.classes)
    first = runs[0]
    name = first.split.protocol
    title = named(name, speakers_shared=first.split.speakers_shared)
    draw_confusion(
        metrics["protocols"][name], corpus.classes, MODALITIES, RESULTS / "figures/confusion.png", title=title
    )
    draw_reliability(metrics["protocols"][name], RESULTS / "figures/reliability.png", title=title)
    features, labels = aligned_features(corpus, first, MODELS)
    title = f"Test clips of {title}, fold {first.split.fold}, after alignment"
    draw_embedding(features, labels, corpus.classes, RESULTS / "figures/tsne.png", title=title)


if __name__ == "__main__":
    run(main)

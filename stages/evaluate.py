"""Evaluate the heads of all protocols on their test parts."""

import json
from pathlib import Path

from data_manifest.splits.protocols import ProtocolConfig
from pipeline.base.files import write_text
from pipeline.base.params import read_section
from pipeline.base.provenance import code_version
from pipeline.evaluation.figures import draw_confusion, draw_embedding, draw_reliability, draw_spread
from pipeline.evaluation.predictions import MODALITIES, protocol_label, write_confusion, write_predictions
from pipeline.evaluation.projections import explore
from pipeline.evaluation.results import headline, summary
from pipeline.evaluation.scores import evaluate
from pipeline.training.checkpoints import load_head
from pipeline.training.corpus import open_corpus
from pipeline.training.held_out import load_run, predict_runs
from pipeline.training.runs import plan_runs, read_recipe
from stages import run_stage

RESULTS = Path("results")
FIGURES = RESULTS / "figures/evaluate"
MODELS = Path("models")


def main() -> None:
    """Write tables and figures of results, data for the report, and the expected performance of `models/head`."""
    corpus = open_corpus()
    runs = plan_runs(corpus.clips, read_section("protocols", dict[str, ProtocolConfig]), read_recipe().train.seeds)
    predictions = predict_runs(corpus, runs, MODELS)
    protocols = evaluate(predictions, corpus.classes)
    metrics = corpus.summary() | {"code": code_version(explore), "protocols": protocols}
    write_text(RESULTS / "evaluation.json", json.dumps(metrics, indent=2) + "\n")
    write_text(RESULTS / "metrics.json", json.dumps(summary(metrics), indent=2) + "\n")
    _, card = load_head(MODELS / "head.safetensors")
    expected = {"expected": headline(metrics)} | {it: metrics[it] for it in ("warning",) if it in metrics}
    write_text(MODELS / "head.json", json.dumps(card.model_dump(mode="json") | expected, indent=2) + "\n")
    write_predictions(RESULTS / "predictions.csv", predictions, corpus.classes)
    first_run = runs[0]
    name = first_run.split.protocol
    write_confusion(RESULTS / "confusion.csv", [it for it in predictions if it.protocol == name], corpus.classes)
    scores = protocols[name]
    title = protocol_label(name, speakers_shared=first_run.split.speakers_shared)
    draw_confusion(scores, corpus.classes, MODALITIES, FIGURES / "confusion.png", title=title)
    draw_reliability(scores, FIGURES / "reliability.png", title=title)
    draw_spread(protocols, FIGURES / "spread.png")
    first_predictions = predictions[: len(first_run.split.test)]  # predictions are in the order of the runs
    head, test_part = load_run(corpus, first_run, MODELS), corpus.part(first_run.split.test)
    explored = explore(head, test_part, first_predictions, predictions, corpus.classes)
    write_text(RESULTS / "explore.json", json.dumps(explored) + "\n")
    draw_embedding(explored, corpus.classes, FIGURES / "tsne.png")


if __name__ == "__main__":
    run_stage(main)

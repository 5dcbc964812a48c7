"""Train a head for every fold and seed, and one on all clips for prediction."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from statistics import median

from data_manifest.protocols import ProtocolConfig
from pipeline.curves import log_curves
from pipeline.experiments import open_corpus, plan_runs, read_recipe, save_head, train_runs
from pipeline.files import write_text
from pipeline.parallel import RunConfig
from pipeline.params import read_section
from pipeline.provenance import library_versions
from pipeline.replicas import train
from pipeline.training import describe
from stages import run

log = logging.getLogger(__name__)
MODELS = Path("models")


def main() -> None:
    """Write `models/`, and the curves for `dvc plots`."""
    recipe = read_recipe()
    corpus = open_corpus()
    runs = plan_runs(corpus.clips, read_section("protocols", dict[str, ProtocolConfig]), recipe.train.seeds)
    trained = list(train_runs(corpus, [(recipe, it) for it in runs], read_section("run", RunConfig)))
    for planned, result in zip(runs, trained, strict=True):
        save_head(result.head, MODELS / "folds" / f"{planned.name}.safetensors")
    epochs = round(median(result.best_epoch for result in trained))
    final = train(recipe, corpus.examples, None, classes=len(corpus.classes), seed=recipe.train.seeds[0], epochs=epochs)
    save_head(final.head, MODELS / "head.safetensors")
    card = {
        "recipe": describe(recipe),
        "classes": corpus.classes,
        "epochs": epochs,
        "clips": len(corpus.clips),
        "embeddings": corpus.provenance,
        "libraries": library_versions("torch"),
        "folds": {it.name: result.best_epoch for it, result in zip(runs, trained, strict=True)},
    }
    write_text(MODELS / "head.json", json.dumps(card, indent=2) + "\n")
    log_curves(Path("results/curves"), [[asdict(epoch) for epoch in result.curve] for result in trained])
    log.info("%d heads for the folds, one on all %d clips for %d epochs", len(runs), len(corpus.clips), epochs)


if __name__ == "__main__":
    run(main)

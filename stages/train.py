"""Train a head for each fold and seed, and a final head on all clips for prediction."""

import logging
from pathlib import Path

from data_manifest.splits.protocols import ProtocolConfig
from pipeline.base.params import read_section
from pipeline.parallel.pool import ExecutionConfig, Pool
from pipeline.training.checkpoints import save_head
from pipeline.training.corpus import open_corpus
from pipeline.training.curves import write_curves
from pipeline.training.runs import describe_head, plan_runs, read_recipe, refit, train_runs
from pipeline.training.temperature import fit_temperatures
from stages import run_stage

log = logging.getLogger(__name__)
MODELS = Path("models")


def main() -> None:
    """Write `models/` and the training curves for `dvc plots`."""
    recipe = read_recipe()
    corpus = open_corpus()
    runs = plan_runs(corpus.clips, read_section("protocols", dict[str, ProtocolConfig]), recipe.train.seeds)
    seed = recipe.train.seeds[0]
    run_config = read_section("run", ExecutionConfig)
    with Pool(run_config, device=run_config.device) as pool:
        trained = list(train_runs(corpus, [(recipe, it) for it in runs], pool))
        final = refit(corpus, recipe, pool, seed=seed)
    parts = [
        (result.validation, corpus.part(run.split.validation, recipe.train).labels)
        for run, result in zip(runs, trained, strict=True)
    ]
    for run, result, part in zip(runs, trained, parts, strict=True):
        card = describe_head(corpus, recipe, fit_temperatures([part]), run=run)
        save_head(result.head, card, MODELS / "folds" / f"{run.name}.safetensors")
    first = [part for run, part in zip(runs, parts, strict=True) if run.split.protocol == runs[0].split.protocol]
    card = describe_head(corpus, recipe, fit_temperatures(first), seed=seed)
    save_head(final.head, card, MODELS / "head.safetensors")
    curves = {run.name: result.curve for run, result in zip(runs, trained, strict=True)}
    write_curves(Path("results/curves"), curves)
    log.info("trained %d heads on folds, and one on all %d clips", len(runs), len(corpus.clips))


if __name__ == "__main__":
    run_stage(main)

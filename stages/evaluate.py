"""Read the test parts, once, and score the heads of every protocol on them."""

from pathlib import Path

from data_manifest.splits.protocols import ProtocolConfig
from pipeline.base.params import read_section
from pipeline.base.provenance import code_version
from pipeline.evaluation.figures import draw_results
from pipeline.evaluation.predictions import write_confusion, write_predictions
from pipeline.evaluation.projections import explore
from pipeline.evaluation.results import headline, summarise
from pipeline.evaluation.schemas import Evaluation
from pipeline.evaluation.scores import evaluate
from pipeline.training.checkpoints import load_head
from pipeline.training.corpus import open_corpus
from pipeline.training.data_summary import summarise_data
from pipeline.training.head_file import HeadFile
from pipeline.training.held_out import load_run, predict_runs
from pipeline.training.runs import plan_runs, read_recipe
from stages import run_stage

RESULTS = Path("results")
MODELS = Path("models")


def main() -> None:
    """Write the tables and figures of the results, the data of the report's figures, and `models/head.json`."""
    corpus, recipe = open_corpus(), read_recipe()
    runs = plan_runs(corpus.clips, read_section("protocols", dict[str, ProtocolConfig]), recipe.train.seeds)
    predictions = predict_runs(corpus, runs, MODELS, allow=recipe.builders)
    data, code = dict(summarise_data(corpus, [recipe], runs)), code_version(explore)
    evaluation = Evaluation(**data, code_version=code, protocols=evaluate(predictions, corpus.classes))
    evaluation.write(RESULTS / "evaluation.json")
    summarise(evaluation).write(RESULTS / "metrics.json")
    _, card = load_head(MODELS / "head.safetensors", allow=recipe.builders)
    HeadFile(**dict(card), warning=evaluation.warning, expected=headline(evaluation)).write(MODELS / "head.json")
    write_predictions(RESULTS / "predictions.csv", predictions, corpus.classes)
    first = runs[0]
    shown = [it for it in predictions if it.protocol == first.split.protocol]
    write_confusion(RESULTS / "confusion.csv", shown, corpus.classes)
    answers = predictions[: len(first.split.test)]  # those of the first run come first
    head, used = load_run(corpus, first, MODELS, allow=recipe.builders)
    exploration = explore(head, corpus.part(first.split.test, used.train), answers, predictions, corpus.classes)
    exploration.write(RESULTS / "explore.json", indent=None)
    draw_results(evaluation.protocols, exploration, corpus.classes, RESULTS / "figures/evaluate")


if __name__ == "__main__":
    run_stage(main)

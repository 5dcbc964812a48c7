"""The head's settings, compared one by one and chosen on validation speakers.

`python -m benchmarks.head_choice FOLDER…` trains `CHOICES` and `COMPARED` on the speaker folds of every folder, each of
which has embeddings and a `params.yaml`, and prints a table for each folder. In each fold, the choice is taken whose
UAR on the validation speakers is the best, as the mean over all folders: one setting for all of them, and no test
answer plays a part. With `--ensemble K`, every run is joined with those of the K - 1 next seeds, as many ensembles as
there are seeds. Trained runs are kept in the memo. docs/head.md shows the results.
"""

import argparse
import atexit
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from pipeline.ablation.table import RowScores, TestedRun, open_rows, run_table, write_runs
from pipeline.base.params import PARAMS_FILE, read_section
from pipeline.base.plugins import PLUGINS
from pipeline.evaluation.clusters import ClusterCounts, count_answers, uar
from pipeline.evaluation.intervals import difference_interval, score_interval
from pipeline.evaluation.predictions import Prediction, answer_label
from pipeline.evaluation.schemas import Interval
from pipeline.parallel.pool import ExecutionConfig
from pipeline.store.embedding_files import EmbeddingFiles
from pipeline.training.held_out import HeldOut
from pipeline.training.runs import plan_ablation, read_recipe
from pipeline.variants.rows import REFERENCE, Rows

ALONE = ("video_only", "audio_only")
EARLIER = Path(__file__).with_name("earlier_heads.py")
CHOICES: Rows = {
    REFERENCE: {},
    "token_dropout 0": {"head": {"token_dropout": 0}},
    "dropout 0": {"head": {"dropout": 0}},
    "dropout 0.3": {"head": {"dropout": 0.3}},
    "width 128": {"head": {"width": 128}},
    "learning_rate 0.001": {"train": {"learning_rate": 0.001}},
    "mean pooled": {"head": {"name": "earlier_heads:MeanPooled"}},
    "linear projection": {"head": {"name": "earlier_heads:LinearProjection"}},
    "no clock": {"head": {"name": "earlier_heads:WithoutClock"}},
}
"""The settings among which one is chosen."""
COMPARED: Rows = {
    "modality_dropout 0": {"train": {"modality_dropout": 0}},
    "trained together": {"head": {"name": "earlier_heads:TrainedTogether"}},
    "trained together, modality_dropout 0": {
        "head": {"name": "earlier_heads:TrainedTogether"},
        "train": {"modality_dropout": 0},
    },
    "a classifier each": {"head": {"shared_classifier": False}},
    "no alignment": {"alignment": {"name": "none"}},
    "no cross-attention": {"head": {"attention_depth": 0}},
    "neither": {"alignment": {"name": "none"}, "head": {"attention_depth": 0}},
    "visual": {"head": {"name": "visual"}},
    "acoustic": {"head": {"name": "acoustic"}},
    "linear": {"head": {"name": "linear"}},
    "lda": {"head": {"name": "lda"}},
}
"""Rows that are compared with the reference, and never chosen."""


@dataclass(frozen=True)
class Scored:
    """A row's scores, and its UAR without one of two modalities, of the answers that it gives."""

    fused: RowScores
    alone: Mapping[str, float]


Tables = Mapping[Path, Mapping[str, Scored]]  # by folder and row


def main() -> None:
    """Read the command line, train, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--ensemble", type=int, default=1)
    arguments = parser.parse_args()
    tables = {
        folder: score_rows(CHOICES | COMPARED, folder, seeds=arguments.seeds, ensemble=arguments.ensemble)
        for folder in arguments.folders
    }
    sys.stdout.writelines(f"{line}\n" for line in render(tables))


def render(tables: Tables) -> Iterator[str]:
    """Yield the lines of a Markdown table for each folder, and of the figures that the choice gives."""
    for folder, rows in tables.items():
        alone = [name for name in ALONE if any(name in row.alone for row in rows.values())]
        names = ["row", "test UAR", "difference", "UAR on validation parts", *map(answer_label, alone)]
        yield from ("", f"{folder}", "", f"| {' | '.join(names)} |", "| --- " * len(names) + "|")
        reference = rows[REFERENCE].fused
        for name, row in rows.items():
            figures = [
                describe(row.fused.counts),
                compare(row.fused, reference),
                f"{100 * row.fused.validation_uar:.1f}",
            ]
            figures += [f"{100 * row.alone[it]:.1f}" if it in row.alone else "" for it in alone]
            yield f"| {name} | {' | '.join(figures)} |"
    yield ""
    for folder, (chosen, counts) in choose(tables).items():
        yield f"{folder}: chosen on validation speakers {describe(counts)}, by fold: {', '.join(chosen)}"


def score_rows(rows: Rows, folder: Path, *, seeds: int, ensemble: int = 1) -> dict[str, Scored]:
    """Train the rows on the embeddings of a folder, with its settings, and return their scores."""
    with open_folder(folder):
        opened = open_rows(rows, read_recipe(), dict.fromkeys(rows, EmbeddingFiles()))
        runs = plan_ablation(opened[REFERENCE].corpus, range(seeds))
        tested = [*join_seeds(run_table(opened, runs, read_section("run", ExecutionConfig)), ensemble)]
        scores = write_runs(Path("runs.csv"), tested, opened)
    return {name: Scored(row, _score_alone(name, tested)) for name, row in scores.items()}


def join_seeds(tested: Iterable[TestedRun], members: int) -> Iterator[TestedRun]:
    """Yield every run as an ensemble with the next seeds of its row and fold, the last ones with the first."""
    for name, of_row in groupby(tested, lambda it: it[0]):
        runs = [(run, held_out) for _, run, held_out in of_row]
        for run, _ in runs:
            seeds = [(it.seed, held_out) for it, held_out in runs if it.split.fold == run.split.fold]
            start = [seed for seed, _ in seeds].index(run.seed)
            joined = [seeds[(start + number) % len(seeds)][1] for number in range(members)]
            yield name, run, HeldOut(_join([it.validation for it in joined]), _join([it.test for it in joined]))


def _join(parts: Sequence[Sequence[Prediction]]) -> list[Prediction]:
    """Return one prediction a clip: by answer, the mean of the members' log-probabilities, as probabilities."""
    joined = []
    for of_clip in zip(*parts, strict=True):
        probabilities: dict[str, list[float] | None] = {}
        for name in of_clip[0].probabilities:
            values = [it.probabilities[name] for it in of_clip]
            geometric = None if None in values else np.exp(np.log(np.maximum(values, 1e-30)).mean(0))
            probabilities[name] = None if geometric is None else (geometric / geometric.sum()).tolist()
        joined.append(replace(of_clip[0], probabilities=probabilities))
    return joined


def _score_alone(name: str, tested: Sequence[TestedRun]) -> dict[str, float]:
    predictions = [it for row, _, held_out in tested if row == name for it in held_out.test]
    answered = [it for it in ALONE if any(prediction.probabilities[it] for prediction in predictions)]
    return {it: float(uar(*count_answers(predictions, it, "speaker").totals)) for it in answered}


@contextmanager
def open_folder(folder: Path) -> Iterator[None]:
    """Make the current folder one with the embeddings and settings of another, and with the earlier heads as plugins.

    It is the same folder for all of them, because Python imports a plugin once.
    """
    data, params = (folder / "data").absolute(), (folder / PARAMS_FILE).absolute()
    with chdir(_plugin_folder()):
        Path("data").symlink_to(data)
        shutil.copy(params, PARAMS_FILE)
        try:
            yield
        finally:
            Path("data").unlink()


@cache
def _plugin_folder() -> Path:
    folder = Path(mkdtemp())
    atexit.register(shutil.rmtree, folder)
    (folder / PLUGINS).mkdir()
    shutil.copy(EARLIER, folder / PLUGINS)
    return folder


def choose(tables: Tables) -> dict[Path, tuple[list[str], ClusterCounts]]:
    """Return the row chosen for each fold, and the counts that the choice gives, by folder.

    A row that changes nothing in a folder is missing in its table: the reference stands for it.
    """
    first = next(iter(tables.values()))[REFERENCE].fused
    folds = sorted({*first.counts.folds.tolist()})

    def validation_uar(name: str, fold: int) -> float:
        scores = (rows.get(name, rows[REFERENCE]).fused.fold_validation_uar(fold) for rows in tables.values())
        return float(np.mean([*scores]))

    chosen = [max(CHOICES, key=lambda name: validation_uar(name, fold)) for fold in folds]
    results = {}
    for folder, rows in tables.items():
        counts = rows[REFERENCE].fused.counts
        hits = [
            rows.get(chosen[folds.index(fold)], rows[REFERENCE]).fused.counts.hits[number]
            for number, fold in enumerate(counts.folds.tolist())
        ]
        results[folder] = chosen, replace(counts, hits=np.stack(hits))
    return results


def describe(counts: ClusterCounts) -> str:
    """Return the UAR in %, with its 95 % interval over speakers."""
    return f"{100 * uar(*counts.totals):.1f} ({_interval(score_interval(counts, uar), '.1f')})"


def compare(row: RowScores, reference: RowScores) -> str:
    """Return the difference of two rows' UAR in points, with its 95 % interval over speakers."""
    if row is reference:
        return ""
    difference = uar(*row.counts.totals) - uar(*reference.counts.totals)
    return f"{100 * difference:+.1f} ({_interval(difference_interval(row.counts, reference.counts, uar), '+.1f')})"


def _interval(interval: Interval, form: str) -> str:
    return " to ".join(format(100 * bound, form) for bound in interval)


if __name__ == "__main__":
    main()

"""Ablations: rows change the keys that they name, and paired statistics compare them."""

import csv
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_clip
from report_samples import evaluation

from data_manifest.manifest.clips import EXCLUSIONS, MANIFEST, Clip, Exclusion, write_rows
from data_manifest.splits.protocols import Official, SpeakerFolds
from data_manifest.splits.split import Split
from pipeline.ablation.comparison import compare, select_rows, summarise_table
from pipeline.ablation.table import (
    Losses,
    Row,
    RowScores,
    count_modalities,
    keep_rows_with_effect,
    open_rows,
    override,
    run_table,
    write_runs,
)
from pipeline.alignments.contract import AlignmentConfig
from pipeline.base.errors import ParameterError, StoreError
from pipeline.base.provenance import code_version, source_files
from pipeline.evaluation.clusters import ClusterCounts, uar
from pipeline.evaluation.results import count_clusters, explain_test
from pipeline.evaluation.schemas import DataSummary
from pipeline.heads.contract import HeadConfig
from pipeline.heads.examples import Examples
from pipeline.parallel.pool import ExecutionConfig, Pool
from pipeline.store.embedding_files import EmbeddingFiles
from pipeline.store.schemas import EMBEDDINGS
from pipeline.store.tokens import Tokens
from pipeline.store.writer import open_writer
from pipeline.training import held_out
from pipeline.training import runs as training_runs
from pipeline.training.corpus import ACOUSTIC, STANDARD, VISUAL, Corpus, CorpusFiles, open_corpus
from pipeline.training.ensembles import EnsembleRun
from pipeline.training.held_out import train_and_predict
from pipeline.training.recipe import Recipe, TrainConfig, Trained
from pipeline.training.runs import plan_runs, train_runs

SUMMARY = DataSummary.model_validate(evaluation().model_dump(include=set(DataSummary.model_fields)))  # of any corpus


def row(hits: list[list[int]], validation: list[float]) -> RowScores:
    """Return a row of folds with four clips of each of two classes."""
    clips = np.full((len(hits), 2), 4)
    counts = ClusterCounts(np.array(hits), clips, np.arange(len(hits)))
    runs = [float(uar(*it)) for it in zip(counts.hits, clips, strict=True)]
    return RowScores("head", Losses(0, 0), runs, list(enumerate(validation)), "fold", counts)


TABLE = {
    "full": row([[4, 3], [3, 3], [4, 2], [3, 2], [2, 4], [4, 4]], [0.5, 0.7, 0.5, 0.7, 0.5, 0.5]),
    "worse": row([[3, 2], [2, 2], [3, 1], [2, 1], [1, 3], [3, 3]], [0.4, 0.8, 0.5, 0.4, 0.4, 0.4]),
    "same": row([[4, 3], [3, 3], [4, 2], [3, 2], [2, 4], [4, 4]], [0.4, 0.4, 0.4, 0.4, 0.4, 0.6]),
}


def test_rows_are_compared_fold_by_fold() -> None:
    rows = {row.name: row for row in compare(TABLE)}
    assert rows["full"].uar == pytest.approx((20 / 24 + 18 / 24) / 2)
    assert rows["worse"].difference == pytest.approx(-0.25)
    # Six folds, all of one sign: the exact two-sided p is 2 / 2^6, and two comparisons double it.
    assert rows["worse"].p == 2 / 64
    assert rows["worse"].p_holm == 4 / 64
    low, high = rows["worse"].interval_95  # each fold differs as much, but a fold has four clips of a class
    assert -0.5 < low < -0.3 < -0.2 < high < 0
    assert rows["same"].p_holm == 1
    assert rows["same"].interval_95 == (0, 0)
    assert rows["full"].p is rows["full"].p_holm is None
    low, high = rows["full"].uar_interval
    assert low < rows["full"].uar < high
    assert rows["full"].validation_uar == pytest.approx(3.4 / 6)


def test_selection_scores_in_each_fold_the_row_that_its_validation_part_prefers() -> None:
    selection = select_rows(TABLE)
    assert selection.rows == ["full", "worse", "full", "full", "full", "same"]
    assert selection.uar == pytest.approx((19 / 24 + 17 / 24) / 2)  # fold 1 has one right answer less of each class


def test_the_choice_of_a_row_ignores_the_test_part() -> None:
    corrupted = {name: replace(it, counts=replace(it.counts, hits=0 * it.counts.hits)) for name, it in TABLE.items()}
    assert select_rows(corrupted).rows == select_rows(TABLE).rows


@pytest.mark.parametrize(
    ("folds", "rows", "words"),
    [
        (5, 2, "With 5 folds, p is at least 0.062, and at least 0.062 after correction for 1 comparison. So only the"),
        (6, 2, "With 6 folds, p is at least 0.031, and at least 0.031 after correction for 1 comparison."),
        (6, 3, "With 6 folds, p is at least 0.031, and at least 0.062 after correction for 2 comparisons. So only the"),
    ],
)
def test_table_says_what_its_test_can_show(folds: int, rows: int, words: str) -> None:
    data = corpus(90)
    runs = plan_runs(data.clips, {"folds": SpeakerFolds(kind="speaker_folds", folds=5)}, [0])
    scores = {f"{number}": row([[1, 2]] * folds, [0.5] * folds) for number in range(1, rows)}
    table = summarise_table(SUMMARY, runs, {"full": row([[1, 2]] * folds, [0.5] * folds)} | scores)
    assert explain_test(table).startswith(words)
    assert table.can_conclude == ("only" not in words)
    assert "seed" not in explain_test(table)  # more seeds do not lower p


def test_override_changes_only_the_keys_that_it_names() -> None:
    recipe = Recipe(HeadConfig(), AlignmentConfig(), TrainConfig())
    changed = override(recipe, {"head": {"width": 64}, "alignment": {"name": "none"}}, row="small")
    assert (changed.head.width, changed.alignment.name) == (64, "none")
    assert changed.head == recipe.head.model_copy(update={"width": 64})
    assert changed.train == recipe.train


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"head": {"widht": 1}}, r"ablations.row.head.widht: unknown key; did you mean 'width'"),
        ({"train": {"epochs": 0}}, r"ablations.row.train.epochs = 0: .*greater than or equal to 1"),
    ],
)
def test_override_with_an_unknown_key_or_value_is_an_error(overrides: dict[str, dict[str, int]], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        override(Recipe(HeadConfig(), AlignmentConfig(), TrainConfig()), overrides, row="row")


def corpus(count: int) -> Corpus:
    """Return a corpus of five speakers and three emotions that the tokens show."""
    generator = torch.Generator().manual_seed(0)
    emotions = ("anger", "fear", "neutral")
    clips = [
        make_clip(f"c{n:03}", speaker=f"test/s{n % 5}", emotion=emotions[n // 5 % 3], sha256=str(n))
        for n in range(count)
    ]
    labels = torch.tensor([emotions.index(clip.emotion) for clip in clips])

    def modality() -> Tokens:
        values = torch.randn(count, 2, 6, generator=generator)
        values[:, :, :3] += 2 * torch.nn.functional.one_hot(labels, 3)[:, None]
        return Tokens(values, torch.zeros(count, 2), torch.ones(count, 2, dtype=torch.bool))

    origin = {"weights": {"name": "test"}, "failures": {}, "fingerprint": "f", "version": "v"}
    provenance = {name: dict(origin) for name in ("visual", "acoustic")}
    return Corpus(clips, list(emotions), Examples(modality(), modality(), labels), [], provenance)


def vary(data: Corpus, lost: Mapping[str, Sequence[int]] | None = None, **versions: str) -> Corpus:
    """Return the corpus without the tokens of some clips by modality, and with other versions of the embeddings."""
    parts = {}
    for name in ("visual", "acoustic"):
        tokens = getattr(data.examples, name)
        mask = tokens.mask.clone()
        mask[list((lost or {}).get(name, ()))] = False
        parts[name] = tokens._replace(mask=mask, values=tokens.values.masked_fill(~mask[..., None], 0))
    provenance = {name: origin | {"version": versions.get(name, "v")} for name, origin in data.provenance.items()}
    return replace(data, examples=replace(data.examples, **parts), provenance=provenance)


def test_memo_replaces_training_and_gives_the_same_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    data = corpus(90)
    folds = {"folds": SpeakerFolds(kind="speaker_folds", folds=5)}
    runs = plan_runs(data.clips, folds, [0, 1])
    short = TrainConfig(epochs=2, batch_size=16, ensemble=1)
    recipes = [Recipe(HeadConfig(name=name, width=8), AlignmentConfig(), short) for name in ("fdan", "majority")]
    jobs = [(recipe, run) for recipe in recipes for run in runs]
    config = ExecutionConfig(scheduler="synchronous")
    first = list(train_and_predict([(data, jobs[:-3])], config))
    trained: list[int] = []

    train_group = training_runs.train_group

    def counting(data: Corpus, pool: Pool, group: list[EnsembleRun]) -> Callable[[], list[Trained]]:
        trained.append(len(group))
        return train_group(data, pool, group)

    monkeypatch.setattr("pipeline.training.held_out.train_group", counting)
    again = list(train_and_predict([(data, jobs)], config))
    assert sum(trained) == 5  # the group that the missing three belong to
    assert again[: len(first)] == first
    assert len(again) == 20
    for part in ("validation", "test"):
        answered = [it.clip_id for it in getattr(again[0], part)]
        assert answered == [clip.clip_id for clip in getattr(runs[0].split, part)]
    trained.clear()
    more = plan_runs(data.clips, folds, [0, 1, 2])
    list(train_and_predict([(data, [(recipes[0], run) for run in more])], config))
    assert sum(trained) == 5  # the folds of the third seed
    # Results of one kind of device are not reused on another.
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ParameterError, match="torch finds no cuda device here"):
        list(train_and_predict([(data, jobs)], config.model_copy(update={"device": "cuda"})))
    other = replace(jobs[0][0], train=TrainConfig(epochs=3, batch_size=16, ensemble=1))
    changed_media = {name: origin | {"version": "of other media"} for name, origin in data.provenance.items()}
    for changed, job in ((data, (other, runs[0])), (replace(data, provenance=changed_media), jobs[0])):
        trained.clear()
        list(train_and_predict([(changed, [job])], config))
        assert trained == [1]


def test_test_part_does_not_affect_training() -> None:
    data, corrupted = corpus(90), corpus(90)
    run = plan_runs(data.clips, {"folds": SpeakerFolds(kind="speaker_folds", folds=5)}, [0])[0]
    recipe = Recipe(HeadConfig(width=8, attention_heads=2), AlignmentConfig(), TrainConfig(epochs=4, batch_size=16))
    tested = {clip.clip_id for clip in run.split.test}
    rows = torch.tensor([clip.clip_id in tested for clip in data.clips])
    corrupted.examples.visual.values[rows] = 1e6
    corrupted.examples.acoustic.values[rows] = -1e6
    corrupted.examples.labels[rows] = 0
    pool = Pool(ExecutionConfig(scheduler="synchronous"))
    one, other = (next(train_runs(it, [(recipe, run)], pool)) for it in (data, corrupted))
    assert one.curve == other.curve
    for name, values in one.validation.items():
        torch.testing.assert_close(values, other.validation[name], rtol=0, atol=0, equal_nan=True)
    states = one.head.state_dict(), other.head.state_dict()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_editing_a_plugin_head_changes_the_memo_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    source = (
        "from pipeline.heads.majority import MajorityHead\n\ndef build(*arguments): return MajorityHead(*arguments)\n"
    )
    data = corpus(90)
    runs = plan_runs(data.clips, {"folds": SpeakerFolds(kind="speaker_folds", folds=5)}, [0])

    def keys() -> set[str]:
        for cached in (source_files, code_version, training_runs.training_code):
            cached.cache_clear()
        importlib.invalidate_caches()
        recipe = Recipe(HeadConfig(name="edited_head:build"), AlignmentConfig(), TrainConfig(epochs=1))
        return {held_out._key([], recipe, runs[0])}

    (tmp_path / "edited_head.py").write_text(source)
    before = keys()
    (tmp_path / "edited_head.py").write_text(f"# a comment\n{source}")
    assert keys() == before
    (tmp_path / "edited_head.py").write_text(
        source.replace("MajorityHead(*arguments)", "MajorityHead(*arguments).eval()")
    )
    assert keys() != before
    (tmp_path / "edited_head.py").write_text(f"import bokeh\n{source}")
    before, real = keys(), metadata.version
    monkeypatch.setattr("pipeline.base.provenance.metadata.version", lambda name: real(name) + "x" * (name == "bokeh"))
    assert keys() != before


def test_worker_refuses_other_embeddings_than_those_of_the_parent(tmp_path: Path) -> None:
    write_rows(tmp_path / MANIFEST, [make_clip("a", emotion="fear", sha256="1" * 64)], Clip)
    write_rows(tmp_path / EXCLUSIONS, [], Exclusion)
    attributes: dict[str, Any] = {name: {} for name in ("config", "failures", "absent", "excluded")}
    attributes |= {"schema": EMBEDDINGS.name, "fingerprint": "f", "weights": {"name": "none", "sha256": ""}}
    attributes |= {"upstream": {"config": {}, "fingerprint": "f", "version": ""}}
    columns = {"tokens": np.ones((2, 3), np.float32), "times": np.zeros(2, np.float32)}

    def write(digit: str) -> None:
        for path in (VISUAL, ACOUSTIC):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            with open_writer(tmp_path / path, like=columns, attributes=attributes) as writer:
                writer.append("a", columns, media_sha256=digit * 64)

    write("1")
    version, files = open_corpus(tmp_path).version, CorpusFiles(tmp_path)
    assert len(training_runs._read_once(files, version, 1)) == 1
    with pytest.raises(StoreError, match=r"holds other clips or embeddings on .* than where training was started"):
        training_runs._read_once(files, "another", 1)
    write("2")  # of media that the manifest does not list
    with pytest.raises(StoreError, match=r"visual.h5 holds an earlier version of a; run: dvc repro"):
        open_corpus(tmp_path)


def test_baseline_is_the_answer_of_the_majority_head_which_sees_the_training_part_only() -> None:
    data = corpus(90)
    by_emotion = {name: [clip for clip in data.clips if clip.emotion == name] for name in data.classes}
    parts = []
    for speakers, shown in ((("0", "1", "2"), "fear"), (("3",), "neutral"), (("4",), "anger")):
        clips = [clip for clip in data.clips if clip.speaker[-1] in speakers]
        rare = [clip for clip in clips if clip.emotion != shown][: len(clips) // 3]
        parts.append((*[clip for clip in by_emotion[shown] if clip in clips], *rare))
    run = training_runs.FoldRun(Split("mine", 0, parts[0], parts[1], parts[2]), 0)
    recipe = Recipe(HeadConfig(name="majority"), AlignmentConfig(), TrainConfig(epochs=1))
    (held_out,) = train_and_predict([(data, [(recipe, run)])], ExecutionConfig(scheduler="synchronous"))
    for prediction in (*held_out.validation, *held_out.test):
        assert prediction.majority == prediction.predicted_class("fused") == data.classes.index("fear")


def test_one_official_split_with_dialogues_counts_these_and_one_training_set(tmp_path: Path) -> None:
    data = corpus(90)
    parts = ("train", "train", "dev", "test", "test")  # by speaker
    names = [f"{parts[n % 5]}/s{n % 5}/dia{n // 5 % 6}_utt{n}" for n in range(90)]
    clips = [
        replace(clip, clip_id=f"meld/{name}", split=name.partition("/")[0])
        for clip, name in zip(data.clips, names, strict=True)
    ]
    data = replace(data, clips=clips)
    runs = plan_runs(clips, {"official": Official(kind="official")}, [0, 1])
    recipe = Recipe(HeadConfig(name="lda"), AlignmentConfig(), TrainConfig(epochs=1))
    rows = {"full": Row("reference", recipe, data)}
    tested = run_table(rows, runs, ExecutionConfig(scheduler="synchronous"))
    table = summarise_table(SUMMARY, runs, write_runs(tmp_path / "runs.csv", tested, rows))
    assert (table.cluster, table.clusters, table.training_sets, table.seeds) == ("dialogue", 6, 1, 2)
    assert count_clusters(table) == "6 dialogues (one training set was seen)"
    with (tmp_path / "runs.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line["modality"] == "fused"]
    assert [line["seed"] for line in lines] == ["0", "1"]
    assert [int(line["clips"]) for line in lines] == [36, 36]
    assert np.mean([float(line["validation_uar"]) for line in lines]) == pytest.approx(
        table.rows[0].validation_uar, abs=1e-6
    )
    assert table.selection.rows == ["full"]
    assert table.selection.uar == table.rows[0].uar


def test_rows_that_need_the_other_modality_are_left_out_where_all_clips_have_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    recipe = Recipe(HeadConfig(), AlignmentConfig(), TrainConfig())
    table: dict[str, dict[str, dict[str, Any]]] = {
        "full": {},
        "no alignment": {"alignment": {"name": "none"}},
        "no cross-attention": {"head": {"attention_depth": 0}},
        "dropped": {"train": {"modality_dropout": 0.3}},
        "visual": {"head": {"name": "visual"}},
        "acoustic": {"head": {"name": "acoustic"}},
        "linear": {"head": {"name": "linear"}},
        "narrow": {"head": {"width": 32}},
    }
    both = corpus(90)

    def rows_on(data: Corpus) -> dict[str, Row]:
        return {name: Row("", override(recipe, changes, row=name), data) for name, changes in table.items()}

    assert keep_rows_with_effect(rows_on(both)) == rows_on(both)
    assert not caplog.messages
    heard, seen = (vary(both, {it: range(90)}) for it in ("visual", "acoustic"))
    more = {
        name: Row("", recipe, vary(both, {"visual": range(90)}, **{modality: "w"}))
        for name, modality in (("mfcc", "acoustic"), ("mirrored", "visual"))
    }
    kept = keep_rows_with_effect(rows_on(heard) | more)
    assert list(kept) == ["full", "acoustic", "linear", "narrow", "mfcc"]
    assert caplog.messages == [
        "ablations: all clips have one modality, so these rows change nothing: "
        "no alignment, no cross-attention, dropped, visual, mirrored"
    ]
    assert "visual" in keep_rows_with_effect(rows_on(seen))


def test_a_lost_clip_counts_as_wrong_and_trains_nothing_and_a_lost_modality_is_counted(tmp_path: Path) -> None:
    both = corpus(90)
    for tokens in (both.examples.visual, both.examples.acoustic):
        tokens.values[:, :, :3] += 50 * torch.nn.functional.one_hot(both.examples.labels, 3)[:, None]
    # By the order of the clips: 0 and 1 show anger, 5 shows fear. 1 loses its faces, the others everything.
    variant = vary(both, {"visual": (0, 1, 5), "acoustic": (0, 5)}, visual="w")
    recipe = Recipe(HeadConfig(name="lda"), AlignmentConfig(), TrainConfig(epochs=1))
    rows = {"full": Row("reference", recipe, both), "mirrored": Row("faces", recipe, variant)}
    runs = plan_runs(both.clips, {"folds": SpeakerFolds(kind="speaker_folds", folds=5)}, [0])
    tested = list(run_table(rows, runs, ExecutionConfig(scheduler="synchronous")))
    table = summarise_table(SUMMARY, runs, write_runs(tmp_path / "runs.csv", tested, rows))
    full, mirrored = table.rows
    assert (full.uar, full.lost_clips, full.lost_modality) == (1, 0, 0)
    # Of 30 clips of each emotion, one of anger and one of fear are wrong.
    assert mirrored.uar == pytest.approx((29 / 30 + 29 / 30 + 1) / 3)
    assert mirrored.difference == pytest.approx(-2 / 90)
    assert (mirrored.section, mirrored.lost_clips, mirrored.lost_modality) == ("faces", 2, 1)
    assert mirrored.mean == pytest.approx(np.mean([uar_without(run, {"c000", "c005"}) for run in runs]))
    with (tmp_path / "runs.csv").open() as file:
        lines = [it for it in csv.DictReader(file) if (it["row"], it["modality"]) == ("mirrored", "fused")]
    assert sum(int(it["lost_clips"]) for it in lines) == 2
    assert {int(it["clips"]) + int(it["lost_clips"]) for it in lines} == {18}  # of every fold
    for row, run, part in tested:  # a lost clip of the validation part is wrong, too
        wrong = {"c000", "c005"} & {it.clip_id for it in run.split.validation} if row == "mirrored" else set()
        answered = [it for it in part.validation if it.probabilities["fused"] is not None]
        assert len(part.validation) - len(answered) == len(wrong)
        assert all(it.predicted_class("fused") == it.truth for it in answered)


def uar_without(run: training_runs.FoldRun, lost: set[str]) -> float:
    """Return the UAR of a run whose answers are right, but for lost clips."""
    by_emotion: dict[str, list[bool]] = {}
    for clip in run.split.test:
        by_emotion.setdefault(clip.emotion, []).append(clip.clip_id not in lost)
    return float(np.mean([np.mean(it) for it in by_emotion.values()]))


def test_training_is_the_same_without_lost_clips() -> None:
    both = corpus(90)
    (run,) = plan_runs(both.clips, {"folds": SpeakerFolds(kind="speaker_folds", folds=5)}, [0])[:1]
    recipe = Recipe(HeadConfig(width=8, attention_heads=2), AlignmentConfig(), TrainConfig(epochs=2, ensemble=1))
    gone = run.split.train[0], run.split.validation[0]
    positions = [index for index, clip in enumerate(both.clips) if clip in gone]
    smaller = replace(
        run,
        split=replace(
            run.split,
            train=tuple(it for it in run.split.train if it not in gone),
            validation=tuple(it for it in run.split.validation if it not in gone),
        ),
    )
    lost = vary(both, {"visual": positions, "acoustic": positions})
    pool = Pool(ExecutionConfig(scheduler="synchronous"))
    states = [
        next(train_runs(data, [(recipe, it)], pool)).head.state_dict() for data, it in ((lost, run), (both, smaller))
    ]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_row_that_loses_a_whole_training_part_is_an_error() -> None:
    both = corpus(90)
    recipe = Recipe(HeadConfig(), AlignmentConfig(), TrainConfig())
    nothing = vary(both, dict.fromkeys(("visual", "acoustic"), range(90)))
    runs = plan_runs(both.clips, {"folds": SpeakerFolds(kind="speaker_folds", folds=5)}, [0])
    rows = {"full": Row("reference", recipe, both), "strict": Row("faces", recipe, nothing)}
    with pytest.raises(ParameterError, match=r"ablations.strict: .* no clip of the training part of folds-0-0 has a"):
        next(run_table(rows, runs, ExecutionConfig(scheduler="synchronous")))


def write_embeddings(folder: Path, name: str, clips: Mapping[str, int], excluded: Sequence[str] = ()) -> None:
    """Write a file of embeddings: the number of tokens by clip id."""
    attributes: dict[str, Any] = {it: {} for it in ("config", "failures", "absent")}
    attributes |= {"schema": EMBEDDINGS.name, "fingerprint": name, "weights": {"name": "none", "sha256": ""}}
    attributes |= {"upstream": {"config": {}, "fingerprint": "f", "version": ""}}
    attributes |= {"excluded": dict.fromkeys(excluded, "no face")}
    like = {"tokens": np.ones((1, 3), np.float32), "times": np.zeros(1, np.float32)}
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    with open_writer(folder / name, like=like, attributes=attributes) as writer:
        for clip_id, count in clips.items():
            columns = {"tokens": np.ones((count, 3), np.float32), "times": np.zeros(count, np.float32)}
            writer.append(clip_id, columns, media_sha256="1" * 64)


def test_clips_of_a_table_are_those_with_a_token_in_any_row(tmp_path: Path) -> None:
    clips = [make_clip(name, emotion="fear", sha256="1" * 64) for name in "abcd"]
    write_rows(tmp_path / MANIFEST, clips, Clip)
    write_rows(tmp_path / EXCLUSIONS, [], Exclusion)
    write_embeddings(tmp_path, str(VISUAL), {"a": 1})
    write_embeddings(tmp_path, str(ACOUSTIC), {"a": 2, "b": 2})
    write_embeddings(tmp_path, "other.h5", {"b": 1, "c": 1}, excluded=["a"])
    files = {"full": STANDARD, "small": STANDARD, "other": EmbeddingFiles(Path("other.h5"), ACOUSTIC)}
    table: dict[str, dict[str, dict[str, Any]]] = {
        "full": {},
        "small": {"head": {"width": 8}},
        "other": {"faces": {"no_face": "exclude"}},
    }
    recipe = Recipe(HeadConfig(), AlignmentConfig(), TrainConfig())
    rows = open_rows(table, recipe, files, tmp_path)
    assert [row.section for row in rows.values()] == ["reference", "head", "faces"]
    assert rows["full"].corpus is rows["small"].corpus
    for row, modalities in (("full", {"a": 2, "b": 1, "c": 0}), ("other", {"a": 0, "b": 2, "c": 1})):
        data = rows[row].corpus
        assert count_modalities(data) == modalities
        assert [it.clip_id for it in data.left_out] == ["d"]
        assert data.files is not None
        again = training_runs._read_once(data.files, data.version, 1)  # as a worker does
        assert torch.equal(again.visual.mask, data.examples.visual.mask)
        assert torch.equal(again.acoustic.mask, data.examples.acoustic.mask)

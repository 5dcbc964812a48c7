"""The attacks of `make hostile` in small: a seeded sample of each, so that neither the pipeline nor they can rot."""

import importlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from data_manifest.corpora.contract import MEDIA_SUFFIXES
from hostile.__main__ import ATTACKS, PAGE, describe
from hostile.company import EQUAL, replace_while_reading, write_corpora
from hostile.crafted import crafted_media
from hostile.files import attack_heads, attack_stores
from hostile.forgeries import attack_with_forgeries
from hostile.fuzzing import Journal, search
from hostile.isolation import REFUSED, SAME, run_isolated
from hostile.kills import attack_with_kills, read_stages
from hostile.lures import lures
from hostile.media import attack_with_crafted_files, attack_with_mutants
from hostile.mutations import mutant
from hostile.outcome import Attack, Attacks
from hostile.recording import RECORDINGS
from hostile.stage_runs import RunStage, StageRun
from hostile.targets import make_targets
from pipeline.base.errors import PipelineError, StoreError

SAMPLE = Attack(name="mutants", tried=2, outcomes={"a clip": 1}, faults=("one ended the run",), seconds=1.5)


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch) -> RunStage:
    """Return a function that runs a stage in this process, which saves its start."""

    def run(folder: Path, stage: Sequence[str], _: float) -> StageRun:
        start = time.monotonic()
        monkeypatch.chdir(folder)
        params = json.loads(Path("params.yaml").read_text())
        params["run"]["scheduler"] = "synchronous"
        Path("params.yaml").write_text(json.dumps(params))
        monkeypatch.setattr(sys, "argv", [*stage])
        importlib.import_module(f"stages.{stage[0]}").main()
        return StageRun(0, "", time.monotonic() - start)

    return run


def test_mutated_media_end_no_run_and_each_is_a_row(tmp_path: Path, run_here: RunStage) -> None:
    attack = attack_with_mutants(2 * len(RECORDINGS), seed=1, folder=tmp_path, run_stage=run_here)
    assert not attack.faults


@pytest.mark.filterwarnings("ignore:Glyph")  # a name has characters that the font of figures lacks
def test_crafted_media_end_no_run_and_each_is_a_row(tmp_path: Path, run_here: RunStage) -> None:
    attack = attack_with_crafted_files(folder=tmp_path, run_stage=run_here, step=9)
    assert not attack.faults


def test_the_attacks_cover_all_containers_and_many_crafted_files() -> None:
    assert RECORDINGS.keys() == MEDIA_SUFFIXES
    files = [*crafted_media(), *lures("http://127.0.0.1:9/")]
    # A video and an audio file of one name would be one clip, and the other files of that name would not be opened.
    assert len({file.path.rpartition(".")[0] for file in files}) == len(files) >= 100


def test_a_mutant_differs_from_its_original_and_is_the_same_for_the_same_key() -> None:
    originals = [b"the first file", b"the second file"]
    mutants = [mutant(originals, 0, f"0/{number}") for number in range(200)]
    assert originals[0] not in mutants
    assert mutants == [mutant(originals, 0, f"0/{number}") for number in range(200)]
    assert len(set(mutants)) > 150


@pytest.mark.slow
def test_mutated_stores_and_heads_are_refused_or_read_the_same(tmp_path: Path) -> None:
    for attack in (attack_stores, attack_heads):
        result = attack(60, seed=1, folder=tmp_path)
        assert not result.faults
        assert result.outcomes[REFUSED] > 30


@pytest.mark.slow
def test_forged_stores_and_heads_are_refused_and_run_no_code(tmp_path: Path) -> None:
    for result in attack_with_forgeries(folder=tmp_path):
        assert not result.faults
        assert result.tried >= 20


@pytest.mark.slow
def test_a_crash_a_traceback_and_other_values_are_told_apart() -> None:
    def check(number: int) -> str:
        if number == 1:
            import ctypes

            ctypes.string_at(0)
        if number == 2:
            raise ValueError("unexpected")
        if number == 3:
            raise StoreError("visual.h5 is damaged")
        if number == 4:
            raise StoreError("two\nlines")
        return "0" if number == 0 else "other"

    ends = dict(run_isolated(check, range(6), lambda _: "0"))
    assert ends[0] == SAME
    assert ends[1].startswith("crashed the process")
    assert ends[2] == "ValueError: 'unexpected'"
    assert ends[3] == REFUSED
    assert ends[5] == "other values"


@pytest.mark.parametrize("name", ["file names", "label tables", "manifests", "exclusions", "tables of boxes"])
def test_names_and_tables_are_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    assert_no_fault(name, tmp_path)


@pytest.mark.parametrize("name", ["parameters", "cards", "results"])
def test_parameters_cards_and_results_are_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    assert_no_fault(name, tmp_path)


def assert_no_fault(name: str, folder: Path) -> None:
    target = make_targets(folder)[name]
    journal = Journal(folder / "journal.json", target.read)
    search(journal, list(target.seeds), examples=25, seed=1)
    assert not journal.faults
    assert sum(journal.outcomes.values()) >= 20


def test_a_fault_is_noted_once_with_its_input(tmp_path: Path) -> None:
    def read(content: bytes) -> None:
        if content:
            raise ValueError("not expected")
        raise PipelineError("empty")

    journal = Journal(tmp_path / "journal.json", read)
    for content in (b"", b"a", b"b"):
        journal.try_input(content)
    noted = json.loads((tmp_path / "journal.json").read_text())
    assert noted["outcomes"] == {"refused in one line": 1, "read": 0}
    (fault,) = noted["faults"]
    assert fault.startswith("ValueError in test_hostile.py:")
    assert fault.endswith("b'a'")


@pytest.mark.slow
def test_a_killed_stage_gives_the_files_of_an_undisturbed_one(tmp_path: Path) -> None:
    write_corpora(tmp_path / "media")
    corpus = {"adapter": "csv", "root": str(tmp_path / "media"), "options": {"table": "0.csv"}}
    params: dict[str, dict[str, Any]] = {"corpora": {"sample": corpus}, "run": {"scheduler": "synchronous"}}
    stages = [stage for stage in read_stages() if stage.script == ("corpus", "sample")]
    attack = attack_with_kills(2, seed=0, folder=tmp_path, stages=stages, params=params)
    assert not attack.faults
    assert attack.tried == sum(attack.outcomes.values()) == 2


def test_kills_reach_every_stage() -> None:
    scripts = {stage.script[0] for stage in read_stages()}
    assert scripts == {path.stem for path in Path(importlib.import_module("stages").__path__[0]).glob("[!_]*.py")}


def test_readers_of_a_store_that_is_replaced_see_one_version(tmp_path: Path) -> None:
    assert set(replace_while_reading(tmp_path, 10)) <= {EQUAL}


def test_results_are_a_file_with_a_schema_and_a_table_on_the_page(tmp_path: Path) -> None:
    results = Attacks(date="2026-01-01", machine="a machine", seed=3, attacks=[SAMPLE])
    results.write(tmp_path / "hostile.json")
    assert Attacks.read(tmp_path / "hostile.json") == results
    text = describe(results)
    assert "2 attacks on 2026-01-01 with seed 3, on a machine: 1 faults." in text
    assert "| mutants | 2 | 1 a clip | 1 | 2 s |" in text
    page = PAGE.read_text(encoding="utf-8")
    assert "<!-- attacks: generated by make hostile -->" in page
    assert "<!-- end of attacks -->" in page
    assert ATTACKS.keys() >= {"mutants", "crafted", "kills", "stores", "forgeries", "heads", "inputs", "company"}

"""Kills at random moments of every stage: once it has run again, its outputs equal those of an undisturbed build."""

import hashlib
import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML

from hostile.outcome import Attack
from hostile.stage_runs import kill_group, run_in_process_group, start_stage, write_params
from pipeline.base.provenance import ROOT

CORPUS = "sample"
DEADLINE_S = 300
WORKERS_OF_POOLS = ("spawn_main", "forkserver")  # what the command line of a pool's worker contains
SMALL: dict[str, dict[str, Any]] = {
    "render": {CORPUS: {"speakers": 3, "utterances": 1}},
    "faces": {"frames_per_clip": 2, "size_px": 48},
    "embed_faces": {"backbone": "resnet18", "size_px": 32},
    "embed_mels": {"backbone": "resnet18", "size_px": 32},
    "head": {"width": 8},
    "train": {"epochs": 2},
    "protocols": {"speaker_folds": {"kind": "speaker_folds", "folds": 3, "validation": 0.5}},
    "ablations": {"full": {}, "neither": {"alignment": {"name": "none"}, "head": {"attention_depth": 0}}},
    "run": {"workers": 2},
}


@dataclass(frozen=True)
class Stage:
    """A stage of `dvc.yaml`: its script with arguments, and its outputs."""

    script: tuple[str, ...]
    outputs: tuple[str, ...]


def read_stages() -> list[Stage]:
    """Return the stages of `dvc.yaml` in its order, which is one to run them in; of each corpus's, the sample's."""
    stages = []
    for described in YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"].values():
        stage = described.get("do", described)
        command = stage["cmd"].replace("${key}", CORPUS).split()
        script = (command[2].removeprefix("stages."), *command[3:])
        outputs = [*stage["outs"], *(name for metric in stage.get("metrics", []) for name in metric)]
        stages.append(Stage(script, tuple(it.replace("${key}", CORPUS) for it in outputs)))
    return stages


def attack_with_kills(
    count: int,
    *,
    seed: int,
    folder: Path,
    stages: Sequence[Stage] | None = None,
    params: Mapping[str, Mapping[str, Any]] = SMALL,
) -> Attack:
    """Kill each stage `count / stages` times, rounded up, then let it end; compare its outputs with a calm build's."""
    start, outcomes = time.monotonic(), Counter[str]()
    stages = stages or read_stages()
    calm, attacked = folder / "calm", folder / "attacked"
    rng = random.Random(seed)
    for workspace in (calm, attacked):
        write_params(workspace, params)
    kills = -(-count // len(stages))
    faults: list[str] = []
    for stage in stages:
        seconds = _finish(calm, stage)
        for number in range(kills):
            hit = ""
            while not hit:  # with its results in the memo, the stage takes less time than before
                hit, seconds = _disturb(attacked, stage, seconds, rng, only_a_worker=number % 3 == 2)
            outcomes[hit] += 1
        _finish(attacked, stage)
        faults += _differences(stage, calm, attacked)
    name, seconds = "kills of stages", time.monotonic() - start
    return Attack(name=name, tried=kills * len(stages), outcomes=outcomes, faults=tuple(faults), seconds=seconds)


def _finish(workspace: Path, stage: Stage) -> float:
    """Run the stage to its end; return the seconds."""
    _remove_outputs(workspace, stage)
    run = run_in_process_group(workspace, stage.script, DEADLINE_S)
    if run.status:
        raise SystemExit(f"error: {' '.join(stage.script)} failed without a kill: {run.message}")
    return run.seconds


def _disturb(
    workspace: Path, stage: Stage, seconds: float, rng: random.Random, *, only_a_worker: bool
) -> tuple[str, float]:
    """Start the stage, which takes so many seconds, and kill all its processes or one worker at a random moment.

    Return what was hit, and the seconds; if the stage ended before the kill, nothing and the seconds that it took.
    """
    _remove_outputs(workspace, stage)
    start, process = time.monotonic(), start_stage(workspace, stage.script)
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=rng.uniform(0, seconds))
        return "", min(seconds, time.monotonic() - start)
    if only_a_worker and (workers := list(_workers(process))):
        with suppress(psutil.NoSuchProcess):
            rng.choice(workers).kill()
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=DEADLINE_S)
            return "one worker" if process.returncode == 0 else "one worker, and the stage stopped", seconds
    kill_group(process)
    process.communicate()
    return "all processes", seconds


def _workers(process: "subprocess.Popen[str]") -> Iterator[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if any(word in " ".join(child.cmdline()) for word in WORKERS_OF_POOLS):
                    yield child


def _remove_outputs(workspace: Path, stage: Stage) -> None:
    """Remove the stage's outputs, as DVC does before it runs a stage."""
    for name in stage.outputs:
        path = workspace / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _differences(stage: Stage, calm: Path, attacked: Path) -> Iterator[str]:
    for name in stage.outputs:
        expected, actual = checksums(calm / name), checksums(attacked / name)
        for path in sorted(expected.keys() | actual.keys()):
            if expected.get(path) != actual.get(path):
                yield f"{' '.join(stage.script)}: {name} {path} differs after the kills"


def checksums(path: Path) -> dict[str, str]:
    """Return the md5 of a file or of all files below a folder."""
    files = [it for it in path.rglob("*") if it.is_file()] if path.is_dir() else [path]
    return {str(it.relative_to(path)): hashlib.md5(it.read_bytes()).hexdigest() for it in files if it.exists()}

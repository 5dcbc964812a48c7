"""Hostile media through the stages up to faces and spectrograms: each file becomes a row, and no run ends."""

import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from data_manifest.corpora.contract import media_files
from data_manifest.manifest.clips import EXCLUSIONS, MANIFEST, Clip, Exclusion, read_rows
from hostile.crafted import Crafted, clip_path, crafted_media
from hostile.lures import lures
from hostile.mutations import mutant
from hostile.outcome import Attack
from hostile.recording import RECORDINGS, write_originals, write_recording
from hostile.stage_runs import RunStage, run_in_process_group, write_params
from pipeline.store.reader import Reader
from pipeline.store.schemas import FACES, WINDOWS, Schema

STAGES = (("corpus", "hostile"), ("manifest",), ("faces",), ("spectrograms",))
STORES: dict[str, tuple[Path, Schema[Any]]] = {
    "visual": (Path("data/faces.h5"), FACES),
    "acoustic": (Path("data/spectrograms.h5"), WINDOWS),
}
CLIP_TIMEOUT_S = 20
START_S = 120  # in which a stage has started its workers, on a busy machine too
FILE_S = 0.5
WORKER_MB = 1500  # docs/corpus.md: 1.2 GB for the worst clip
BATCH = 500
INTACT = 5  # clips at the head of the order: that all of the first clips fail says that the code is at fault
EXCEPTION = re.compile(r"^[A-Za-z_.]*(Error|Exception|Exit|Interrupt|Warning): ")


def attack_with_mutants(count: int, *, seed: int, folder: Path, run_stage: RunStage = run_in_process_group) -> Attack:
    """Run mutants of clips of all containers through the stages."""
    start, faults, outcomes = time.monotonic(), [], Counter[str]()
    for first in range(0, count, BATCH):
        batch = folder / f"mutants-{first}"
        files = _mutants(range(first, min(first + BATCH, count)), seed, folder / "originals")
        faults += _run_batch(batch, files, outcomes, run_stage)
    return Attack(
        name="mutated media", tried=count, outcomes=outcomes, faults=tuple(faults), seconds=time.monotonic() - start
    )


def attack_with_crafted_files(*, folder: Path, run_stage: RunStage = run_in_process_group, step: int = 1) -> Attack:
    """Run crafted files and lures through the stages, `step` 2 only every second one."""
    start, outcomes = time.monotonic(), Counter[str]()
    (folder / "outside.wav").parent.mkdir(parents=True, exist_ok=True)
    write_recording(folder / "outside.wav", RECORDINGS[".wav"], seed=99)
    with _counting_server() as (address, visitors):
        files = [*crafted_media(), *lures(address)][::step]
        faults = _run_batch(folder / "crafted", files, outcomes, run_stage)
    faults += [f"a file made the run open an address: {visitor}" for visitor in visitors]
    seconds = time.monotonic() - start
    return Attack(name="crafted media", tried=len(files), outcomes=outcomes, faults=tuple(faults), seconds=seconds)


def _mutants(numbers: Sequence[int], seed: int, folder: Path) -> list[Crafted]:
    originals = write_originals(folder)
    suffixes, contents = list(originals), list(originals.values())

    def write(path: Path, *, number: int) -> None:
        path.write_bytes(mutant(contents, number % len(contents), f"{seed}/{number}"))

    return [
        Crafted(clip_path(f"mutant-{number:06}{suffixes[number % len(suffixes)]}"), partial(write, number=number))
        for number in numbers
    ]


def _run_batch(folder: Path, files: Sequence[Crafted], outcomes: Counter[str], run_stage: RunStage) -> list[str]:
    """Write the files and some intact clips, run all stages, and return what went wrong."""
    root = folder / "media"
    files = [*_intact_clips(), *files]
    for file in files:
        (root / file.path).parent.mkdir(parents=True, exist_ok=True)
        file.write((root / file.path).absolute())
    write_params(folder, _parameters())
    for stage in STAGES:
        deadline_s = START_S + FILE_S * len(files) + 2 * CLIP_TIMEOUT_S
        run = run_stage(folder, stage, deadline_s)
        if run.status:
            end = f"hung for {run.seconds:.0f} s" if run.seconds >= deadline_s else f"ended the run: {run.message}"
            return [f"{folder.name}, {stage[0]}: {end}"]
        if run.worker_mb > WORKER_MB:
            return [f"{folder.name}, {stage[0]}: a worker took {run.worker_mb:.0f} MB"]
    return list(_faults(folder, files, outcomes))


def _intact_clips() -> list[Crafted]:
    write = partial(write_recording, recording=RECORDINGS[".mp4"])
    first = [Crafted(f"anger/a0_{number}.mp4", partial(write, seed=5000 + number), "clip") for number in range(INTACT)]
    return [*first, Crafted(clip_path("intact.mp4"), partial(write, seed=4999), "either")]  # it has a copy


def _parameters() -> dict[str, dict[str, Any]]:
    return {
        "corpora": {"hostile": {"adapter": "folder", "root": "media"}},
        "manifest": {"max_duration_s": 600},
        "faces": {"size_px": 64},
        "run": {"workers": 2, "clip_timeout_s": CLIP_TIMEOUT_S, "max_failures": 1.0},
    }


def _faults(folder: Path, files: Sequence[Crafted], outcomes: Counter[str]) -> Iterator[str]:
    """Yield a line for each file without a row or with the wrong one; count the others."""
    clips = {clip.path: clip for clip in read_rows(folder / MANIFEST, Clip)}
    reasons = {row.path: row.reason for row in read_rows(folder / EXCLUSIONS, Exclusion)}
    failures: dict[str, str] = {}
    for modality, (path, schema) in STORES.items():
        reader = Reader[Any](folder / path, schema=schema)
        failures |= reader.attributes["failures"] | reader.attributes["excluded"]
        named = {*reader, *failures, *reader.attributes["absent"]}
        for clip in clips.values():
            if modality in clip.modalities and clip.clip_id not in named:
                yield f"{folder.name}: {clip.path!r} is neither in {path.name} nor among its failures"
    for name in sorted({*media_files(folder / "media")} - clips.keys() - reasons.keys()):
        yield f"{folder.name}: {name!r} has no row"
    for file in files:
        reason = reasons.get(file.path) or failures.get(clips[file.path].clip_id if file.path in clips else "", "")
        became = "excluded" if reason else "clip"
        if file.expected not in (became, "either"):
            yield f"{folder.name}: {file.path!r} became {became} ({reason})"
        outcomes[_outcome(reason)] += 1


def _outcome(reason: str) -> str:
    if EXCEPTION.match(reason):
        return "a row that names an exception"
    return "a row with a reason" if reason else "a clip"


@contextmanager
def _counting_server() -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a server on this machine, and a list of whoever connects to it."""
    visitors: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:  # closed
                    return
                with connection:
                    connection.settimeout(1)
                    visitors.append(ascii(connection.recv(200)))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/", visitors
        server.shutdown(socket.SHUT_RDWR)
    thread.join()

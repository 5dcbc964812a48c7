"""Company: several runs on one memo, readers of a store that is being replaced, clocks that jump, locks of the dead."""

import hashlib
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from workspace import Workspace

from hostile.files import write_store
from hostile.kills import checksums
from hostile.outcome import Attack
from hostile.recording import RECORDINGS, write_recording
from hostile.stage_runs import kill_group, run_in_process_group, write_params
from pipeline.memo.entries import Memo, entries_to_prune
from pipeline.store.features import FeatureStore
from pipeline.store.schemas import EMBEDDINGS
from pipeline.store.writer import open_writer

RUNS = 4
CLIPS = 12
DEADLINE_S = 300
YEAR_S = 365 * 86400
EQUAL = "the same as alone"
STAGES = (("corpus", "shared"), ("manifest",), ("spectrograms",))


def attack_with_company(*, seed: int, folder: Path, replacements: int = 300, kills: int = 5) -> list[Attack]:
    """Run all attacks of this module."""
    return [
        _attack("runs on one memo", share_a_memo(folder / "memo")),
        _attack("reads of a replaced store", replace_while_reading(folder / "store", replacements)),
        _attack("jumps of the clock", jump_clocks(folder / "clock")),
        _attack("kills of dvc repro", kill_dvc(folder / "dvc", kills, random.Random(seed))),
    ]


def _attack(name: str, ends: Iterator[str]) -> Attack:
    """Return the attack; an end is the word `equal`, or a fault."""
    start = time.monotonic()
    counted = Counter(ends)
    faults = tuple(end for end in counted if end != EQUAL)
    outcomes = {EQUAL: counted[EQUAL]}
    return Attack(name=name, tried=counted.total(), outcomes=outcomes, faults=faults, seconds=time.monotonic() - start)


def share_a_memo(folder: Path) -> Iterator[str]:
    """Run the stages in four folders at once, on overlapping corpora and one memo; compare with runs alone."""
    write_corpora(folder / "media")
    shared = {"FDAN_CACHE": str(folder / "cache")}

    def run(number: int) -> None:
        _run_stages(folder / f"together-{number}", number, **shared)

    with ThreadPoolExecutor(RUNS) as threads:
        list(threads.map(run, range(RUNS)))
    for number in range(RUNS):
        alone, together = folder / f"alone-{number}", folder / f"together-{number}"
        _run_stages(alone, number)
        yield EQUAL if checksums(alone / "data") == checksums(together / "data") else f"{together.name} differs"


def write_corpora(root: Path) -> None:
    """Write clips, and a table for each run that lists two thirds of them."""
    for number in range(CLIPS):
        write_recording(root / f"{number}.wav", RECORDINGS[".wav"], seed=number)
    for run in range(RUNS):
        rows = [f"{number}.wav,anger,s{number}" for number in range(CLIPS) if (number + run) % 3]
        (root / f"{run}.csv").write_text("\n".join(["path,emotion,speaker", *rows, ""]))


def _run_stages(folder: Path, number: int, **environment: str) -> None:
    root = str(folder.parent / "media")
    corpus = {"adapter": "csv", "root": root, "options": {"table": f"{number}.csv"}}
    write_params(folder, {"corpora": {"shared": corpus}, "run": {"scheduler": "synchronous"}})
    for stage in STAGES:
        run = run_in_process_group(folder, stage, DEADLINE_S, **environment)
        if run.status:
            raise SystemExit(f"error: {stage[0]} in {folder} ended with {run.message}")


def replace_while_reading(folder: Path, replacements: int) -> Iterator[str]:
    """Write two versions of a store in turn, while readers open and read it whole: each sees one of the two."""
    path = write_store(folder / "visual.h5")
    other = folder / "other/visual.h5"
    _write_tokens(other, seed=1)
    versions = {_read_tokens(path), _read_tokens(other)}
    stop = threading.Event()

    def replace() -> None:
        for number in range(replacements):
            write_store(path) if number % 2 else _write_tokens(path, seed=1)
        stop.set()

    writer = threading.Thread(target=replace)
    writer.start()
    while not stop.is_set():
        yield EQUAL if _try(lambda: _read_tokens(path)) in versions else "a reader saw neither version"
    writer.join()


def _try(read: Callable[[], str]) -> str:
    try:
        return read()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
        return repr(error)


def _read_tokens(path: Path) -> str:
    """Return the digest of the attributes and all tokens, which one open file gives."""
    store = FeatureStore(path)
    values = hashlib.sha256(str(sorted(store.attributes.items())).encode())
    for tensor in store.load(list(store))[:3]:
        values.update(tensor.numpy().tobytes())
    return values.hexdigest()


def _write_tokens(path: Path, *, seed: int) -> None:
    tokens = np.random.default_rng(seed).normal(size=(5, 16)).astype(np.float32)
    columns: dict[str, Any] = {"tokens": tokens, "times": np.arange(5, dtype=np.float32)}
    path.parent.mkdir(parents=True, exist_ok=True)
    attributes = {"schema": EMBEDDINGS.name, "config": {}, "fingerprint": "b"}
    with open_writer(path, like=columns, attributes=attributes) as writer:
        writer.append("clip", columns)


def jump_clocks(folder: Path) -> Iterator[str]:
    """Date half of the memo and of the media years ahead or back, prune, and run again: the outputs stay the same."""
    write_corpora(folder / "media")
    workspace = folder / "workspace"
    _run_stages(workspace, 0)
    before = checksums(workspace / "data")
    memo = Memo(workspace / ".memo/memo")
    for years in (10, -10, 40, -40):
        now = time.time()
        for number, path in enumerate([*(entry.path for entry in memo.entries()), *(folder / "media").glob("*.wav")]):
            moment = now + years * YEAR_S * (number % 2)
            os.utime(path, (moment, moment))
        too_old = entries_to_prune(memo.entries(), now_s=now, older_than_s=YEAR_S, max_bytes=None)
        if any(entry.written_s > now for entry in too_old):
            yield "an entry from the future counts as old"
        memo.remove(too_old)
        _run_stages(workspace, 0)
        yield EQUAL if checksums(workspace / "data") == before else f"other outputs {years} years away"


def kill_dvc(folder: Path, kills: int, rng: random.Random) -> Iterator[str]:
    """Kill `dvc repro` at a random moment; the next one takes over the locks of the dead and ends."""
    workspace = Workspace(folder, scheduler="synchronous")
    start = time.monotonic()
    workspace.repro("manifest")
    seconds = time.monotonic() - start
    before = checksums(folder / "data")
    for number in range(kills):
        workspace.change_params({"render": {"sample": {"seed": number % 2 + 1}}})
        process = workspace.start("dvc", "repro", "manifest")
        time.sleep(rng.uniform(0, seconds))
        kill_group(process)
        process.wait()
        workspace.change_params({"render": {"sample": {"seed": 1}}})
        again = workspace.run("dvc", "repro", "manifest")
        if again.returncode:
            yield f"dvc repro after a kill: {again.stderr.strip().splitlines()[-1]}"
        else:
            yield EQUAL if checksums(folder / "data") == before else "other outputs after a kill of dvc repro"

"""Fuzzing of the targets: guided by coverage with Atheris where that is installed, otherwise by Hypothesis."""

import json
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hostile.isolation import is_one_line
from hostile.mutations import mutant
from hostile.outcome import Attack
from pipeline.base.errors import PipelineError
from pipeline.base.provenance import ROOT

SAVED_EVERY = 100
MAX_INPUT_BYTES = 20_000
HANG_S = 20
START_S = 120
REFUSED, READ = "refused in one line", "read"


class Journal:
    """Counts how inputs end, and keeps one line for each kind of fault; written to a file, because fuzzers end hard."""

    def __init__(self, path: Path, read: Callable[[bytes], object]) -> None:
        """Take the file, and the function that is fuzzed."""
        self._path, self._read = path, read
        self.outcomes = {REFUSED: 0, READ: 0}
        self.faults: dict[str, str] = {}  # by kind

    def try_input(self, content: bytes) -> None:
        """Read the input, and note how that ended."""
        known = len(self.faults)
        try:
            self._read(content)
            self.outcomes[READ] += 1
        except PipelineError as error:
            if is_one_line(error):
                self.outcomes[REFUSED] += 1
            else:
                self._add_fault(error, content)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
            self._add_fault(error, content)
        if len(self.faults) > known or sum(self.outcomes.values()) % SAVED_EVERY == 0:
            self.save()

    def _add_fault(self, error: Exception, content: bytes) -> None:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"
        self.faults.setdefault(kind, f"{kind}: {str(error)[:150]!a}, for {content[:200]!a}")

    def save(self) -> None:
        """Write the counts and the faults."""
        content = {"outcomes": self.outcomes, "faults": list(self.faults.values())}
        self._path.write_text(json.dumps(content), encoding="utf-8")


def attack_with_inputs(seconds: float, *, seed: int, folder: Path) -> list[Attack]:
    """Fuzz each target for so long, each in a process of its own, two at a time."""
    from hostile.targets import make_targets

    with ThreadPoolExecutor(2) as threads:
        fuzz = partial(_fuzz, seconds=seconds, seed=seed, folder=folder)
        return list(threads.map(fuzz, make_targets(folder / "targets")))


def _fuzz(name: str, *, seconds: float, seed: int, folder: Path) -> Attack:
    start, folder = time.monotonic(), folder / name
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "hostile.fuzzing", name, str(seconds), str(seed), str(folder)]
    try:
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds + START_S, check=False)
        end = f"the process ended with status {run.returncode}: {run.stderr[-300:]!a}" if run.returncode else ""
    except subprocess.TimeoutExpired:
        end = f"hung for more than {START_S} s"
    journal = json.loads((folder / "journal.json").read_text(encoding="utf-8"))
    faults = (*journal["faults"], *([end] if end else []))
    outcomes = journal["outcomes"]
    tried, taken_s = sum(outcomes.values()) + len(faults), time.monotonic() - start
    return Attack(name=f"fuzzed {name}", tried=tried, outcomes=outcomes, faults=faults, seconds=taken_s)


def search(journal: Journal, seeds: list[bytes], *, examples: int, seed: int) -> None:
    """Try the seeds, mutants of them and random bytes."""
    mutants = st.builds(
        lambda source, key: mutant(seeds, source, f"{seed}/{key}"), st.integers(0, len(seeds) - 1), st.integers(0)
    )

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(mutants, mutants, st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
    def try_inputs(content: bytes) -> None:
        journal.try_input(content)

    for content in seeds:
        journal.try_input(content)
    try_inputs()
    journal.save()


def main(name: str, seconds: float, seed: int, folder: Path) -> None:
    """Fuzz one target in this process."""
    if find_spec("atheris"):
        import atheris

        with atheris.instrument_imports(include=["data_manifest", "pipeline"]):
            from hostile.targets import make_targets
    else:
        from hostile.targets import make_targets
    target = make_targets(folder / "files")[name]
    journal = Journal(folder / "journal.json", target.read)
    search(journal, list(target.seeds), examples=100, seed=seed)
    if not find_spec("atheris"):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            seed += 1
            search(journal, list(target.seeds), examples=1000, seed=seed)
        return
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, content in enumerate(target.seeds):
        (corpus / str(number)).write_bytes(content)
    options = [
        f"-max_total_time={seconds:.0f}",
        f"-seed={seed + 1}",
        f"-max_len={MAX_INPUT_BYTES}",
        f"-timeout={HANG_S}",
    ]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/", str(corpus)], journal.try_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))

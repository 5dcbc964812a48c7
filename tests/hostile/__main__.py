"""Attack the pipeline in all ways, or in those named as arguments; write `results/hostile.json` and its table in docs.

`make hostile` runs this. `--seed N` repeats the run of that seed, or makes another one.
"""

import argparse
import platform
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil
from rich.console import Console

from docs.generate import put
from docs.reference import table
from hostile.company import attack_with_company
from hostile.files import attack_heads, attack_stores
from hostile.forgeries import attack_with_forgeries
from hostile.fuzzing import attack_with_inputs
from hostile.kills import attack_with_kills
from hostile.media import attack_with_crafted_files, attack_with_mutants
from hostile.outcome import Attack, Attacks
from pipeline.base.files import write_text
from pipeline.base.provenance import ROOT
from pipeline.parallel.devices import hardware

RESULTS = ROOT / "results/hostile.json"
PAGE = ROOT / "docs/reliability.md"
ATTACKS: dict[str, Callable[[int, Path], list[Attack]]] = {
    "mutants": lambda seed, folder: [attack_with_mutants(2000, seed=seed, folder=folder)],
    "crafted": lambda seed, folder: [attack_with_crafted_files(folder=folder)],
    "kills": lambda seed, folder: [attack_with_kills(110, seed=seed, folder=folder)],
    "stores": lambda seed, folder: [attack_stores(3000, seed=seed, folder=folder)],
    "forgeries": lambda seed, folder: attack_with_forgeries(folder=folder),
    "heads": lambda seed, folder: [attack_heads(3000, seed=seed, folder=folder)],
    "inputs": lambda seed, folder: attack_with_inputs(45, seed=seed, folder=folder),
    "company": lambda seed, folder: attack_with_company(seed=seed, folder=folder),
}
FAULTS_SHOWN = 20


def main() -> None:
    """Run the attacks; exit with status 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="hostile", description=__doc__)
    parser.add_argument("attacks", nargs="*", choices=[*ATTACKS, []], metavar="attack", help=", ".join(ATTACKS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    done: list[Attack] = []
    console = Console()
    for name in options.attacks or ATTACKS:
        with tempfile.TemporaryDirectory() as folder:
            for attack in ATTACKS[name](options.seed, Path(folder)):
                done.append(attack)
                ends = "; ".join(f"{count:,} {end}" for end, count in attack.outcomes.items())
                line = f"{attack.name}: {attack.tried:,} tried in {attack.seconds:.0f} s: {ends}"
                console.print(line, markup=False, soft_wrap=True)
                for fault in attack.faults[:FAULTS_SHOWN]:
                    console.print("  FAULT", fault, markup=False, soft_wrap=True)
    if not options.attacks:
        date = datetime.now(UTC).date().isoformat()
        machine = f"{hardware('cpu')}, {psutil.cpu_count()} cores, {platform.system()}"
        results = Attacks(date=date, machine=machine, seed=options.seed, attacks=done)
        results.write(RESULTS)
        write_text(PAGE, put(PAGE.read_text(encoding="utf-8"), "attacks", describe(results), by="make hostile"))
    if any(attack.faults for attack in done):
        raise SystemExit("error: a promise was broken")


def describe(results: Attacks) -> str:
    """Return the part of docs/reliability.md that shows the last run."""
    rows = [
        (
            attack.name,
            f"{attack.tried:,}",
            "; ".join(f"{count:,} {outcome}" for outcome, count in sorted(attack.outcomes.items())),
            str(len(attack.faults)),
            f"{attack.seconds:.0f} s",
        )
        for attack in results.attacks
    ]
    tried, faults = (
        sum(counts) for counts in zip(*((it.tried, len(it.faults)) for it in results.attacks), strict=True)
    )
    text = f"{tried:,} attacks on {results.date} with seed {results.seed}, on {results.machine}: {faults} faults.\n\n"
    return text + table(("attack", "tried", "how it ended", "faults", "time"), rows)


if __name__ == "__main__":
    main()

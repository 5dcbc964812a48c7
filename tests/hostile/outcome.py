"""The outcome of an attack, and the file `results/hostile.json`."""

from typing import Literal

from pydantic import Field

from pipeline.evaluation.result_file import Result, ResultFile


class Attack(Result):
    """What was tried, how it ended, and every broken promise."""

    name: str
    tried: int
    outcomes: dict[str, int]  # how often each expected end was met
    faults: tuple[str, ...]  # one line each: what was tried, and what happened instead
    seconds: float


class Attacks(ResultFile):
    """The attacks of `make hostile`; the file `results/hostile.json`."""

    stage = "hostile"
    schema_id: Literal["fdan.hostile/1"] = Field("fdan.hostile/1", alias="schema")
    date: str
    machine: str
    seed: int
    attacks: list[Attack]

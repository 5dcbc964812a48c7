"""`models/head.json`: what the head for prediction is, and what to expect of it."""

from typing import Literal

from pydantic import Field

from pipeline.evaluation.result_file import ResultFile
from pipeline.evaluation.schemas import HeadlineRow
from pipeline.training.checkpoints import Card


class HeadFile(Card, ResultFile):
    """The card of `models/head.safetensors`, with the cross-validated scores of its recipe."""

    stage = "evaluate"
    schema_id: Literal["fdan.head/2"] = Field("fdan.head/2", alias="schema")
    warning: str | None = None  # if a backbone has random weights
    expected: list[HeadlineRow]

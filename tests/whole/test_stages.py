"""Stages that take the name of a corpus or a source."""

import sys
from importlib import import_module

import pytest

from pipeline.base.errors import ParameterError


@pytest.mark.parametrize(("stage", "name"), [("corpus", "sample"), ("embed", "mels"), ("render", "sample")])
@pytest.mark.parametrize("change", ["none", "misspelt", "one too many"])
def test_a_name_that_is_missing_or_unknown_is_one_line_that_lists_the_valid_ones(
    stage: str, name: str, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"none": [], "misspelt": [f"{name}e"], "one too many": [name, name]}[change]
    monkeypatch.setattr(sys, "argv", [stage, *arguments])
    with pytest.raises(ParameterError, match=rf"one name, not '{' '.join(arguments)}'.* valid: .*{name}"):
        import_module(f"stages.{stage}").main()

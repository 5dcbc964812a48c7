"""A stranger's text reaches the terminal as one harmless line."""

import unicodedata

import pytest
from conftest import QUICK
from hypothesis import given
from hypothesis.strategies import characters, text

from pipeline.base.errors import PipelineError, exit_with_message
from pipeline.base.selection import shorten
from pipeline.base.text import ONE_LINE_CHARACTERS, one_line, printable


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("speaker Ä/clip 1.mp4", "speaker Ä/clip 1.mp4"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\nb\rc\x9bd\x7f", r"a\nb\rc\x9bd\x7f"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("\udcff", r"\udcff"),
    ],
)
def test_only_what_a_terminal_would_not_show_is_escaped(raw: str, shown: str) -> None:
    assert printable(raw) == shown


@QUICK
@given(text(characters(), max_size=2 * ONE_LINE_CHARACTERS))
def test_any_text_becomes_one_bounded_line_that_can_be_encoded(raw: str) -> None:
    line = one_line(raw)
    assert len(line.encode().decode()) <= ONE_LINE_CHARACTERS
    assert not {unicodedata.category(it) for it in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_white_space_and_length_are_reduced() -> None:
    assert one_line("  first\n\tsecond ") == "first second"
    assert one_line("x" * 301) == "x" * 299 + "…"


def test_error_is_one_line_and_cannot_change_the_terminal() -> None:
    with pytest.raises(SystemExit, match=r"^error: \\x1b\[2J\\n\.mp4; use another name$"), exit_with_message():
        raise PipelineError("\x1b[2J\n.mp4; use another name")


def test_a_list_of_names_is_one_line() -> None:
    text = shorten(["a\nb", "x" * 5000, *"cdefgh"])
    assert text.startswith(r"a\nb, xxx")
    assert text.endswith("…, c, d, e, f and 2 more")
    assert len(text) < 400

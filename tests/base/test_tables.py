"""CSV tables: cells are harmless in a spreadsheet, come back unchanged, and a wrong table is one line."""

import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import QUICK
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import StoreError
from pipeline.base.tables import escape_cell, read_table, table_text, unescape_cell, write_table

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
MARKED = st.builds(str.__add__, st.text(alphabet="'=+-@\t\r\n", max_size=3), TEXT)


@QUICK
@given(TEXT | MARKED)
def test_cell_is_harmless_and_comes_back(text: str) -> None:
    cell = escape_cell(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert unescape_cell(cell) == text
    assert cell in (text, f"'{text}")


@QUICK
@given(st.lists(st.tuples(TEXT | MARKED, TEXT | MARKED), max_size=4))
def test_table_is_read_back(rows: list[tuple[str, str]]) -> None:
    lines = list(csv.reader(io.StringIO(table_text(["a", "b"], rows), newline="")))
    assert lines[0] == ["a", "b"]
    assert [tuple(map(unescape_cell, line)) for line in lines[1:]] == rows


def test_numbers_stay_numbers_and_none_is_empty() -> None:
    rows: list[list[object]] = [[-1, -0.5, np.float32(-2.5), None, True, "-1", Path("=a"), "it's", "'tis"]]
    assert table_text("abcdefghi", rows) == "a,b,c,d,e,f,g,h,i\n-1,-0.5,-2.5,,True,'-1,'=a,it's,'tis\n"


def test_usual_cells_have_the_bytes_of_csv_writer(tmp_path: Path) -> None:
    rows: list[list[object]] = [["a,b", 'c"d', "e\nf", "é", ""], ["", "", "", "", 1.0]]
    write_table(tmp_path / "a.csv", ["1", "2", "3", "4", "5"], rows)
    expected = io.StringIO()
    csv.writer(expected, lineterminator="\n").writerows([["1", "2", "3", "4", "5"], *rows])
    assert (tmp_path / "a.csv").read_bytes() == expected.getvalue().encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,b\n1,\xe9\n", "is not in UTF-8 ('utf-8' codec can't decode byte 0xe9"),
        (b"a,b\n1,2\n1,\0\n", ", line 3: a NUL character"),
        (b"a,b\n1," + b"x" * 200_000 + b"\n", "is not a readable CSV file: line 2: field larger than field limit"),
        (b'a,b\n"' + b"x" * 200_000, "is not a readable CSV file: line 2: field larger than field limit"),
        (b"a,b,a\n", "has two columns 'a'"),
        (b"a,b\n1,2\n1,2,3\n", ", line 3: more values than columns; put a value that contains a comma in quotes"),
    ],
)
def test_wrong_table_is_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(StoreError) as error:
        list(read_table(path, raises=StoreError, fix="mend it")[1])
    assert str(error.value).startswith(str(path))
    assert words in str(error.value)
    assert len(str(error.value)) < 400


def test_line_that_ends_early_lacks_values_and_empty_lines_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ufeffa,b\n1\n\n3,4\n", encoding="utf-8")
    columns, rows = read_table(tmp_path / "a.csv", raises=StoreError, fix="")
    assert (columns, list(rows)) == (["a", "b"], [(2, {"a": "1"}), (4, {"a": "3", "b": "4"})])
    (tmp_path / "a.csv").write_text("")
    assert read_table(tmp_path / "a.csv", raises=StoreError, fix="")[0] == []


def test_path_that_holds_no_table_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    for name, words in (
        ("gone.csv", "does not exist"),
        ("pipe.csv", "cannot be read: not a regular file"),
        ("zero.csv", "cannot be read: not a regular file"),
        (".", "cannot be read: not a regular file"),
        ("x" * 300, "cannot be read: File name too long"),
        ("a\0b", "cannot be read: .*embedded null .*"),
        ("pipe.csv/a", "cannot be read: Not a directory"),
    ):
        with pytest.raises(StoreError, match=rf"{words}; mend it$"):
            read_table(tmp_path / name, raises=StoreError, fix="mend it")

"""CSV tables: those of strangers are read with care, and those that are written are harmless in a spreadsheet."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.base.files import read_file, write_text

FORMULA = re.compile(r"'*[=+\-@\t\r\n]")  # how a cell starts that a spreadsheet may run, or that `escape_cell` made
Row = tuple[int, dict[str, str]]
"""The number of a line, and its values by column. A line that ends early lacks the last ones."""


def escape_cell(text: str) -> str:
    """Return the text, with an apostrophe in front if a spreadsheet could take it for a formula."""
    return f"'{text}" if FORMULA.match(text) else text


def unescape_cell(text: str) -> str:
    """Return the text that `escape_cell` was called on."""
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


class _Lines(list[str]):
    """A file for `csv.writer`, which writes line by line."""

    def write(self, line: str) -> None:
        self.append(line)


def table_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a CSV table with the lines of `columns` and `rows`. Text is escaped, numbers are not, None is empty."""
    lines = _Lines()
    # csv.writer puts a value in quotes if it contains a character of the line's end, and "\r" needs quotes, too.
    writer = csv.writer(lines, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([it if isinstance(it, Real | None) else escape_cell(str(it)) for it in row])
    return "".join(line.removesuffix("\r\n") + "\n" for line in lines)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV table atomically; see `table_text`."""
    write_text(path, table_text(columns, rows))


def read_table(
    path: Path, *, raises: type[PipelineError], fix: str, fallback_encoding: str = ""
) -> tuple[list[str], Iterator[Row]]:
    """Return the columns and the rows of a UTF-8 CSV file; its text is not unescaped.

    A file that is missing, no regular file, or no readable table is one line, which names the file and the line if
    there is one. Text that is not UTF-8 is read with `fallback_encoding`, if that is given.
    """
    content = read_file(path, raises=raises, fix=fix)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if not fallback_encoding:
            raise raises(f"{path} is not in UTF-8 ({error}); save it as UTF-8") from error
        text = content.decode(fallback_encoding, errors="replace")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise raises(f"{path}, line {line}: a NUL character; this is not a readable CSV file")
    lines = _read_lines(text, path, raises)
    _, columns = next(lines, (1, []))
    if repeated := [name for name, count in Counter(columns).items() if count > 1]:
        raise raises(f"{path} has two columns {repeated[0]!r}; remove one")
    return columns, _name_values(columns, lines, path, raises)


def _read_lines(text: str, path: Path, raises: type[PipelineError]) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the values of each line that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for values in reader:
            if values:
                yield reader.line_num, values
    except csv.Error as error:
        raise raises(f"{path} is not a readable CSV file: line {reader.line_num}: {error}") from error


def _name_values(
    columns: Sequence[str], lines: Iterable[tuple[int, list[str]]], path: Path, raises: type[PipelineError]
) -> Iterator[Row]:
    for line, values in lines:
        if len(values) > len(columns):
            raise raises(f"{path}, line {line}: more values than columns; put a value that contains a comma in quotes")
        yield line, dict(zip(columns, values, strict=False))

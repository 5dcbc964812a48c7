"""Text of strangers, such as a file's name or a codec's message, made harmless for a terminal."""

ONE_LINE_CHARACTERS = 300


def printable(text: str) -> str:
    r"""Return the text with every character that is not shown as itself escaped, for example `\x1b`.

    Among these are line breaks, control characters, overrides of the writing direction, and lone surrogates.
    """
    return "".join(it if it.isprintable() else it.encode("unicode_escape").decode() for it in text)


def one_line(text: str) -> str:
    """Return the text as one printable line of at most `ONE_LINE_CHARACTERS` characters."""
    line = printable(" ".join(text[: 10 * ONE_LINE_CHARACTERS].split()))
    return line if len(line) <= ONE_LINE_CHARACTERS else line[: ONE_LINE_CHARACTERS - 1] + "…"

"""Tables and notes that fit a terminal, and are whole in a pipe."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

from rich.text import Text

_CELL_MIN = 12
_PIPE = 10_000


def width() -> int:
    """Columns of the terminal; no bound in a pipe, unless COLUMNS says so."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return max(40, shutil.get_terminal_size().columns)
    return _PIPE


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str | Text]],
    columns: int,
    *,
    cut: int,
    right: Sequence[int] = (),
) -> list[Text]:
    """A line for each row, the head first; columns that hold nothing are left out.

    Parameters
    ----------
    columns
        How wide the terminal is.
    cut
        The column whose cells end with an ellipsis where the line would be too long.
    right
        Columns whose cells are aligned to the right: numbers.
    """
    cells = [[_text(cell) for cell in row] for row in rows]
    titles = [Text(title, style="bold") for title in head]
    shown = [at for at in range(len(head)) if any(row[at].cell_len for row in cells)]
    widths = {at: max(row[at].cell_len for row in (titles, *cells)) for at in shown}
    over = sum(widths.values()) + 2 * (len(shown) - 1) - columns
    if over > 0 and cut in widths:
        widths[cut] = max(_CELL_MIN, widths[cut] - over)
    return [_line(row, widths, right) for row in (titles, *cells)]


def note(words: str, columns: int, style: str = "", indent: str = "  ") -> Text:
    """A remark, wrapped between words."""
    lines = _wrapped(words, columns - len(indent))
    return Text("\n".join(indent + line for line in lines), style=style)


def titled(rows: Iterable[tuple[str, str]], columns: int) -> list[Text]:
    """Titles, and beside each its words, wrapped under themselves."""
    told = list(rows)
    beside = max((len(title) for title, _ in told), default=0) + 4
    return [
        Text.assemble(
            (f"  {title}".ljust(beside), "bold"),
            f"\n{' ' * beside}".join(_wrapped(words, max(columns - beside, 24))),
        )
        for title, words in told
    ]


def _line(row: Sequence[Text], widths: dict[int, int], right: Sequence[int]) -> Text:
    parts = []
    for at, columns in widths.items():
        cell = row[at].copy()
        cell.truncate(columns, overflow="ellipsis")
        space = " " * (columns - cell.cell_len)
        parts.append(Text(space) + cell if at in right else cell + Text(space))
    line = Text("  ").join(parts)
    line.rstrip()
    return line


def _wrapped(words: str, columns: int) -> list[str]:
    # A key that is longer than a line is not cut: it is to be copied.
    return textwrap.wrap(
        words, columns, break_long_words=False, break_on_hyphens=False
    ) or [""]


def _text(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(cell)

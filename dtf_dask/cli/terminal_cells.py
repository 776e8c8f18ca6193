"""What stands in tables of terminals: bars, sizes, names."""

from __future__ import annotations

from rich.text import Text

from dtf_dask.runs.reports.text import one_line

_NAME_MAX = 20
_BAR = 10


def bar(share: float) -> Text:
    """How much of something is taken: a bar that is read without colours too."""
    eighths = round(max(0.0, min(1.0, share)) * _BAR * 8)
    full, rest = divmod(eighths, 8)
    text = "█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")
    style = "red" if share > 0.95 else "green" if share > 0.5 else "cyan"
    bar = Text(text, style=style)
    bar.append("·" * (_BAR - len(text)), "dim")
    return bar


def size(size_bytes: float) -> str:
    """In three digits: it changes all the time."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < 1000:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.3g} TiB" if size_bytes < 1000 else f"{size_bytes:,.0f} TiB"


def named(name: str) -> Text:
    """A name, cut where it is too long."""
    cell = Text(one_line(name))
    cell.truncate(_NAME_MAX, overflow="ellipsis")
    return cell


def fits(line: Text, columns: int) -> Text:
    """A line, cut where the terminal ends."""
    line.no_wrap = True
    if line.cell_len > columns:
        line.truncate(columns, overflow="ellipsis")
    return line

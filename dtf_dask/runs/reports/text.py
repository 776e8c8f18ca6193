"""Text from tests made fit to be shown: bounded, and inert on a terminal."""

from __future__ import annotations

import json
import re
from typing import Any

from dtf_dask.runs.codec import plain_value

# C0 but tab and newline, DEL, C1, the bidirectional controls (they reorder what a
# reader sees: CVE-2021-42574), line and paragraph separators, lone surrogates.
_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
    "\ud800-\udfff]"
)
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")


def visible(text: str) -> str:
    r"""Show what would act on a terminal or a page as an escape.

    Examples
    --------
    >>> visible("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return _ACTING.sub(_escape, text)


def one_line(text: str) -> str:
    r"""`visible`, and newlines and tabs as escapes too: for names and table cells.

    Examples
    --------
    >>> one_line("a\nb")
    'a\\nb'
    """
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def output(text: str) -> str:
    r"""Captured output for reading: colours dropped, the rest visible.

    Examples
    --------
    >>> output("\x1b[31mred\x1b[0m\r\n")
    'red\n'
    """
    return visible(_COLOUR.sub("", text).replace("\r\n", "\n"))


def bounded(text: str, chars_max: int) -> str:
    """The text, or its head and tail with a line between that says what is missing.

    The tail gets two thirds: the end of an output is nearer to the failure.
    """
    if len(text) <= chars_max:
        return text
    head = chars_max // 3
    tail = chars_max - head
    left_out = len(text) - head - tail
    return f"{text[:head]}\n[... {left_out:,} characters left out ...]\n{text[-tail:]}"


def seconds(duration_s: float) -> str:
    """A duration with the digits a reader can use.

    Examples
    --------
    >>> [seconds(s) for s in (0.00042, 0.25, 12.345, 75.0, 7384.0)]
    ['0.4 ms', '250 ms', '12.3 s', '1 min 15 s', '2 h 03 min']
    """
    if not duration_s > 0:  # also NaN
        return "0 ms"
    if duration_s < 0.01:
        return f"{duration_s * 1000:.1f} ms"
    if duration_s < 0.9995:
        return f"{duration_s * 1000:.0f} ms"
    if duration_s < 59.95:
        return f"{duration_s:.1f} s"
    if duration_s < 3600:
        minutes, rest = divmod(round(duration_s), 60)
        return f"{minutes} min {rest:02d} s"
    hours, rest = divmod(round(duration_s / 60), 60)
    return f"{hours} h {rest:02d} min"


def size(size_bytes: int) -> str:
    """A size in binary units.

    Examples
    --------
    >>> size(512), size(3 * 1024 * 1024)
    ('512 B', '3.0 MiB')
    """
    if size_bytes < 1024:
        return f"{size_bytes} B"
    scaled = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        scaled /= 1024
        if scaled < 1024:
            return f"{scaled:.1f} {unit}"
    return f"{scaled / 1024:.1f} TiB"


def property_text(value: Any) -> str:
    """A property's value as people read it: JSON, but a text or number as it is."""
    if isinstance(value, str | float):
        return str(value)
    return json_text(value, ensure_ascii=False)


def json_text(value: Any, **options: Any) -> str:
    """JSON that every parser takes: NaN and the infinities, which it lacks, as strings.

    Examples
    --------
    >>> json_text({"loss": float("nan"), "at": (1, 2)})
    '{"loss": "nan", "at": [1, 2]}'
    """
    try:
        return json.dumps(value, allow_nan=False, **options)
    except (ValueError, TypeError):
        return json.dumps(plain_value(value), allow_nan=False, **options)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"

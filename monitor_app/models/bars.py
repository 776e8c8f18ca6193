"""What ran where and when, as bars of a timeline. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ROWS_MAX = 200
_NUMBER = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Bar:
    """One of them.

    Parameters
    ----------
    start, end
        In seconds since 1970.
    word
        How it looks: see `marks`.
    """

    row: str
    start: float
    end: float
    word: str
    text: str
    run: str = ""
    """Of which run it is a case; empty if it is none of a run."""


def natural(text: str) -> list[tuple[int, int, str]]:
    """So that w2 comes before w10.

    Examples
    --------
    >>> sorted(["w10", "w2"], key=natural)
    ['w2', 'w10']
    """
    return [
        (0, int(part), "") if part.isdecimal() and len(part) < 20 else (1, 0, part)
        for part in _NUMBER.split(text)
        if part
    ]


def bars_of(attempts: Iterable[Mapping[str, Any]]) -> list[Bar]:
    """Of attempts as ``/timeline`` tells them; what is not understood is left out."""
    found = []
    for one in attempts:
        try:
            start = float(one["started_at"])
            bar = Bar(
                *(
                    # (A node of before does not say where.)
                    str(one.get("where") or one["worker"]),
                    start,
                    start + max(0.0, float(one["duration_s"])),
                ),
                *(str(one["outcome"]), str(one["case_id"])),
                str(one.get("run") or ""),
            )
        except (KeyError, TypeError, ValueError):
            continue
        found.append(bar)
    return found


def running_bars(name: str, load: Mapping[str, Any] | None, now: float) -> list[Bar]:
    """What a worker runs now."""
    if load is None:
        return []
    return [
        Bar(name, min(one["since"], now), now, "running", one["key"])
        for one in load["running"]
        if one["since"] is not None
    ]


def shown_rows(names: Iterable[str], bars: Sequence[Bar]) -> list[str]:
    """The rows of a timeline: those named, and those of bars."""
    found = sorted({*names, *(one.row for one in bars)}, key=natural)
    return found[:ROWS_MAX]

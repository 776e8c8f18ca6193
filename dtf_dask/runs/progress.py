"""What a run's progress looks like, from its events and the time. Pure.

Lines are made of ``(text, style)`` pairs; a style is a word that the display knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dtf_dask.runs.reports.text import one_line

Line = tuple[tuple[str, str], ...]
Event = Mapping[str, Any]

NOTED_AFTER_S = 0.5  # how long a test has run when its runner names it
_RUNNING_MAX = 8  # tests that the live lines name
_REPORT_RUNNING_MAX = 3
_ID_CHARACTERS_MAX = 2000
_REPORT_ID_CHARACTERS = 100
_BAR_CELLS = (5, 60)


@dataclass(frozen=True, slots=True)
class _Running:
    name: str
    since: float


class Progress:
    """Follows one run.

    Parameters
    ----------
    total
        Reports to expect.
    name
        The id of a case by its number.
    now
        When the run began. All times are seconds of one monotonic clock.

    Examples
    --------
    >>> progress = Progress(20, "t.py::test_{}".format, 0.0)
    >>> progress.hear({"op": "running", "i": 7, "slot": "gw0"}, 1.5)
    >>> progress.report(4.0)
    'dtf: 0 of 20 done; running: gw0 t.py::test_7 (3 s)'
    """

    def __init__(self, total: int, name: Callable[[int], str], now: float) -> None:
        self._total = total
        self._name = name
        self._began = now
        self._slots: tuple[str, ...] = ()
        self._running: dict[str, _Running] = {}
        self._remaining = Remaining()
        self._last_failed = ""
        self.done = 0
        self.failed = 0

    def hear(self, event: Event, now: float) -> None:
        """Take in an event of the run."""
        op = event["op"]
        if op == "slots":
            self._slots = tuple(event["slots"])
            for slot in self._running.keys() - set(self._slots):
                del self._running[slot]
        elif op == "running":
            name = self._shown_name(event["i"])
            self._running[event["slot"]] = _Running(name, now - NOTED_AFTER_S)
        elif op in ("case", "crash"):
            self._ended(event, now)

    def _ended(self, event: Event, now: float) -> None:
        self._running.pop(event["slot"], None)
        if event["retry"]:
            return
        reports = event.get("reports", ())
        if event["op"] == "crash" or any(r.get("outcome") == "failed" for r in reports):
            self.failed += 1
            self._last_failed = self._shown_name(event["i"])
        if event.get("late") or event.get("between"):
            return  # its test has been counted
        self.done = min(self.done + 1, self._total)
        left_s = event.get("left_s")
        if left_s is not None:
            # Of one worker's work: it is shared among those there are.
            self._remaining.hear(left_s / max(1, len(self._slots)), now)

    def lines(
        self, width: int, height: int, now: float, *, ascii_only: bool = False
    ) -> list[Line]:
        """For the bottom of a terminal of so many columns and rows."""
        lines = [self._head(width, now, ascii_only)]
        room = max(0, min(_RUNNING_MAX, height // 3 - 1))
        if self._last_failed and room > 1:
            text = shortened(self._last_failed, width - 13)
            lines.append((("last failed  ", "failed"), (text, "")))
            room -= 1
        shown = self._longest(room)
        column = max((len(slot) for slot in shown), default=0)
        for slot, running in shown.items():
            since = f"{duration(now - running.since):>6}  "
            text = shortened(running.name, width - column - 2 - len(since))
            slot = one_line(slot).ljust(column + 2)
            lines.append(((slot, "slot"), (since, "dim"), (text, "")))
        more = len(self._running) - len(shown)
        if more and room:
            lines.append(((f"and {more} more running", "dim"),))
        return lines

    def _head(self, width: int, now: float, ascii_only: bool) -> Line:
        parts = [(f"{self.done:,}/{self._total:,}", "count")]
        if self.failed:
            parts.append((f"{self.failed:,} failed", "failed"))
        left = self._left_text(now)
        if left:
            parts.append((f"{left} left", "dim"))
        line: list[tuple[str, str]] = []
        least, most = _BAR_CELLS
        cells = min(most, width - sum(len(text) + 2 for text, _ in parts))
        if cells >= least:
            full = cells * self.done // max(1, self._total)
            done, left_over = ("#", "-") if ascii_only else ("━", "─")
            line += [(done * full, "bar"), (left_over * (cells - full), "dim")]
        for part in parts:
            line += [("  ", "")] * bool(line) + [part]
        return tuple(line)

    def report(self, now: float) -> str:
        """One plain line."""
        text = f"dtf: {self.done:,} of {self._total:,} done"
        if self.failed:
            text += f", {self.failed:,} failed"
        left = self._left_text(now)
        if left:
            text += f", about {left} left"
        shown = self._longest(_REPORT_RUNNING_MAX)
        if shown:
            named = ", ".join(
                f"{one_line(slot)} {shortened(one.name, _REPORT_ID_CHARACTERS)}"
                f" ({duration(now - one.since)})"
                for slot, one in shown.items()
            )
            more = len(self._running) - len(shown)
            text += f"; running: {named}" + (f" and {more} more" if more else "")
        return text

    def _longest(self, count: int) -> dict[str, _Running]:
        """The tests that have run longest, in the order of their workers."""
        ranked = sorted(self._running.items(), key=lambda pair: pair[1].since)
        return dict(sorted(ranked[:count], key=lambda pair: _natural(pair[0])))

    def _left_text(self, now: float) -> str:
        left_s = self._remaining.shown(now)
        return "" if left_s is None or self.done >= self._total else coarse(left_s)

    def _shown_name(self, number: int) -> str:
        return one_line(self._name(number)[:_ID_CHARACTERS_MAX])


class Remaining:
    """When the run will end, calmly: estimates are smoothed, and what is shown stays
    unless it has become wrong.

    Nothing is shown before estimates have come for `AFTER_S` and `COUNT` times.
    """

    AFTER_S = 4.0
    COUNT = 5
    _CALM_S = 6.0  # the weight of what was thought before falls to 1/e in this time
    _TOLERANCE = 0.2  # of the remaining time, before another time is shown
    _TOLERANCE_S = 3.0

    def __init__(self) -> None:
        self._began = self._heard = 0.0
        self._count = 0
        self._finish = 0.0
        self._shown: float | None = None

    def hear(self, left_s: float, now: float) -> None:
        """An estimate of the time that is left."""
        if self._count == 0:
            self._began, self._finish = now, now + left_s
        else:
            old = math.exp((self._heard - now) / self._CALM_S)
            self._finish = old * self._finish + (1 - old) * (now + left_s)
        self._heard = now
        self._count += 1

    def shown(self, now: float) -> float | None:
        """Seconds to show, or None when they would mean nothing."""
        if self._count < self.COUNT or now - self._began < self.AFTER_S:
            return None
        slack = max(self._TOLERANCE_S, self._TOLERANCE * (self._finish - now))
        if self._shown is None or abs(self._shown - self._finish) > slack:
            self._shown = self._finish
        left_s = self._shown - now
        return left_s if left_s >= 1.0 else None


def coarse(seconds: float) -> str:
    """A time that is no more exact than it is known.

    Examples
    --------
    >>> [coarse(s) for s in (3.2, 17, 44, 95, 400, 5000, 9000)]
    ['4 s', '20 s', '45 s', '1 min 40 s', '7 min', '1 h 24 min', '2 h 30 min']
    """
    if seconds <= 10:
        return f"{math.ceil(seconds)} s"
    if seconds <= 55:
        return f"{5 * math.ceil(seconds / 5)} s"
    if seconds <= 290:
        minutes, rest = divmod(10 * math.ceil(seconds / 10), 60)
        return f"{minutes} min" + (f" {rest} s" if rest else "")
    return _minutes(math.ceil(seconds / 60))


def duration(seconds: float) -> str:
    """A time that has passed: ``12 s``, ``3 min``, ``1 h 5 min``."""
    if seconds < 100:
        return f"{max(0, int(seconds))} s"
    return _minutes(int(seconds / 60))


def _minutes(minutes: int) -> str:
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")


def shortened(name: str, width: int) -> str:
    """A test's id in so many characters: first its parameters lose their end, then all
    of it its beginning.

    Examples
    --------
    >>> name = "tests/unit/test_a.py::test_b[a-very-long-one]"
    >>> shortened(name, 36)
    'tests/unit/test_a.py::test_b[a-ver…]'
    >>> shortened(name, 20)
    '…est_a.py::test_b[…]'
    """
    width = max(1, width)
    if len(name) <= width:
        return name
    head, bracket, rest = name.partition("[")
    if bracket:
        name = f"{head}[{rest[: max(0, width - len(head) - 3)]}…]"
    return name if len(name) <= width else "…" + name[len(name) - width + 1 :]


def _natural(slot: str) -> tuple[int, str]:
    """So that gw10 comes after gw9."""
    return len(slot), slot

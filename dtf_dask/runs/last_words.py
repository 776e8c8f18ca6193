"""What a run says at its end, below pytest's own summary."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dtf_dask.runs.reports.text import one_line

_LINES_MAX = 20
_BROKEN_CHARACTERS_MAX = 20_000


@dataclass(slots=True)
class LastWords:
    """Collects while a run goes on; `say` prints by a terminal's ``write_line``.

    ``left`` is how many cases did not run; ``end`` the driver's last frame, empty when
    there was none; ``broken`` the error that ended the run, with its exit code.
    """

    run_id: str
    notices: dict[str, None] = field(default_factory=dict)
    leaked: list[str] = field(default_factory=list)
    end: dict[str, Any] = field(default_factory=dict)
    broken: tuple[int, str] | None = None
    reported: set[int] = field(default_factory=set)
    planned: int = 0

    @property
    def left(self) -> int:
        return self.planned - len(self.reported)

    def say(self, terminal: Any) -> None:
        """Print below what pytest has printed."""
        write: Callable[..., None] = terminal.write_line
        if self.leaked:
            terminal.section("processes left behind (killed)", sep="-")
            _list(write, self.leaked)
        flaky = self.end.get("flaky", ())
        if self.notices or flaky or self.broken:
            terminal.section("dtf", sep="-")
        _list(write, [f"flaky: {name}" for name in flaky], yellow=True)
        for text in self.notices:
            write(text, yellow=True)
        if self.broken:
            code, text = self.broken
            write(text[:_BROKEN_CHARACTERS_MAX], red=True)
            write(f"(exit code {code})", red=True)
        if terminal.config.option.verbose >= -1:
            self._say_where(write)

    def _say_where(self, write: Callable[..., None]) -> None:
        end = self.end
        if not self.planned:
            return
        if end.get("spooled"):
            write(
                f"dtf: {end['spooled']} results could not be stored"
                f" ({end['results_error']}); they wait in {_near(end['spool_path'])}"
                " and are stored by the next run that can",
                red=True,
            )
        if end:
            kept = _near(str(end["results_url"]))
            write(
                f"dtf: run {self.run_id}: {_count(len(self.reported))} kept in {kept}"
            )
        if self.left > 0 and self.reported:
            write(f"dtf: {_count(self.left)} did not run; to run them:")
            write(f"     dtf resume {self.run_id}")

    def say_without_terminal(self) -> None:
        """With ``-p no:terminal`` nobody else would say why the run ended."""
        if self.broken:
            print(f"dtf: {self.broken[1]}", file=sys.stderr)


def _list(write: Callable[..., None], texts: list[str], **markup: bool) -> None:
    for text in texts[:_LINES_MAX]:
        write(one_line(text), **markup)
    if len(texts) > _LINES_MAX:
        write(f"... and {len(texts) - _LINES_MAX} more", **markup)


def _count(cases: int) -> str:
    return f"{cases:,} case{'' if cases == 1 else 's'}"


def _near(url: str) -> str:
    """A path as seen from here where that is shorter; a URL without its password."""
    if "://" in url:
        return url.rpartition("@")[2]
    try:
        return min(os.path.relpath(url), url, key=len)
    except ValueError:
        return url

"""Shows a run's progress: live at the bottom of a terminal, or as a line now and then.

Everything that pytest (or a plugin of it) prints goes above the live lines, through the
file that its terminal writer writes to; nothing of them is left at the end.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol, TextIO

import pytest

from dtf_dask.runs.driver_link import DriverLink
from dtf_dask.runs.progress import Line, Progress
from dtf_dask.worker_plugins.runner import pytest_seam

_TICK_S = 0.2  # between looks at the clock, and the least time between two drawings
_REPORT_S = 30.0
_COLUMNS_MIN = 20
# Orders to the window, not its contents: pytest shows progress in a terminal's tab.
_UNSEEN = re.compile(r"\x1b\][^\x07\x1b]*(\x07|\x1b\\)")
_STYLES = {
    "": "none",
    "bar": "green",
    "count": "bold",
    "failed": "red",
    "slot": "cyan",
    "dim": "dim",
}


class _Show(Protocol):
    def tick(self, progress: Progress, now: float) -> None:
        """Perhaps show something."""

    def close(self) -> None:
        """Leave nothing behind."""


class Watch:
    """A run's events, while what they mean is shown.

    Parameters
    ----------
    config
        Of the session that reports.
    total
        Reports to expect.
    name
        The id of a case by its number.
    """

    def __init__(
        self, config: pytest.Config, total: int, name: Callable[[int], str]
    ) -> None:
        self._progress = Progress(total, name, time.monotonic())
        self._show = show_for(config)
        self._next = 0.0

    def events(self, link: DriverLink) -> Iterator[dict[str, Any]]:
        """As those of the link, which never end; the display is kept up to date."""
        show, progress = self._show, self._progress
        if show is None:
            yield from link.events()
            return
        while True:
            for event in link.events(_TICK_S):
                progress.hear(event, time.monotonic())
                yield event
                self._tick(show)
            self._tick(show)

    def _tick(self, show: _Show) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _TICK_S
            show.tick(self._progress, now)

    def close(self) -> None:
        """To be called however the run ended."""
        if self._show is not None:
            self._show.close()
            self._show = None


def show_for(config: pytest.Config) -> _Show | None:
    """What suits the session's terminal; None for nothing at all."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    file = pytest_seam.terminal_file(reporter)
    if file is None:
        return None
    option, environment = config.option, os.environ
    if not file.isatty() or environment.get("CI"):
        return Reports(reporter)
    if option.verbose < 0:
        return None
    if (
        option.verbose > 0
        or option.capture == "no"
        or environment.get("TERM", "dumb") in ("dumb", "unknown")
        or not pytest_seam.is_plain_terminal(reporter)
    ):
        return Reports(reporter)
    return Live(config, reporter, file)


class Reports:
    """A plain line every half minute, for logs."""

    def __init__(self, reporter: Any) -> None:
        self._reporter = reporter
        self._next = time.monotonic() + _REPORT_S

    def tick(self, progress: Progress, now: float) -> None:
        if now >= self._next:
            self._next = now + _REPORT_S
            self._reporter.ensure_newline()
            self._reporter.write_line(progress.report(now))
            self._reporter.flush()

    def close(self) -> None:
        pass


class Live:
    """Lines at the bottom, in the place of pytest's dots."""

    def __init__(self, config: pytest.Config, reporter: Any, file: TextIO) -> None:
        self._manager = config.pluginmanager
        self._restore = pytest_seam.divert_terminal(
            reporter, _Above(file, self._before_text)
        )
        self._region = Region(file, colour=pytest_seam.has_colour(reporter))
        self._hushed = _NoDots()
        reporter.ensure_newline()
        self._manager.register(self._hushed, "dtf-no-dots")

    def tick(self, progress: Progress, now: float) -> None:
        self._region.draw(
            lambda width, height, ascii_only: progress.lines(
                width, height, now, ascii_only=ascii_only
            )
        )

    def close(self) -> None:
        self._manager.unregister(self._hushed)
        self._region.erase()
        self._restore()

    def _before_text(self, text: str) -> None:
        self._region.erase()
        self._region.below_text = text.endswith("\n")


class _NoDots:
    """While live lines are shown, a test's end prints nothing; it counts as ever."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_report_teststatus(self) -> Generator[None, Any, Any]:
        status = yield
        return status and (status[0], "", "")


class _Above:
    """A text file that says what is about to be written to it."""

    def __init__(self, file: TextIO, before: Callable[[str], None]) -> None:
        self._file = file
        self._before = before

    def write(self, text: str) -> int:
        if _UNSEEN.sub("", text):
            self._before(text)
        return self._file.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class Region:
    """Some lines at the bottom of a terminal, drawn over and erased.

    Parameters
    ----------
    file
        The terminal.
    colour
        Whether colours are wanted; rich knows which the terminal has.
    """

    def __init__(self, file: TextIO, *, colour: bool = True) -> None:
        from rich.console import Console

        self._file = file
        self._ascii = not _can_draw(file)
        self._console = Console(
            file=file,
            force_terminal=True,
            no_color=None if colour else True,
            legacy_windows=False,
            emoji=False,
            markup=False,
            highlight=False,
        )
        self._widths: list[int] = []  # of the lines that are on the terminal
        self._drawn: tuple[Any, ...] = ()
        self.below_text = True  # whether the cursor stands at the start of a line

    def draw(self, make: Callable[[int, int, bool], list[Line]]) -> None:
        """Show ``make(columns, rows, ascii_only)``, unless that is shown already."""
        columns, rows = self._size()
        if columns < _COLUMNS_MIN:
            self.erase()
            return
        width = columns - 1  # a full line would wrap
        lines = make(width, rows, self._ascii)
        if self._drawn == (columns, lines):
            return
        if not self.below_text:
            self._file.write("\n")
            self.below_text = True
        texts, widths = self._rendered(lines, width)
        self._file.write(self._up() + "\n".join(texts))
        self._file.flush()
        self._drawn, self._widths = (columns, lines), widths

    def erase(self) -> None:
        """Leave the terminal as it was before."""
        if self._widths:
            self._file.write(self._up())
            self._file.flush()
        self._drawn, self._widths = (), []

    def _up(self) -> str:
        """What takes the cursor to the first line, and clears from there on."""
        if not self._widths:
            return ""
        columns = max(1, self._size()[0])
        # The window may have become narrower: then the terminal has wrapped lines.
        rows = sum(max(1, -(-width // columns)) for width in self._widths)
        return "\r" + (f"\x1b[{rows - 1}A" if rows > 1 else "") + "\x1b[J"

    def _rendered(self, lines: list[Line], width: int) -> tuple[list[str], list[int]]:
        from rich.text import Text

        texts, widths = [], []
        for line in lines:
            text = Text.assemble(
                *(
                    (self._safe(part), _STYLES.get(style, "none"))
                    for part, style in line
                ),
                no_wrap=True,
            )
            text.truncate(width, overflow="ellipsis")
            widths.append(text.cell_len)
            with self._console.capture() as capture:
                self._console.print(text, end="", soft_wrap=True)
            texts.append(capture.get())
        return texts, widths

    def _safe(self, text: str) -> str:
        if not self._ascii:
            return text
        return text.replace("…", "~").encode("ascii", "replace").decode("ascii")

    def _size(self) -> tuple[int, int]:
        try:
            columns, rows = os.get_terminal_size(self._file.fileno())
        except (OSError, ValueError):
            columns, rows = 0, 0
        return columns or 80, rows or 24


def _can_draw(file: TextIO) -> bool:
    """Whether the terminal's encoding has more than ASCII."""
    encoding = str(getattr(file, "encoding", "") or "ascii")
    return bool(re.match(r"utf-?(8|16|32)", encoding, re.IGNORECASE))

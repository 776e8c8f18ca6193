"""Progress: what is shown of a run, decided from events and the time; then shown."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from dtf_dask.runs.progress import Progress, Remaining, shortened
from dtf_dask.runs.progress_display import Live, Region, Reports, show_for
from dtf_dask.worker_plugins.runner import pytest_seam

SUITE = """
import time, pytest

@pytest.mark.parametrize("n", range(12))
def test_quick(n):
    assert n != 5

def test_slow():
    time.sleep(1.2)
"""


def case(number: int, slot: str = "gw0", *outcomes: str, **more: Any) -> dict[str, Any]:
    reports = [{"outcome": outcome} for outcome in outcomes or ("passed",) * 3]
    event = {"op": "case", "i": number, "slot": slot, "retry": False}
    return event | {"reports": reports} | more


def test_counts() -> None:
    """A retried attempt counts nowhere, a late teardown as failed but not as done."""
    progress = Progress(9, "t.py::test_{}".format, 0.0)
    progress.hear(case(0), 1.0)
    progress.hear(case(1, "gw0", "passed", "failed", retry=True), 1.0)
    progress.hear(case(1), 1.0)
    progress.hear(case(1, "gw0", "failed", late=True), 1.0)
    progress.hear({"op": "crash", "i": 2, "slot": "gw1", "retry": False}, 1.0)
    assert (progress.done, progress.failed) == (3, 2)
    assert progress.report(2.0) == "dtf: 3 of 9 done, 2 failed"


def test_running() -> None:
    """Shown from the runner's word until its worker reports, or is gone; the longest
    first to be named, and hostile names harmless."""
    progress = Progress(9, lambda number: f"t.py::\x1b[2J\n\ud800{number}", 0.0)
    for number in range(5):
        progress.hear({"op": "running", "i": number, "slot": f"gw{number}"}, number)
    assert progress.report(9.5).count("t.py") == 3
    assert progress.report(9.5).endswith(r"gw2 t.py::\x1b[2J\n\ud8002 (8 s) and 2 more")
    progress.hear(case(0, "gw0"), 9.0)
    progress.hear({"op": "slots", "slots": ["gw0", "gw3"]}, 9.0)
    assert progress.report(9.5).endswith(r"running: gw3 t.py::\x1b[2J\n\ud8003 (7 s)")


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_lines_fit(width: int) -> None:
    """In a window from 40 columns on nothing is cut that was not shortened for it; the
    lines leave two thirds of the window alone."""
    progress = Progress(5000, lambda n: f"tests/x.py::test[{'p' * 500}{n}]", 0.0)
    progress.hear({"op": "slots", "slots": [f"gw{n}" for n in range(12)]}, 0.0)
    for number in range(1234):
        failed = ("failed",) if number % 9 == 0 else ()
        progress.hear(case(number, "gw0", *failed, left_s=480.0), number / 50)
    for number in range(12):
        progress.hear({"op": "running", "i": number, "slot": f"gw{number}"}, 30.0)
    lines = progress.lines(width, 24, 33.0, ascii_only=True)
    assert len(lines) <= 9
    shown = ["".join(text for text, _ in line) for line in lines]
    assert "1,234/5,000  138 failed" in shown[0]
    if width >= 40:
        assert max(map(len, shown)) <= width
    if width >= 80:
        assert re.search("(30|35) s left$", shown[0])  # 40 s were left at 24.7
        assert shown[0].startswith("#")
    assert len(progress.lines(width, 3, 33.0)) == 1


def test_remaining_waits_and_is_calm() -> None:
    """No time is shown before some data; then it runs down with the clock, and small
    changes of the estimate do not touch it."""
    remaining = Remaining()
    for second in range(4):
        remaining.hear(100.0 - second, float(second))
        assert remaining.shown(float(second)) is None
    remaining.hear(96.0, 4.0)
    assert remaining.shown(4.0) == pytest.approx(96.0)
    for second in range(5, 20):
        remaining.hear(100.0 - second + (7 if second % 2 else -7), float(second))
        assert remaining.shown(float(second)) == pytest.approx(100.0 - second)
    for second in range(20, 60):
        remaining.hear(300.0, float(second))
    assert remaining.shown(60.0) == pytest.approx(300.0, rel=0.3)


def test_a_time_that_is_over_is_not_shown() -> None:
    """What should have ended long ago has no time left to tell."""
    remaining = Remaining()
    for second in range(10):
        remaining.hear(10.0 - second, float(second))
    assert remaining.shown(11.0) is None


def test_shortened_never_exceeds() -> None:
    """Whatever the width, and whatever the name."""
    for name in ("a" * 50, "tests/x.py::t[" + "p" * 50 + "]", "[[[[" * 9, ""):
        for width in range(-1, 60):
            assert len(shortened(name, width)) <= max(1, width)


class Screen:
    """Just enough of a terminal: text, newlines, and what `Region` uses."""

    def __init__(self, columns: int) -> None:
        self.columns, self.rows, self.row, self.column = columns, [""], 0, 0

    def feed(self, text: str) -> None:
        for part in re.split(r"(\x1b\[[0-9;]*[A-Za-z]|[\r\n])", text):
            if part == "\r":
                self.column = 0
            elif part == "\n":
                self.row, self.column = self.row + 1, 0
                self.rows += [""] * (self.row + 1 - len(self.rows))
            elif part.endswith("A") and part[0] == "\x1b":
                self.row -= int(part[2:-1])
            elif part == "\x1b[J":
                del self.rows[self.row + 1 :]
                self.rows[self.row] = self.rows[self.row][: self.column]
            elif part[:1] != "\x1b":
                for letter in part:
                    if self.column == self.columns:
                        self.feed("\n")
                    line = self.rows[self.row].ljust(self.column)
                    after = line[self.column + 1 :]
                    self.rows[self.row] = line[: self.column] + letter + after
                    self.column += 1


class Terminal:
    """A pseudo-terminal whose window can be resized."""

    def __init__(self, columns: int) -> None:
        self.master, slave = pty.openpty()
        os.set_blocking(self.master, False)
        self.file = os.fdopen(slave, "w", encoding="utf-8")
        self.resize(columns)

    def resize(self, columns: int) -> None:
        size = struct.pack("HHHH", 24, columns, 0, 0)
        fcntl.ioctl(self.file.fileno(), termios.TIOCSWINSZ, size)

    def read(self) -> str:
        self.file.flush()
        try:
            text = os.read(self.master, 2**16).decode()
        except BlockingIOError:
            return ""
        return text.replace("\r\n", "\n")

    def close(self) -> None:
        self.file.close()
        os.close(self.master)


def test_a_region_is_drawn_over_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also after the window became narrower and the terminal wrapped its lines; wide
    characters count double; without colour there is none."""
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal, screen = Terminal(60), Screen(60)
    region = Region(terminal.file, colour=False)
    for text in ("one", "two"):
        lines = [((text, "failed"),), (("中" * 50, "dim"),)]
        region.draw(lambda width, height, ascii_only, shown=lines: shown)
        drawn = terminal.read()
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]", drawn)
        screen.feed(drawn)
    assert screen.rows == ["two", "中" * 29 + "…"]
    region.draw(lambda width, height, ascii_only: lines)
    assert terminal.read() == ""  # nothing new, nothing written
    terminal.resize(25)
    region.erase()
    assert terminal.read() == "\r\x1b[3A\x1b[J"  # 3 and 59 cells: 1 and 3 rows of 25
    terminal.resize(10)
    region.draw(lambda width, height, ascii_only: lines)
    assert terminal.read() == ""
    terminal.close()


def in_terminal(folder: Path, columns: int, *args: str, **variables: str) -> str:
    """What pytest writes to a terminal, all of it."""
    terminal = Terminal(columns)
    os.set_blocking(terminal.master, True)
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "NO_COLOR")}
    done = subprocess.Popen(
        [sys.executable, "-m", "pytest", "--dtf=", "-p", "no:cacheprovider", *args],
        cwd=folder,
        stdout=terminal.file,
        stderr=terminal.file,
        stdin=subprocess.DEVNULL,
        env=environment | {"TERM": "xterm-256color"} | variables,
    )
    terminal.file.close()
    text = b""
    while True:
        try:
            text += os.read(terminal.master, 2**16)
        except OSError:  # the last of them has closed it
            break
    done.wait()
    os.close(terminal.master)
    return text.decode().replace("\r\n", "\n")


def test_live_lines_in_a_terminal(tmp_path: Path) -> None:
    """A bar, what runs, the last failure; at the end only what pytest prints is there,
    failures included, and no dots."""
    (tmp_path / "test_it.py").write_text(SUITE)
    text = in_terminal(tmp_path, 80, "--dtf-workers=2")
    assert re.search(r"━.*12/13.*1 failed", text)
    assert re.search(r"gw\d .* [01] s .*test_it\.py::test_slow", text)
    screen = Screen(80)
    screen.feed(text)
    left = "\n".join(screen.rows)
    assert "━" not in left
    assert "test_slow" not in left
    assert "1 failed, 12 passed" in left
    assert "FAILED test_it.py::test_quick[5]" in left
    assert not re.search(r"^[.F]+( |$)", left, re.MULTILINE)


@pytest.mark.parametrize(
    ("args", "variables", "shown"),
    [
        ([], {}, Live),
        (["-v"], {}, Reports),
        (["-s"], {}, Reports),
        (["-q"], {}, type(None)),
        ([], {"TERM": "dumb"}, Reports),
        ([], {"CI": "true"}, Reports),
        (["-p", "no:terminal"], {}, type(None)),
    ],
)
def test_what_is_shown_where(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    variables: dict[str, str],
    shown: type,
) -> None:
    """Live lines where nothing else is wanted of a terminal that can show them."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    config = pytester.parseconfigure(*args)
    reporter = config.pluginmanager.getplugin("terminalreporter")
    terminal = Terminal(80)
    if reporter is not None:
        pytest_seam.divert_terminal(reporter, terminal.file)
    show = show_for(config)
    assert type(show) is shown
    if show is not None:
        show.close()
    terminal.close()


def test_reports_in_a_log(pytester: pytest.Pytester) -> None:
    """No terminal: a line every half minute, on a line of its own; none before."""
    config = pytester.parseconfigure()
    reporter = config.pluginmanager.getplugin("terminalreporter")
    written = io.StringIO()
    pytest_seam.divert_terminal(reporter, written)
    show = show_for(config)
    assert show is not None
    now, progress = time.monotonic(), Progress(20, "t.py::test_{}".format, 0.0)
    reporter.currentfspath = -2
    reporter.write("...")
    for later in (1.0, 29.0, 31.0, 45.0, 60.0, 62.0):
        show.tick(progress, now + later)
    assert written.getvalue() == "...\n" + "dtf: 0 of 20 done\n" * 2


def test_the_seam_with_pytests_terminal(pytester: pytest.Pytester) -> None:
    """Every private name of the terminal reporter that dtf uses is there."""
    config = pytester.parseconfigure()
    reporter = config.pluginmanager.getplugin("terminalreporter")
    assert pytest_seam.is_plain_terminal(reporter)
    assert pytest_seam.has_colour(reporter) in (True, False)
    before = pytest_seam.terminal_file(reporter)
    assert before is not None
    assert hasattr(reporter, "_show_progress_info")
    other = object()
    restore = pytest_seam.divert_terminal(reporter, other)
    assert pytest_seam.terminal_file(reporter) is other
    restore()
    assert pytest_seam.terminal_file(reporter) is before


def test_rich_is_loaded_for_live_lines_only() -> None:
    """Importing the controller does not import it."""
    code = "import dtf_dask.runs.controller, sys; sys.exit('rich' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

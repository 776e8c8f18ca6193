"""The application as it is started, in a process: on a real screen if there is one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

WAIT_S = 120.0

CODE = """
import json, sys
from PySide6.QtCore import QTimer
from PySide6.QtGui import QGuiApplication
from monitor_app import application
from monitor_app.feed.place import parse_place

class Shown(application.Window):
    def showEvent(self, event):
        super().showEvent(event)
        QTimer.singleShot(1000, self.look)

    def look(self):
        image = self.screen().grabWindow(self.winId()).toImage()
        points = {image.pixel(x, y) for x in range(0, image.width(), 9)
                  for y in range(0, image.height(), 9)}
        print(json.dumps({
            "platform": QGuiApplication.platformName(),
            "colours": len(points),
            "line": self.status.line.text(),
            "icon": not QGuiApplication.windowIcon().isNull(),
        }))
        self.close()

application.Window = Shown
sys.exit(application.show([parse_place(one) for one in sys.argv[1:]], "dark", "de"))
"""


@contextmanager
def screen() -> Iterator[str]:
    """A real one, that nobody sees."""
    xvfb = shutil.which("Xvfb")
    if xvfb is None:
        pytest.skip("Xvfb is not installed: the window is tried without a screen only")
    read, write = os.pipe()
    process = subprocess.Popen(
        [xvfb, "-displayfd", str(write), "-screen", "0", "1400x1000x24"],
        pass_fds=(write,),
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as file:
            yield f":{file.readline().strip()}"
    finally:
        process.terminate()
        process.wait()


def started(folder: Path, **environment: str) -> dict[str, object]:
    """What the window says of itself, a second after it was opened."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, "http://127.0.0.1:9"],
        env={**os.environ, "XDG_CONFIG_HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_it_starts_and_ends(tmp_path: Path) -> None:
    """It opens, says that nobody is there, and keeps how it stands."""
    told = started(tmp_path, QT_QPA_PLATFORM="offscreen")
    assert "http://127.0.0.1:9" in str(told["line"])
    assert told["icon"] is True
    assert "theme=dark" in (tmp_path / "dtf" / "monitor.ini").read_text()


def test_it_is_drawn_on_a_real_screen(tmp_path: Path) -> None:
    """On X11, where most who watch a cluster all day have it."""
    with screen() as display:
        told = started(tmp_path, QT_QPA_PLATFORM="xcb", DISPLAY=display)
    assert told["platform"] == "xcb"
    assert int(str(told["colours"])) > 10

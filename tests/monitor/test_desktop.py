"""What a desktop is told of the monitor, and what the command says."""

from __future__ import annotations

import configparser
import doctest
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from importlib import import_module
from pathlib import Path

import pytest
from PySide6.QtSvg import QSvgRenderer

from monitor_app.application import APP_ID

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "monitor_app" / "desktop"
NAMES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "monitor_app").rglob("*.py"))
    if ">>> " in path.read_text("utf-8")
]


def test_the_files_of_a_desktop_name_the_same_thing() -> None:
    """Launcher, icon and AppStream data are of one id, and start what is installed."""
    launcher = configparser.ConfigParser(interpolation=None)
    launcher.read(FOLDER / f"{APP_ID}.desktop")
    entry = launcher["Desktop Entry"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    command = entry["Exec"].split()[0]
    assert command in project["project"]["gui-scripts"]
    assert entry["Icon"] == APP_ID
    component = ET.parse(FOLDER / f"{APP_ID}.metainfo.xml").getroot()
    assert component.findtext("id") == APP_ID
    assert component.findtext("launchable") == f"{APP_ID}.desktop"
    assert component.findtext("provides/binary") == command
    assert QSvgRenderer(str(FOLDER / f"{APP_ID}.svg")).isValid()
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert {Path(one).name for one in shared} == {p.name for p in FOLDER.iterdir()}


CODE = """
import sys
sys.modules["PySide6"] = None
from monitor_app import main
loaded = [m for m in sys.modules if m.partition(".")[0] in ("dask", "distributed")]
assert loaded == [], loaded
sys.argv[1:] = []
main.main()
"""


ALONE = """
import sys
sys.modules["dask"] = sys.modules["distributed"] = None
from monitor_app.application import show
"""


def test_it_runs_where_dask_is_not_installed() -> None:
    """All of the window can be loaded without it."""
    subprocess.run([sys.executable, "-c", ALONE], check=True)


def test_without_qt_the_command_says_what_to_install() -> None:
    """It says so in one line and an exit code, and has loaded nothing of Dask."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "pip install 'dtf-dask[monitor]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_true(name: str) -> None:
    """What docstrings show is what comes out."""
    found = doctest.testmod(import_module(name))
    assert (found.failed, found.attempted > 0) == (0, True)

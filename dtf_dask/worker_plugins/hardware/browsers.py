"""Browsers that tests can start: which there are, and which versions they have.

Two probes, because finding a file costs nothing and starting a browser for its version
may take seconds: what there is is known at once, the versions when they come.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dtf_dask.worker_plugins.hardware import commands

_COMMANDS: dict[str, tuple[str, ...]] = {
    "chrome": ("google-chrome", "google-chrome-stable", "chrome"),
    "chromium": ("chromium", "chromium-browser"),
    "edge": ("microsoft-edge", "microsoft-edge-stable"),
    "firefox": ("firefox", "firefox-esr"),
    "opera": ("opera",),
    "safari": (),
}
_APPLICATIONS = {
    "chrome": "Google Chrome.app/Contents/MacOS/Google Chrome",
    "chromium": "Chromium.app/Contents/MacOS/Chromium",
    "edge": "Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    "firefox": "Firefox.app/Contents/MacOS/firefox",
    "opera": "Opera.app/Contents/MacOS/Opera",
    "safari": "Safari.app/Contents/MacOS/Safari",
}
_WITHOUT_VERSION = {"safari"}  # it would open a window
_VERSION = re.compile(r"\b\d+(\.\d+)+")


class BrowsersProbe:
    """Which browsers there are, by the names of their commands."""

    name = "browsers"

    def facts(self) -> Mapping[str, Any]:
        """The names of those found."""
        return {"browsers": sorted(found())}


class BrowserVersionsProbe:
    """What each browser says when it is asked for its version; asked once a version."""

    name = "browser versions"

    def facts(self) -> Mapping[str, Any]:
        """The facts below ``browser``."""
        versions = {}
        for browser, path in sorted(found().items()):
            if browser not in _WITHOUT_VERSION and (
                match := _VERSION.search(commands.output([path, "--version"]))
            ):
                versions[f"browser.{browser}"] = match[0]
        return versions


def found(applications: Path = Path("/Applications")) -> dict[str, str]:
    """The path of each browser that is installed, by its name."""
    paths = {}
    for browser, names in _COMMANDS.items():
        candidates = (*names, str(applications / _APPLICATIONS[browser]))
        if path := next(filter(None, map(shutil.which, candidates)), None):
            paths[browser] = path
    return paths

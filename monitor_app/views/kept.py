"""What the window is like when it is opened again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from PySide6.QtCore import QByteArray, QSettings
from PySide6.QtWidgets import QMainWindow, QSplitter

from monitor_app.views.table_view import TableView
from monitor_app.views.view import View

RECENT_MAX = 10


class Kept:
    """What is kept, in a file of the user's settings. No credential is ever there.

    Parameters
    ----------
    settings
        The file; that of the user, if none is given.
    """

    def __init__(self, settings: QSettings | None = None) -> None:
        self._settings = settings or QSettings(
            QSettings.Format.IniFormat, QSettings.Scope.UserScope, "dtf", "monitor"
        )

    def word(self, name: str, default: str = "") -> str:
        """One word that is kept."""
        found = self._settings.value(name, default)
        return found if isinstance(found, str) else default

    def keep_word(self, name: str, word: str) -> None:
        """Keep it."""
        self._settings.setValue(name, word)

    @property
    def recent(self) -> list[str]:
        """Addresses of clusters that were looked at, the last one first."""
        found = self._read("recent")
        return [one for one in found if isinstance(one, str)] if found else []

    def keep_recent(self, address: str) -> None:
        """It was looked at."""
        rest = [one for one in self.recent if one != address]
        self._write("recent", [address, *rest][:RECENT_MAX])

    def keep_window(self, window: QMainWindow) -> None:
        """Where it is, and how large."""
        self._settings.setValue("geometry", window.saveGeometry())

    def restore_window(self, window: QMainWindow) -> None:
        """As it was."""
        geometry = self._settings.value("geometry")
        if isinstance(geometry, QByteArray):
            window.restoreGeometry(geometry)

    def keep_view(self, name: str, view: View) -> None:
        """What it says of itself, and how its tables and parts stand."""
        self._write(f"view-{name}", view.save())
        for at, part in _parts(view):
            self._settings.setValue(f"view-{name}-{at}", part.saveState())

    def restore_view(self, name: str, view: View) -> None:
        """As it was."""
        found = self._read(f"view-{name}")
        if isinstance(found, dict):
            view.restore(found)
        for at, part in _parts(view):
            state = self._settings.value(f"view-{name}-{at}")
            if isinstance(state, QByteArray):
                part.restoreState(state)

    def write(self) -> None:
        """Write it to the disk."""
        self._settings.sync()

    def _read(self, name: str) -> Any:
        try:
            return json.loads(self.word(name, "null"))
        except ValueError:
            return None

    def _write(self, name: str, value: object) -> None:
        self._settings.setValue(name, json.dumps(value))


def _parts(view: View) -> Iterable[tuple[str, Any]]:
    for n, table in enumerate(view.findChildren(TableView)):
        yield f"table-{n}", table.horizontalHeader()
    for n, splitter in enumerate(view.findChildren(QSplitter)):
        yield f"splitter-{n}", splitter

"""The application of Qt around the window."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.resources import as_file, files

from PySide6.QtGui import QGuiApplication, QIcon
from PySide6.QtWidgets import QApplication

from dtf_dask import __version__
from monitor_app.feed.place import Place
from monitor_app.models.language import speak
from monitor_app.models.session import Session
from monitor_app.views.kept import Kept
from monitor_app.views.theme import CHOICES, Theme
from monitor_app.views.window import Window

APP_ID = "io.github.dtf_dask.Monitor"


def show(places: Sequence[Place], theme: str | None, language: str | None) -> int:
    """Show the window until it is closed."""
    QGuiApplication.setDesktopFileName(APP_ID)
    app = QApplication(sys.argv[:1])
    app.setApplicationName("dtf-monitor")
    app.setApplicationDisplayName("dtf monitor")
    app.setApplicationVersion(__version__)
    with as_file(files("monitor_app").joinpath(f"desktop/{APP_ID}.svg")) as path:
        app.setWindowIcon(QIcon(str(path)))
    kept = Kept()
    speak(language or kept.word("language"))
    chosen = theme or kept.word("theme", "system")
    colours = Theme(next((one for one in CHOICES if one == chosen), "system"))
    window = Window(Session(), colours, kept)
    window.show()
    if places:
        window.watch(places)
    else:
        window.look_for_one()
    return app.exec()

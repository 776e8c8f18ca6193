"""What the tests of the monitor share: a window on no screen, and a made-up cluster.

pytest-qt imports Qt wherever it is a plugin, and so it is none (see pyproject.toml):
what it does to tests, and its fixtures, are this folder's alone.
"""

# ruff: noqa: F811 - fixtures that are used here are imported
from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

WAIT_MS = 60_000

try:
    from PySide6.QtWidgets import QApplication
    from pytestqt.plugin import (  # noqa: F401
        pytest_addoption,
        pytest_runtest_call,
        pytest_runtest_setup,
        pytest_runtest_teardown,
        qapp,
        qapp_args,
        qapp_cls,
        qtbot,
        qtmodeltester,
    )
    from pytestqt.qt_compat import qt_api
    from pytestqt.qtbot import QtBot
except ImportError as error:
    WHY = f"Qt cannot be used here: {error}"

    class _Skipped(pytest.Module):
        def collect(self) -> Any:
            pytest.skip(WHY, allow_module_level=True)

    def pytest_pycollect_makemodule(module_path: Any, parent: Any) -> Any:
        """None of them can be imported, and each says why."""
        return _Skipped.from_parent(parent, path=module_path)

else:
    from made_cluster import MadeSource

    from monitor_app.models.session import Session
    from monitor_app.views.theme import Theme

    qt_api.set_qt_api("pyside6")

    @pytest.fixture
    def until(qtbot: QtBot) -> Callable[[Callable[[], Any]], Any]:
        """Let Qt work until something is so, and what it is."""

        def wait(what: Callable[[], Any]) -> Any:
            found = []

            def holds() -> bool:
                found[:] = [what()]
                return bool(found[0])

            qtbot.waitUntil(holds, timeout=WAIT_MS)
            return found[0]

        return wait

    @pytest.fixture(scope="session")
    def _theme(qapp: QApplication) -> Theme:
        return Theme("light")

    @pytest.fixture
    def theme(_theme: Theme) -> Theme:
        """Light colours."""
        _theme.choose("light")
        return _theme

    @pytest.fixture
    def source() -> MadeSource:
        """A feed of what a test says."""
        return MadeSource()

    @pytest.fixture
    def session(qapp: QApplication, source: MadeSource) -> Iterator[Session]:
        """A session that watches it; it looks when the test says so."""
        session = Session()
        session.watch(source)
        yield session
        session.close()

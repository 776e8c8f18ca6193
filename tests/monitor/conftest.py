"""What the tests of the monitor share: a window on no screen, and a made-up cluster.

pytest-qt is not used: it would import Qt in each pytest of an environment that has it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

WAIT_S = 60.0

try:
    from PySide6.QtWidgets import QApplication
except ImportError as error:
    WHY = f"PySide6, or a library of the system that it needs, is missing: {error}"

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

    @pytest.fixture(scope="session")
    def qapp() -> Any:
        """The one application that a process may have."""
        return QApplication.instance() or QApplication(["dtf-monitor"])

    @pytest.fixture(autouse=True)
    def _no_lost_error(qapp: QApplication) -> Iterator[None]:
        """An error in what Qt calls fails the test: Qt itself only prints it."""
        found: list[BaseException] = []
        before = sys.excepthook
        sys.excepthook = lambda kind, error, trace: found.append(error)
        yield
        sys.excepthook = before
        if found:
            raise found[0]

    @pytest.fixture
    def until(qapp: QApplication) -> Callable[[Callable[[], Any]], Any]:
        """Let Qt work until something is so."""

        def wait(what: Callable[[], Any], wait_s: float = WAIT_S) -> Any:
            ends = time.monotonic() + wait_s
            while not (found := what()):
                assert time.monotonic() < ends, "it has not come"
                qapp.processEvents()
                time.sleep(0.005)
            return found

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

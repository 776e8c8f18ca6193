"""Notices a suite that reads ``PYTEST_XDIST_WORKER`` while it is imported.

A runner that is forked from the collected session cannot give such a suite a name of
its own any more: ``DATABASE = "test_" + os.environ["PYTEST_XDIST_WORKER"]`` would be
the same everywhere. When the variable was asked for, runners are started anew instead.
Plugins that are installed (pytest-benchmark is one) look only to see whether there are
workers, and do not count.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

_NAMES = {"PYTEST_XDIST_WORKER", b"PYTEST_XDIST_WORKER"}
# Where `os.environ` and `os.getenv` themselves are.
_OWN = {
    function.__code__.co_filename for function in (os.getenv, MutableMapping.setdefault)
} | {Mapping.get.__code__.co_filename}


class WorkerVariableWatch:
    """Watches `os.environ` from its making until `stop`.

    Examples
    --------
    >>> watch = WorkerVariableWatch()
    >>> os.environ.get("HOME") and None
    >>> watch.stop()
    False
    >>> watch = WorkerVariableWatch()
    >>> os.environ.get("PYTEST_XDIST_WORKER", "master") and None
    >>> watch.stop()
    True
    """

    def __init__(self) -> None:
        self._environ: Any = os.environ  # a test may replace it: ours is restored
        self._original = getattr(os.environ, "encodekey", None)
        self._seen = False
        if self._original is not None:
            self._environ.encodekey = self._encode

    def _encode(self, key: Any) -> Any:
        # Every access by name comes by here; bytes are looked up as text first.
        if key in _NAMES and not _asked_by_installed():
            self._seen = True
        return self._original(key)  # type: ignore[misc]

    def stop(self) -> bool:
        """Restore what was there; whether the variable was asked for."""
        self.restore()
        return self._seen

    def restore(self) -> None:
        """Restore what was there, unless somebody has wrapped it again since."""
        if self._original is not None and self._environ.encodekey == self._encode:
            self._environ.encodekey = self._original


def _asked_by_installed() -> bool:
    """Whether the first caller outside of the standard library is installed code."""
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename in _OWN:
        frame = frame.f_back
    file = frame.f_code.co_filename if frame is not None else ""
    return "site-packages" in file or "dist-packages" in file

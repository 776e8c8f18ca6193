"""Everything of pytest's (and pluggy's) private state that dtf touches, in one place.

``tests/test_pytest_seam.py`` pins each name, so that a new pytest fails there, loudly.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import CallInfo

# Told to whoever reports. A child that was forked from a configured session only runs
# tests; the session that prints and writes files is told by the controller, once.
REPORT_HOOKS = (
    "pytest_runtest_logstart",
    "pytest_runtest_logreport",
    "pytest_runtest_logfinish",
    "pytest_warning_recorded",
)
_TAIL_BYTES = 64 * 1024


def silence_reporting(config: pytest.Config) -> None:
    """Disconnect every plugin from the reporting hooks (in a runner, not at home)."""
    for name in REPORT_HOOKS:
        caller = getattr(config.hook, name)
        for implementation in list(caller.get_hookimpls()):
            caller._remove_plugin(implementation.plugin)


def start_capture(config: pytest.Config) -> None:
    """Begin a global capture of our own, with files nobody else writes to."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.stop_global_capturing()
        capture.start_global_capturing()
        # A plugin that looks at the manager between tests finds what it knows.
        capture.suspend_global_capture(in_=True)


def stop_capture(config: pytest.Config) -> None:
    """Drop the capture of a child that has ended, with what is left in it."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        read_capture(config)
        capture.stop_global_capturing()


def read_capture(config: pytest.Config) -> tuple[str, str]:
    """What a child wrote and never reported: the tail of (stdout, stderr).

    The files are shared with the child, so this works after it was killed.
    """
    capture = config.pluginmanager.getplugin("capturemanager")
    streams = getattr(capture, "_global_capturing", None)
    return tuple(  # type: ignore[return-value]
        _take_tail(getattr(streams, name, None)) for name in ("out", "err")
    )


def _take_tail(stream: Any) -> str:
    file = getattr(stream, "tmpfile", None)
    try:
        number = file.fileno()  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):
        return ""  # --capture=sys and -s keep nothing that outlives the child
    size = os.fstat(number).st_size
    start = max(0, size - _TAIL_BYTES)
    tail = os.pread(number, _TAIL_BYTES, start).decode("utf-8", "replace")
    os.ftruncate(number, 0)
    os.lseek(number, 0, os.SEEK_SET)
    return f"[... {start} bytes before ...]\n{tail}" if start else tail


def use_basetemp(config: pytest.Config, folder: Path) -> None:
    """Let ``tmp_path`` of this process live in ``folder`` (as xdist's workers do)."""
    factory = config._tmp_path_factory  # type: ignore[attr-defined]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    factory._basetemp = folder.resolve()


def basetemp(config: pytest.Config) -> Path:
    """The session's folder for temporary files; made when nobody has asked yet."""
    folder: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    return folder


def teardown_all(
    session: pytest.Session, item: pytest.Item
) -> pytest.TestReport | None:
    """Tear down what still stands after a batch was cut short; a report if it failed."""
    call = CallInfo.from_call(
        lambda: session._setupstate.teardown_exact(None), when="teardown"
    )
    if call.excinfo is None:
        return None
    return pytest.TestReport.from_item_and_call(item, call)


def shared_fixtures(item: pytest.Item) -> Iterator[tuple[str, str, str]]:
    """(scope, base id, name) of the fixtures of an item that outlive one test."""
    known = getattr(item, "_fixtureinfo", None)
    if known is None:
        return
    for name in known.names_closure:
        definitions = known.name2fixturedefs.get(name)
        if definitions and definitions[-1].scope != "function":
            definition = definitions[-1]
            if not definition.func.__module__.startswith("_pytest."):
                yield definition.scope, definition.baseid, name


def protocol(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Run one test as pytest's own loop does."""
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)

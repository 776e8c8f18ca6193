"""Everything of pytest's (and pluggy's) private state that dtf touches, in one place.

``tests/test_pytest_seam.py`` pins each name, so that a new pytest fails there, loudly.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import pytest
from _pytest.runner import CallInfo
from _pytest.terminal import TerminalReporter

# Told to whoever reports. A child that was forked from a configured session only runs
# tests; the session that prints and writes files is told by the controller, once.
REPORT_HOOKS = (
    "pytest_runtest_logstart",
    "pytest_runtest_logreport",
    "pytest_runtest_logfinish",
    "pytest_warning_recorded",
)


def silence_reporting(config: pytest.Config) -> None:
    """Disconnect every plugin from the reporting hooks (in a runner, not at home)."""
    for name in REPORT_HOOKS:
        caller = getattr(config.hook, name)
        for implementation in list(caller.get_hookimpls()):
            caller._remove_plugin(implementation.plugin)


def start_capture(config: pytest.Config, files: Sequence[int]) -> None:
    """Begin a global capture that keeps output in ``files`` (of stdout and stderr).

    Whoever opened the files can read what was captured, and never reported, after
    this process was killed. ``--capture=sys`` and ``-s`` keep nothing that outlives it.
    """
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        return
    own = [os.dup(number) for number in (1, 2)]
    capture.stop_global_capturing()  # which brings back what the controller had
    for number, kept in zip((1, 2), own, strict=True):
        os.dup2(kept, number)
        os.close(kept)
    capture.start_global_capturing()
    # A plugin that looks at the manager between tests finds what it knows.
    capture.suspend_global_capture(in_=True)
    streams = capture._global_capturing
    for name, number in zip(("out", "err"), files, strict=False):
        file: Any = getattr(getattr(streams, name, None), "tmpfile", None)
        try:
            os.dup2(number, file.fileno())
        except (AttributeError, OSError, ValueError):
            continue


def use_basetemp(config: pytest.Config, folder: Path) -> None:
    """Let ``tmp_path`` of this process live in ``folder`` (as xdist's workers do)."""
    factory = config._tmp_path_factory  # type: ignore[attr-defined]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    factory._basetemp = folder.resolve()


def basetemp(config: pytest.Config) -> Path:
    """The session's folder for temporary files; made when nobody has asked yet."""
    folder: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    return folder


def terminal_file(reporter: Any) -> TextIO | None:
    """What pytest's terminal reporter writes to, if there is one."""
    file: TextIO | None = getattr(getattr(reporter, "_tw", None), "_file", None)
    return file


def is_plain_terminal(reporter: Any) -> bool:
    """Whether it is pytest's own: a plugin's would draw over what dtf draws."""
    return type(reporter) is TerminalReporter


def has_colour(reporter: Any) -> bool:
    """By ``--color``, ``NO_COLOR`` and what else pytest goes by."""
    return bool(reporter._tw.hasmarkup)


def divert_terminal(reporter: Any, file: Any) -> Callable[[], None]:
    """Let the reporter write to ``file``, and no percentages; returns the way back."""
    writer, before = reporter._tw, reporter._tw._file
    writer._file, reporter._show_progress_info = file, False

    def restore() -> None:
        writer._file = before

    return restore


def teardown_all(
    session: pytest.Session, item: pytest.Item
) -> pytest.TestReport | None:
    """Tear down what stands after a batch was cut short; a report if it failed."""
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


def failed_subtests(config: pytest.Config, item: pytest.Item) -> int:
    """How many subtests of a test have failed, by pytest's own account here."""
    counts = _subtest_counts(config)
    return counts.get(getattr(item, "id", item.nodeid), 0) if counts else 0


def note_failed_subtests(config: pytest.Config, item: pytest.Item, count: int) -> None:
    """Take over that account, by which pytest fails a test when it is told of."""
    counts = _subtest_counts(config)
    if counts is not None:
        counts[getattr(item, "id", item.nodeid)] = count


def _subtest_counts(config: pytest.Config) -> Any:
    try:
        from _pytest.subtests import failed_subtests_key
    except ImportError:  # before pytest 9
        return None
    return config.stash.get(failed_subtests_key, None)


def mend_subtest(report: Any, data: dict[str, Any]) -> None:
    """Undo that pytest quotes a subtest's arguments each time a report is read."""
    if data.get("_report_type") == "SubTestReport":
        kwargs = data["_subtest.context"]["kwargs"]
        object.__setattr__(report.context, "kwargs", kwargs)

"""Plays reports from runners into the local session, as if the tests had run here."""

from __future__ import annotations

import sys
import warnings
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from dtf_dask.runs.crash_report import crash_report
from dtf_dask.runs.reports.text import visible
from dtf_dask.worker_plugins.runner import pytest_seam

if TYPE_CHECKING:
    from dtf_dask.runs.controller import Controller

_LINE_BYTES_MAX = 65536
_PIDS_MAX = 1000  # of one test
_CLOCK_GRAIN_S = 0.01  # of the start time that the system keeps of a process


class Replay:
    """Calls the reporting hooks of the controller's session for each case."""

    def __init__(self, session: pytest.Session, controller: Controller) -> None:
        self._items = session.items
        self._config = session.config
        self._controller = controller
        self._terminal = session.config.pluginmanager.getplugin("terminalreporter")
        if self._terminal is not None and session.config.option.verbose <= 0:
            # Reports of several files are interleaved: dots alone, no path a line.
            self._terminal.showfspath = False
        self._half_lines: dict[str, bytes] = {}  # of output, by slot
        # When tests began, by slot: whose process it was that stayed behind.
        self._parent: dict[tuple[str, int], str] = {}
        self._begun: dict[str, deque[tuple[float, str]]] = {}

    def play(self, event: dict[str, Any]) -> None:
        """Report one attempt of one case."""
        item = self._items[event["i"]]
        self._show_output(event["slot"], b"", ended=True)
        if event["op"] == "crash":
            reports: list[Any] = [crash_report(item, event)]
        else:
            begun = self._begun.setdefault(event["slot"], deque(maxlen=2000))
            begun.append((event.get("start", 0.0), item.nodeid))
            reports = [self._read(data) for data in event["reports"]]
            for pid in event.get("spawned", ())[:_PIDS_MAX]:
                self._parent[event["slot"], pid] = item.nodeid
            if "subtests" in event:
                count = event["subtests"]
                pytest_seam.note_failed_subtests(self._config, item, count)
        for data in event.get("warnings", ()):
            self._warn(data)
        for report in reports:
            report.worker_id = event["slot"]
        if event["retry"]:
            self._retried(reports)
            return
        hook = item.ihook
        if not event.get("late"):
            hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in reports:
            hook.pytest_runtest_logreport(report=report)
        if not event.get("late"):
            hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def note(self, event: dict[str, Any]) -> None:
        """What is no report of a case."""
        if event["op"] == "output":
            self._show_output(event["slot"], event["data"])
        elif event["op"] == "notice":
            self._controller.notice(event["text"])
        elif event["op"] == "leader" and self._config.option.verbose >= -1:
            self._print(f"dtf: {event['text']}")  # now: it explains what one sees
        elif event["op"] == "leaked":
            for process in event["leaked"]:
                self._controller.leaked(self._culprit(process, event["slot"]))

    def _show_output(self, slot: str, data: bytes, *, ended: bool = False) -> None:
        """Whole lines, each with its worker's name; the rest waits for its end."""
        *lines, rest = (self._half_lines.pop(slot, b"") + data).split(b"\n")
        if (ended and rest) or len(rest) > _LINE_BYTES_MAX:
            lines, rest = [*lines, rest], b""
        if rest:
            self._half_lines[slot] = rest
        for line in lines:
            text = line.decode("utf-8", "replace").rstrip("\r")
            self._print(f"[{slot}] {visible(text)}")

    def _read(self, data: dict[str, Any]) -> Any:
        # Tuples travelled as lists; pytest takes some of them apart by their type.
        for name in ("longrepr", "location"):
            if isinstance(data.get(name), list):
                data[name] = tuple(data[name])
        for name in ("sections", "user_properties"):
            if isinstance(data.get(name), list):
                data[name] = [tuple(pair) for pair in data[name]]
        report = self._config.hook.pytest_report_from_serializable(
            config=self._config, data=data
        )
        pytest_seam.mend_subtest(report, data)
        return report

    def _retried(self, reports: list[Any]) -> None:
        """A failure that another attempt replaces is shown, and counts nowhere."""
        for report in reports:
            if report.failed and self._terminal is not None:
                report.outcome = "rerun"
                self._terminal.pytest_runtest_logreport(report)
                return

    def _culprit(self, process: dict[str, Any], slot: str) -> str:
        """The test that was seen to start it, or the last that had begun by then."""
        seen = self._parent.get((slot, process["pid"]))
        latest = process["started"] + _CLOCK_GRAIN_S
        nodeid = seen or next(
            (
                name
                for begin, name in reversed(self._begun.get(slot, ()))
                if begin <= latest
            ),
            "(no test known)",
        )
        return f"{nodeid}: pid {process['pid']} {process['command']}"

    def _warn(self, data: dict[str, Any]) -> None:
        category = _category(*data["category"])
        try:
            message: Any = category(data["message"])
        except Exception:  # a warning class with arguments of its own
            category, message = UserWarning, UserWarning(data["message"])
        recorded = warnings.WarningMessage(
            message, category, data["filename"], data["lineno"]
        )
        location = data["location"]
        self._config.hook.pytest_warning_recorded.call_historic(
            kwargs={
                "warning_message": recorded,
                "when": data["when"],
                "nodeid": data["nodeid"],
                "location": tuple(location) if location else None,
            }
        )

    def _print(self, text: str) -> None:
        if self._terminal is not None:
            writer = self._config.get_terminal_writer()
            if writer.width_of_current_line:  # dots, or half a line of -v
                writer.line()
            self._terminal.write_line(text)


def _category(module: str, name: str) -> type[Warning]:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if isinstance(found, type) and issubclass(found, Warning):
        return found
    return type(name, (UserWarning,), {"__module__": module})

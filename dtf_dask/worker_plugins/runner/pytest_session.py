"""Runs tests of a collected pytest session in a child of the runner."""

from __future__ import annotations

import faulthandler
import os
import sys
import time
import traceback
import warnings
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dtf_dask.quantities import parse_duration
from dtf_dask.worker_plugins.runner import (
    checkpoint,
    coverage_child,
    process_life,
    pytest_seam,
)
from dtf_dask.worker_plugins.runner.leftovers import Leftovers
from dtf_dask.worker_plugins.runner.progress import ProgressBoard
from dtf_dask.worker_plugins.runner.report_bounds import bound
from dtf_dask.worker_plugins.runner.sessions import Emit, Job, MissingCasesError
from dtf_dask.worker_plugins.runner.spill import Spill
from dtf_dask.worker_plugins.runner.trace_context import enter
from dtf_dask.worker_plugins.runner.usage import Usage

_TIMEOUT_MAX_S = 30 * 86_400.0
_TEXT_CHARACTERS_MAX = 256 * 1024


class PytestSession:
    """A `RunnerSession` over ``session.items``.

    Parameters
    ----------
    session
        Collected; nothing of it has run.
    spec
        ``slot`` (the worker's name to the suite, "gw0"), ``slots`` (how many there
        are), ``run`` (the run's id), ``timeout_s`` (None for none),
        ``stop_on_failure``, ``dist`` (as in the planner), ``inline_limit`` (characters
        of output that travel with a report),
        ``root``, ``client_root`` (the suite's folder, and where the client has it),
        ``basetemp``, ``by_index`` (whether entries may be looked up by number: the
        items are the client's own, forked), ``capture_files`` (descriptors that
        the runner opened, in a process that was started for one batch).
    """

    def __init__(self, session: pytest.Session, spec: dict[str, Any]) -> None:
        self.session = session
        self.spec = spec
        self.config = session.config
        self._by_name: dict[str, list[pytest.Item]] | None = None
        self._stacks = -1
        self._footing: process_life.Footing | None = None  # in a child
        self._stopped = self._measured = False
        self._left = Leftovers()
        self.spill = self.keep = ""
        self.collect_errors: list[str] = []
        self._client_id = _namer(spec)
        pytest_seam.silence_reporting(self.config)
        become_worker(self.config, spec)
        coverage_child.rest()
        if spec.get("basetemp"):
            pytest_seam.use_basetemp(self.config, Path(spec["basetemp"]))
        elif "capture_files" not in spec:
            pytest_seam.basetemp(self.config)  # one for all children, not one for each

    def describe(self) -> dict[str, Any]:
        return {
            "cases": len(self.session.items),
            "errors": [text[:4000] for text in self.collect_errors[:5]],
        }

    def jobs(self, entries: Sequence[Sequence[Any]]) -> list[Job]:
        if self.spec.get("by_index"):
            return [Job(entry[0], self.session.items[entry[0]]) for entry in entries]
        if self._by_name is None:
            self._by_name = defaultdict(list)
            for item in self.session.items:
                self._by_name[self._client_id(item.nodeid)].append(item)
        jobs, missing = [], []
        for number, name, occurrence in entries:
            twins = self._by_name.get(name, [])
            if occurrence < len(twins):
                jobs.append(Job(number, twins[occurrence]))
            else:
                missing.append(name)
        if missing:
            raise MissingCasesError(missing)
        return jobs

    def before_child(self) -> None:
        if "capture_files" not in self.spec:
            self._left.open()

    def after_child(self) -> None:
        self._left.close()

    def leftover(self) -> dict[str, Any]:
        return self._left.read()

    def may_stay(self) -> bool:
        """In a child: whether this process is fit to run another batch.

        It is not where a test left something behind or the session was told to stop,
        nor where a measurement has ended with the batch.
        """
        alone = self.spec.get("dist") == "one-per-process"
        if alone or self._stopped or self._measured or self._footing is None:
            return False
        return self._footing.holds()

    def run(self, jobs: Sequence[Job], board: ProgressBoard, emit: Emit) -> None:
        checkpoint.enter(board, jobs)
        if self._footing is None:
            *files, self._stacks = self.spec.get("capture_files", self._left.numbers())
            pytest_seam.start_capture(self.config, files)
            self._footing = process_life.Footing()
        spill = Spill(self.spill, self.spec["inline_limit"])
        trace = self.spec.get("trace", "")
        record = _Record(self.config, spill, board, self._client_id, trace)
        self.config.pluginmanager.register(record, "dtf-record")
        try:
            self._run_all(jobs, record, board, emit)
        finally:
            self.config.pluginmanager.unregister(record)

    def _run_all(
        self, jobs: Sequence[Job], record: _Record, board: ProgressBoard, emit: Emit
    ) -> None:
        session = self.session
        self._measured = coverage_child.current() is not None
        measured = coverage_child.ChildCoverage(self.config, self.spec)
        offspring = process_life.Offspring()
        stop: dict[str, Any] | None = None
        position = -1
        for position, job in enumerate(jobs):
            item: pytest.Item = job.what
            timeout_s = self._timeout(item)
            if not board.begin(position, time.monotonic(), timeout_s):
                board.idle()
                position -= 1
                break
            follows = position + 1 < board.limit
            nextitem = jobs[position + 1].what if follows else None
            stop = self._run_one(item, nextitem, record, timeout_s)
            frame = record.take(job.number)
            if count := pytest_seam.failed_subtests(self.config, item):
                frame["subtests"] = count
            if pids := offspring.new():
                frame["spawned"] = pids
            emit(frame)
            board.idle()
            if stop is None and self.spec.get("stop_on_failure") and record.failed:
                stop = {"kind": "maxfail"}
            if stop is not None:
                break
        if position >= 0:
            late = pytest_seam.teardown_all(session, jobs[position].what)
            if late is not None:
                record.pytest_runtest_logreport(late)
                emit(record.take(jobs[position].number) | {"late": True})
        for frame in measured.frames([job.number for job in jobs[: position + 1]]):
            emit(frame)
        self._stopped = stop is not None
        emit({"op": "child_end", "stop": stop})

    def _run_one(
        self,
        item: pytest.Item,
        nextitem: pytest.Item | None,
        record: _Record,
        timeout_s: float,
    ) -> dict[str, Any] | None:
        """Run one test; a value when the session shall stop after it."""
        if timeout_s:
            faulthandler.dump_traceback_later(timeout_s, file=self._stacks)
        record.begin()
        try:
            pytest_seam.protocol(item, nextitem)
        except pytest.exit.Exception as error:
            return {"kind": "exit", "reason": str(error.msg), "code": error.returncode}
        except KeyboardInterrupt:
            return {"kind": "interrupt", "reason": f"{item.nodeid}: KeyboardInterrupt"}
        except BaseException:
            text = traceback.format_exc()[-_TEXT_CHARACTERS_MAX:]
            return {"kind": "internal", "reason": text}
        finally:
            record.end()
            if timeout_s:
                faulthandler.cancel_dump_traceback_later()
        session = self.session
        if session.shouldfail:
            return {"kind": "fail", "reason": str(session.shouldfail)}
        if session.shouldstop:
            return {"kind": "stop", "reason": str(session.shouldstop)}
        return None

    def _timeout(self, item: pytest.Item) -> float:
        """Seconds allowed for an item, by mark or by the run; 0 for no limit."""
        limit = self.spec.get("timeout_s")
        for name, key in (("timeout", "timeout"), ("dtf", "timeout")):
            mark = item.get_closest_marker(name)
            if mark is None:
                continue
            first = mark.args[0] if mark.args and name == "timeout" else None
            value = mark.kwargs.get(key, first)
            try:
                limit = parse_duration(value)
            except ValueError:
                continue  # a mark that only has to do with something else
        if not limit or limit > _TIMEOUT_MAX_S:
            return 0.0
        return float(limit) + (1.0 if self._interrupts_itself(item) else 0.0)

    def _interrupts_itself(self, item: pytest.Item) -> bool:
        """Whether pytest-timeout will act; our limit then only stands behind it."""
        if not self.config.pluginmanager.hasplugin("timeout"):
            return False
        told = self.config.getoption("timeout", None) or self.config.getini("timeout")
        return bool(told) or item.get_closest_marker("timeout") is not None


class _Record:
    """The one plugin that hears the reports in a child."""

    def __init__(
        self,
        config: pytest.Config,
        spill: Spill,
        board: ProgressBoard,
        client_id: Callable[[str], str],
        trace: str = "",
    ) -> None:
        self._config = config
        self._spill = spill
        self._board = board
        self._client_id = client_id
        self._trace = trace
        self.failed = False
        self._frame: dict[str, Any] = {}
        self._usage = Usage()
        self._began = 0.0
        self.begin()

    def begin(self) -> None:
        self._frame = {"op": "case", "reports": [], "start": time.time()}
        self._frame |= enter(self._trace, self._board)
        self._sections: dict[str, tuple[str, str]] = {}  # whole and short, by title
        self._usage.begin()
        self._began = time.perf_counter()

    def end(self) -> None:
        self._frame["wall"] = time.perf_counter() - self._began
        self._frame["usage"] = self._usage.taken()

    def take(self, number: int) -> dict[str, Any]:
        frame, self._frame = self._frame, {"op": "case", "reports": []}
        return frame | {"i": number}

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: Any, request: Any
    ) -> Generator[None, object, object]:
        if fixturedef.scope == "function":
            return (yield)
        start = time.perf_counter()
        try:
            return (yield)
        finally:
            seconds = time.perf_counter() - start
            if seconds >= 0.001:
                key = fixture_key(
                    fixturedef.scope, fixturedef.baseid, fixturedef.argname
                )
                self._frame.setdefault("setups", []).append([key, seconds])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        self._board.tear_down()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: Any
    ) -> Generator[None, object, object]:
        # A case of a dtf.toml: its files are gone after its teardown.
        result = getattr(item, "case_result", None)
        if call.when == "call" and result is not None:
            artifacts = self._frame.setdefault("artifacts", [])
            for name, path in result.artifacts:
                problem = self._spill.take(path, name, artifacts)
                if problem:
                    item.user_properties.append(("dtf_artifact_refused", problem))
        return (yield)

    def pytest_runtest_logreport(self, report: Any) -> None:
        data = self._config.hook.pytest_report_to_serializable(
            config=self._config, report=report
        )
        if data is None:
            return
        bound(data)
        data["nodeid"] = self._client_id(data["nodeid"])
        artifacts = self._frame.setdefault("artifacts", [])
        sections = data.get("sections")
        if sections:
            data["sections"] = [
                [title, self._bounded(title, text, artifacts)]
                for title, text in sections
            ]
        if not report.passed and "text" not in self._frame:
            self._frame["text"] = report.longreprtext[:_TEXT_CHARACTERS_MAX]
            self._frame["exception"] = _crash_message(report)
        if report.failed:
            self.failed = True
        self._frame["reports"].append(data)

    def _bounded(self, title: str, text: str, artifacts: list[Any]) -> str:
        """Each report repeats the sections of those before it: kept only once."""
        if self._sections.get(title, ("", ""))[0] != text:
            short = self._spill.bounded(text, title, artifacts)
            self._sections[title] = (text, short)
        return self._sections[title][1]

    def pytest_warning_recorded(
        self,
        warning_message: warnings.WarningMessage,
        when: str,
        nodeid: str,
        location: tuple[str, int, str] | None,
    ) -> None:
        category = warning_message.category
        self._frame.setdefault("warnings", []).append(
            {
                "message": str(warning_message.message)[:_TEXT_CHARACTERS_MAX],
                "category": [category.__module__, category.__qualname__],
                "filename": warning_message.filename,
                "lineno": warning_message.lineno,
                "when": when,
                "nodeid": self._client_id(nodeid),
                "location": location,
            }
        )


def _namer(spec: dict[str, Any]) -> Callable[[str], str]:
    """What the client calls a test: an id may hold the path of the suite's folder."""
    client_root = spec.get("client_root")
    if not client_root:
        return str
    root = os.path.abspath(spec["root"])
    return lambda nodeid: nodeid.replace(root, client_root)


def become_worker(config: pytest.Config, spec: dict[str, Any]) -> None:
    """Be to the suite what it knows from xdist: its fixtures and variables."""
    os.environ.update(worker_environment(spec))
    config.workerinput = {  # type: ignore[attr-defined]
        **spec.get("worker_inputs", {}).get(spec["slot"], {}),
        **coverage_child.worker_input(spec),
        "workerid": spec["slot"],
        "workercount": spec["slots"],
        "testrunuid": spec["run"],
        "mainargv": list(sys.argv),
    }
    config.workeroutput = {}  # type: ignore[attr-defined]


def worker_environment(spec: dict[str, Any]) -> dict[str, str]:
    """The variables of a worker of xdist; suites read them as they are imported."""
    return {
        "PYTEST_XDIST_WORKER": spec["slot"],
        "PYTEST_XDIST_WORKER_COUNT": str(spec["slots"]),
        "PYTEST_XDIST_TESTRUNUID": spec["run"],
    }


def fixture_key(scope: str, baseid: str, name: str) -> str:
    """How a fixture that outlives a test is named between runner and planner."""
    return f"{scope}:{baseid}::{name}"


def _crash_message(report: Any) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        return str(crash.message)[:2000]
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[-1])[:2000]
    return str(report.longrepr).strip().rpartition("\n")[2][:2000]

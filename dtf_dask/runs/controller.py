"""The controller: in the user's pytest, collects, hands out, and reports as usual."""

from __future__ import annotations

import gc
import os
import platform
import sys
import time
from collections.abc import Generator
from typing import Any

import pytest

from dtf_dask.errors import DriverLostError, DtfError
from dtf_dask.runs import coverage_merge, selection
from dtf_dask.runs.driver_link import DriverLink
from dtf_dask.runs.last_words import LastWords
from dtf_dask.runs.progress_display import Watch
from dtf_dask.runs.pytest_plugin import WATCH
from dtf_dask.runs.replay import Replay
from dtf_dask.runs.reports.text import one_line
from dtf_dask.runs.state_folder import new_run_id, state_folder
from dtf_dask.trace_ids import VARIABLE, trace_of
from dtf_dask.worker_plugins.runner import other_plugins, pytest_seam


class Controller:
    """Replaces pytest's loop over the items by a run on the cluster."""

    def __init__(self, config: pytest.Config, link: DriverLink | None) -> None:
        self.config = config
        option = config.option
        for name, why in (
            ("usepdb", "--pdb needs a terminal in the test's process"),
            ("trace", "--trace needs a terminal in the test's process"),
            ("setupplan", "--setup-plan runs no test"),
        ):
            if getattr(option, name, False):
                raise pytest.UsageError(f"{why}: leave --dtf out")
        self.run_id = option.dtf_run_id or new_run_id()
        self._sys_path = list(sys.path)
        self._link = link or DriverLink()
        self._link.send(
            {
                "op": "open",
                "address": option.dtf,
                "rootdir": str(config.rootpath),
                "overrides": selection.overrides(option),
            }
        )
        self._worker_inputs: dict[str, dict[str, Any]] = {}
        self._words = LastWords(self.run_id)
        self._end_wait_s = 0.0  # as the driver says, when it is ready
        self._stop: dict[str, Any] | None = None
        self._spawned: list[int] = []
        self._coverage: coverage_merge.CoverageMerge | None = None
        self._watch: Watch | None = None

    # -- the loop ------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        option = config.option
        if not option.dtf_only:
            return
        left, gone = selection.keep_only(items, option.dtf_only)
        if left:
            config.hook.pytest_deselected(items=left)
        if gone:
            self.notice(
                f"the suite has changed: {len(gone)} cases of run"
                f" {option.dtf_resumes} are no more, {one_line(gone[0])} for one"
            )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        option = self.config.option
        if session.testsfailed and not option.continue_on_collection_errors:
            return None  # pytest's own loop says it best
        if not session.items:
            return None
        try:
            cases, fixtures = selection.cases_of(session, option.dtf_duplicates)
            replay = Replay(session, self)
            ready = self._await_ready(replay)
            self._end_wait_s = ready["end_wait_s"]
            self._words.planned = len(cases)

            def name(number: int) -> str:
                return session.items[number].nodeid

            self._coverage = coverage_merge.opened(self.config, name)
            adopt = self._fork_runners(session, ready)
            self._link.send(self._asking(session, cases, fixtures, ready, adopt))
            each = len(ready["slots"]) if ready["dist"] == "each" else 1
            self._watch = Watch(self.config, len(cases) * each, name)
            self._follow(session, self._watch, replay)
        except DtfError as error:
            self._words.broken = error.exit_code, str(error)
        finally:
            if self._watch is not None:
                self._watch.close()
            for text in self._coverage.finish() if self._coverage else ():
                self.notice(text)
        self._raise_for_end(session)
        return True

    def _await_ready(self, replay: Replay) -> dict[str, Any]:
        for event in self._link.events():
            if event["op"] == "ready":
                return event
            if event["op"] == "error":
                raise _told(event)
            replay.note(event)
        raise AssertionError("events without a timeout do not end")

    def _asking(
        self,
        session: pytest.Session,
        cases: list[dict[str, Any]],
        fixtures: list[str],
        ready: dict[str, Any],
        adopt: list[str],
    ) -> dict[str, Any]:
        config = self.config
        spawn = selection.spawn_spec(config, self._sys_path)
        return {
            "op": "run",
            "run": self.run_id,
            "cases": cases,
            "fixtures": fixtures,
            "adopt": adopt,
            "suite": config.rootpath.name,
            "rootdir": str(config.rootpath),
            "state_folder": str(state_folder(config.rootpath)),
            "command": selection.command(config),
            "policy": selection.policy(config, ready, spawn["cwd"]),
            "environment": {
                "python": platform.python_version(),
                "platform": platform.platform(),
                "pytest": pytest.__version__,
            },
            "modules": selection.environment_modules(sys.modules),
            "module_files": selection.module_files(sys.modules, config.rootpath),
            "spec": self._runner_spec(ready)
            | spawn
            | {"worker_inputs": self._worker_inputs}
            | coverage_merge.spawn_settings(config),
        }

    def _runner_spec(self, ready: dict[str, Any]) -> dict[str, Any]:
        return {
            "run": self.run_id,
            "slots": len(ready["slots"]),
            "timeout_s": ready["timeout_s"],
            "inline_limit": ready["inline_limit"],
            "isolate": ready["isolate"],
            "trace": trace_of(self.run_id, os.environ.get(VARIABLE, ""))
            if ready["traces"] == "otel"
            else "",
            "dist": ready["dist"],
            "stop_on_failure": selection.stops_early(self.config.option),
        }

    def _fork_runners(
        self, session: pytest.Session, ready: dict[str, Any]
    ) -> list[str]:
        """Copies of this very session become the runners: nothing is imported twice."""
        from dtf_dask.worker_plugins.runner import bootstrap

        slots: list[str] = ready["slots"]
        config = self.config
        self._worker_inputs = other_plugins.worker_inputs(config, slots)
        if WATCH in config.stash and config.stash[WATCH].stop():
            return []  # the suite must be imported with the variable set
        if not ready["local"] or ready["isolate"] == "process":
            return []
        if not bootstrap.may_fork():
            return []
        base = pytest_seam.basetemp(self.config)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        gc.freeze()  # so that the collector of a child does not copy every page
        for slot in slots:
            spec = self._runner_spec(ready) | {
                "slot": slot,
                "by_index": True,
                "basetemp": str(base / slot),
                "token": ready["token"],
                "worker_inputs": self._worker_inputs,
            }
            pid = os.fork()
            if pid == 0:
                self._link.drop()
                bootstrap.run_forked(session, spec, ready["socket"])
            self._spawned.append(pid)
        gc.unfreeze()
        return slots

    def _follow(self, session: pytest.Session, watch: Watch, replay: Replay) -> None:
        """Play what comes until the end; whatever breaks in, nothing is lost."""
        try:
            for event in watch.events(self._link):
                op = event["op"]
                if op == "end":
                    self._words.end = event
                    return
                if op in ("case", "crash"):
                    self._hear(event)
                    self._count(event)
                    replay.play(event)
                    if session.shouldfail or session.shouldstop:
                        self._break_off(None, interrupted=False)
                        return
                elif op == "coverage":
                    self._hear(event)
                elif op == "stop":
                    self._stop = self._stop or event
                elif op == "error":
                    raise _told(event)
                else:
                    replay.note(event)
        except DtfError:
            raise
        except BaseException as error:  # Ctrl-C, or a hook that ends the session
            by_hand = isinstance(error, KeyboardInterrupt)
            stopped = by_hand or isinstance(error, pytest.exit.Exception)
            try:
                self._break_off(replay if by_hand else None, interrupted=stopped)
            except KeyboardInterrupt:
                # Once more. Where that was is of no use, and pytest fails to show it
                # where Python has no line for it.
                raise KeyboardInterrupt from None
            raise

    def _count(self, event: dict[str, Any]) -> None:
        if not event["retry"]:
            self._words.reported.add(event["i"])

    def _hear(self, event: dict[str, Any]) -> None:
        if self._coverage is not None:
            self._coverage.hear(event)

    def _break_off(self, replay: Replay | None, *, interrupted: bool) -> None:
        """Stop the run; wait for what is still in flight, so that it is kept.

        With ``replay`` it is reported too, as what had ended when Ctrl-C was pressed.
        """
        try:
            self._link.send({"op": "stop", "interrupted": interrupted})
            deadline = time.monotonic() + self._end_wait_s
            while time.monotonic() < deadline and not self._words.end:
                for event in self._link.events(0.2):
                    if event["op"] == "end":
                        self._words.end = event
                        break
                    self._hear(event)
                    if event["op"] in ("case", "crash"):
                        self._count(event)
                        if replay is not None:
                            replay.play(event)
        except DriverLostError as error:
            self._words.notices[str(error)] = None

    def _raise_for_end(self, session: pytest.Session) -> None:
        """End the session as the test that stopped it would have ended it here."""
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
        error = self._words.end.get("error")
        if error:
            self._words.broken = error["code"], error["text"]
        if self._words.broken:
            # As interrupted, so that pytest shows all that was reported before.
            raise session.Interrupted("dtf: the run could not go on")
        if self._stop is not None:
            self._raise_for_stop(session, self._stop)
        if self._words.end.get("interrupted"):
            raise session.Interrupted("dtf: somebody has ended this run from elsewhere")

    def _raise_for_stop(self, session: pytest.Session, stop: dict[str, Any]) -> None:
        kind = stop["kind"]
        if kind == "exit":
            pytest.exit(stop["reason"], stop["code"])
        if kind == "internal":
            raise RuntimeError(f"in a runner:\n{stop['reason']}")
        if kind == "fail":
            raise session.Failed(stop["reason"])
        if kind in ("interrupt", "stop"):
            raise session.Interrupted(stop["reason"])

    # -- reporting ------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: Any) -> Any:
        if getattr(report, "outcome", "") == "rerun":
            return "rerun", "R", ("RERUN", {"yellow": True})
        return None

    def notice(self, text: str) -> None:
        self._words.notices[text] = None

    def leaked(self, text: str) -> None:
        self._words.leaked.append(text)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(
        self, terminalreporter: Any
    ) -> Generator[None, object, object]:
        result = yield  # below pytest's own summary, where eyes are at the end
        self._words.say(terminalreporter)
        return result

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        words = self._words
        if words.broken:
            session.exitstatus = words.broken[0]
            if not self.config.pluginmanager.hasplugin("terminalreporter"):
                words.say_without_terminal()
        elif session.exitstatus == 0 and words.end.get("spooled"):
            session.exitstatus = words.end["results_code"]

    def pytest_unconfigure(self) -> None:
        self._link.close(in_run=self._words.planned > 0 and not self._words.broken)
        for pid in self._spawned:
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass


def _told(event: dict[str, Any]) -> DtfError:
    """The error that the driver tells of, as one that can be raised here."""
    error = DtfError(event["text"])
    error.exit_code = event["code"]
    return error

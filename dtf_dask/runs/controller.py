"""The controller: in the user's pytest, collects, hands out, and reports as usual."""

from __future__ import annotations

import gc
import os
import platform
import sys
import time
from typing import Any

import pytest

from dtf_dask.errors import DriverLostError
from dtf_dask.runs import selection
from dtf_dask.runs.attempts import crash_message, crash_text
from dtf_dask.runs.driver_link import DriverLink
from dtf_dask.runs.replay import Replay
from dtf_dask.runs.state_folder import new_run_id, state_folder
from dtf_dask.worker_plugins.runner import pytest_seam

_END_WAIT_S = 5.0


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
        if getattr(option, "numprocesses", None):
            raise pytest.UsageError(
                "-n is pytest-xdist's: use --dtf-workers with --dtf"
            )
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
        self._end: dict[str, Any] = {}
        self._stop: dict[str, Any] | None = None
        self._notices: list[str] = []
        self._leaked: list[str] = []
        self._planned = 0
        self._reported = 0
        self._spawned: list[int] = []

    # -- the loop ------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        option = self.config.option
        if session.testsfailed and not option.continue_on_collection_errors:
            return None  # pytest's own loop says it best
        if not session.items:
            return None
        cases, fixtures = selection.cases_of(session, option.dtf_duplicates)
        ready = self._await_ready()
        if ready is None:
            return True
        self._planned = len(cases)
        names = ready["slots"] if ready["local"] else []
        adopt = self._fork_runners(session, ready, names)
        self._link.send(self._asking(session, cases, fixtures, ready, adopt))
        replay = Replay(session, self)
        try:
            self._follow(session, replay)
        except KeyboardInterrupt:
            self._break_off(replay, interrupted=True)
            raise
        self._raise_for_end(session)
        return True

    def _await_ready(self) -> dict[str, Any] | None:
        try:
            for event in self._link.events():
                if event["op"] == "ready":
                    return event
                if event["op"] == "error":
                    self._fail(event["code"], event["text"])
        except DriverLostError as error:
            self._fail(error.exit_code, str(error))
        return None

    def _asking(
        self,
        session: pytest.Session,
        cases: list[dict[str, Any]],
        fixtures: list[str],
        ready: dict[str, Any],
        adopt: list[str],
    ) -> dict[str, Any]:
        config = self.config
        return {
            "op": "run",
            "run": self.run_id,
            "cases": cases,
            "fixtures": fixtures,
            "adopt": adopt,
            "dist": ready["dist"],
            "suite": config.rootpath.name,
            "rootdir": str(config.rootpath),
            "state_folder": str(state_folder(config.rootpath)),
            "command": ["pytest", *config.invocation_params.args],
            "policy": {
                name: ready[name]
                for name in ("dist", "isolate", "retries", "timeout_s")
            },
            "environment": {
                "python": platform.python_version(),
                "platform": platform.platform(),
                "pytest": pytest.__version__,
            },
            "modules": selection.environment_modules(sys.modules),
            "module_files": selection.module_files(sys.modules, config.rootpath),
            "spec": self._runner_spec(ready)
            | selection.spawn_spec(config, self._sys_path),
        }

    def _runner_spec(self, ready: dict[str, Any]) -> dict[str, Any]:
        return {
            "run": self.run_id,
            "slots": len(ready["slots"]),
            "timeout_s": ready["timeout_s"],
            "inline_limit": ready["inline_limit"],
            "isolate": ready["isolate"],
            "stop_on_failure": self.config.option.maxfail == 1,
        }

    def _fork_runners(
        self, session: pytest.Session, ready: dict[str, Any], slots: list[str]
    ) -> list[str]:
        """Copies of this very session become the runners: nothing is imported twice."""
        from dtf_dask.worker_plugins.runner import bootstrap

        if not slots or not bootstrap.may_fork() or ready["isolate"] == "process":
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
            }
            pid = os.fork()
            if pid == 0:
                self._link.drop()
                bootstrap.run_forked(session, spec, ready["socket"])
            self._spawned.append(pid)
        gc.unfreeze()
        return slots

    def _follow(self, session: pytest.Session, replay: Replay) -> None:
        try:
            for event in self._link.events():
                op = event["op"]
                if op == "end":
                    self._end = event
                    return
                if op in ("case", "crash"):
                    replay.play(event)
                    self._reported += not event["retry"]
                    if session.shouldfail or session.shouldstop:
                        self._break_off(replay, interrupted=False)
                        return
                elif op == "stop":
                    self._stop = self._stop or event
                elif op == "error":
                    self._fail(event["code"], event["text"])
                    return
                else:
                    replay.note(event)
        except DriverLostError as error:
            self._fail(error.exit_code, str(error))

    def _break_off(self, replay: Replay, *, interrupted: bool) -> None:
        """Stop the run; take what is still in flight, so that nothing is lost."""
        try:
            self._link.send({"op": "stop", "interrupted": interrupted})
            deadline = time.monotonic() + _END_WAIT_S
            while time.monotonic() < deadline and not self._end:
                for event in self._link.events(0.2):
                    if event["op"] == "end":
                        self._end = event
                        break
                    self._reported += event["op"] in ("case", "crash")
        except DriverLostError as error:
            self._notices.append(str(error))

    def _raise_for_end(self, session: pytest.Session) -> None:
        """End the session as the test that stopped it would have ended it here."""
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
        stop = self._stop
        if stop is not None:
            kind = stop["kind"]
            if kind == "exit":
                pytest.exit(stop["reason"], stop["code"])
            if kind == "internal":
                raise RuntimeError(f"in a runner:\n{stop['reason']}")
            if kind == "fail":
                raise session.Failed(stop["reason"])
            if kind in ("interrupt", "stop"):
                raise session.Interrupted(stop["reason"])
        error = self._end.get("error")
        if error:
            self._fail(error["code"], error["text"])

    def _fail(self, code: int, text: str) -> None:
        self._notices.append(text)
        pytest.exit(f"dtf: {text}", code)

    # -- reporting ------------------------------------

    def crash_report(self, item: pytest.Item, event: dict[str, Any]) -> Any:
        """The report that stands for a test whose process ended under it."""
        sections = [
            (f"Captured {name} call", event[key])
            for name, key in (("stdout", "out"), ("stderr", "err"))
            if event.get(key)
        ]
        report = pytest.TestReport(
            nodeid=item.nodeid,
            location=item.location,
            keywords=dict.fromkeys(item.keywords, 1),
            outcome="failed",
            longrepr=crash_text(event),
            when="teardown" if event.get("between") else "call",
            sections=sections,
            duration=event.get("after_s", 0.0),
        )
        report.dtf_crash = crash_message(event)  # type: ignore[attr-defined]
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: Any) -> Any:
        if getattr(report, "outcome", "") == "rerun":
            return "rerun", "R", ("RERUN", {"yellow": True})
        return None

    def notice(self, text: str) -> None:
        self._notices.append(text)

    def leaked(self, text: str) -> None:
        self._leaked.append(text)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        end, write = self._end, terminalreporter.write_line
        if self._leaked:
            terminalreporter.section("processes left behind (killed)", sep="-")
            for text in self._leaked[:20]:
                write(text)
        for name in end.get("flaky", ())[:20]:
            write(f"dtf: flaky: {name}", yellow=True)
        for text in dict.fromkeys(self._notices):
            write(f"dtf: {text}", yellow=True)
        if not end:
            return
        left = self._planned - self._reported
        write(f"dtf: run {self.run_id}: {self._reported} cases kept in {_where(end)}")
        if end["spooled"]:
            write(
                f"dtf: {end['spooled']} results could not be stored"
                f" ({end['results_error']}); they wait in {end['spool_path']} and are"
                " taken in by the next run, or by `dtf results import`",
                red=True,
            )
        if left > 0:
            write(
                f"dtf: {left} cases did not run: `dtf resume {self.run_id}` runs them"
            )

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.exitstatus == 0 and self._end.get("spooled"):
            session.exitstatus = self._end["results_code"]

    def pytest_unconfigure(self) -> None:
        self._link.close()
        for pid in self._spawned:
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass


def _where(end: dict[str, Any]) -> str:
    url = str(end["results_url"])
    try:
        return os.path.relpath(url) if "://" not in url else url.rpartition("@")[2]
    except ValueError:
        return url

"""A pytest session of our own, collected where the code is, that then serves."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from dtf_dask.worker_plugins.runner import coverage_child
from dtf_dask.worker_plugins.runner.other_plugins import take_over
from dtf_dask.worker_plugins.runner.pytest_session import (
    become_worker,
    worker_environment,
)

# Choices that select or order tests, or end a session early.
_SELECTING_OPTIONS: dict[str, Any] = {
    "keyword": "",
    "markexpr": "",
    "deselect": None,
    "maxfail": 0,
    "lf": False,
    "failedfirst": False,
    "newfirst": False,
    "stepwise": False,
    "stepwise_skip": False,
    "cacheclear": False,
}
# Choices that write files or print: only the controller reports.
_SILENT_OPTIONS: dict[str, Any] = {
    "xmlpath": None,
    "dtf": None,
    "collectonly": False,
    "verbose": 0,
    "basetemp": None,  # a folder that pytest would clear first
}

Serve = Callable[[pytest.Session, list[str]], None]


class CollectingPlugin:
    """Calls ``serve`` with the collected session, in the place of pytest's loop."""

    def __init__(self, spec: dict[str, Any], serve: Serve) -> None:
        self._spec, self._serve = spec, serve
        self._errors: list[str] = []
        self.served = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        for name, value in _SILENT_OPTIONS.items():
            setattr(config.option, name, value)
        select_nothing(config)
        take_over(config)
        become_worker(config, self._spec)
        coverage_child.rest()  # pytest-cov measures anew when the session starts

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._errors.append(f"{report.nodeid}: {report.longreprtext}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.served = True
        self._serve(session, self._errors)
        _say_no_more()
        return True


def select_nothing(config: pytest.Config) -> None:
    """Leave the choice to somebody who knows the tests by name."""
    for name, value in _SELECTING_OPTIONS.items():
        if hasattr(config.option, name):
            setattr(config.option, name, value)


def collect_and_run(spec: dict[str, Any], plugin: CollectingPlugin) -> int:
    """Run pytest over the suite that ``spec`` describes; its exit code."""
    root = os.path.abspath(spec["root"])
    os.environ.update({**spec["env"], **worker_environment(spec)})
    os.chdir(os.path.join(root, spec["cwd"]))
    own = [os.path.normpath(os.path.join(root, entry)) for entry in spec["sys_path"]]
    sys.path[:0] = [entry for entry in own if entry not in sys.path]
    with coverage_child.measured_session(spec) as words:
        words = [*spec["args"], *words, f"--rootdir={root}"]
        return int(pytest.main(words, plugins=[plugin]))


def _say_no_more() -> None:
    """What pytest prints at its end has no reader."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)

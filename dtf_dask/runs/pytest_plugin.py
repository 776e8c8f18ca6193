"""The pytest plugin: ``pytest --dtf`` and what suites expect of a parallel runner.

Imported by every pytest of the environment, so it imports next to nothing; the
controller is loaded when ``--dtf`` is given.
"""

from __future__ import annotations

import re
from argparse import SUPPRESS
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dtf_dask.runs.driver_link import DriverLink
    from dtf_dask.runs.worker_variable import WorkerVariableWatch

_ADDRESS = re.compile(r"^([a-z][a-z0-9+.-]*://\S+|[\w.-]+:\d+)$", re.IGNORECASE)
_DISTS = ("load", "loadscope", "loadfile", "loadgroup", "each", "one-per-process")
HOLDER = "dtf-driver-holder"
WATCH: pytest.StashKey[WorkerVariableWatch] = pytest.StashKey()


class DriverHolder:
    """Brings a driver that ``dtf run`` started early to the plugin."""

    def __init__(self, link: DriverLink) -> None:
        self.link = link


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("dtf", "run on a Dask cluster (dtf)")
    add = group.addoption
    add(
        "--dtf",
        nargs="?",
        const="",
        default=None,
        metavar="ADDRESS",
        help="run the tests on the Dask cluster at ADDRESS, or on one started here"
        " for the run (write --dtf=ADDRESS)",
    )
    add("--dtf-workers", metavar="N", help="workers of a local cluster (auto: cores)")
    _add_with_alias(
        add,
        "dist",
        "xdist",
        choices=_DISTS,
        help="what stays together: load (balance), loadscope, loadfile, loadgroup;"
        " each (every test on every worker), one-per-process",
    )
    _add_with_alias(
        add,
        "timeout",
        "pytest_timeout",
        metavar="TIME",
        help="time allowed for one test (5, 30s, 2min); then it is killed",
    )
    _add_with_alias(
        add,
        "reruns",
        "pytest_rerunfailures",
        metavar="N",
        help="run a failed test up to N times more; it is flaky if it then passes",
    )
    add(
        "--dtf-isolate",
        choices=("batch", "process"),
        help="batch: fork a child per batch; process: a fresh process per batch",
    )
    add(
        "--dtf-duplicates",
        choices=("refuse", "number"),
        default="refuse",
        help="tests with one id: refuse the run, or number them (id#2)",
    )
    add("--dtf-class", metavar="NAME", help="priority class of tests that name none")
    add(
        "--dtf-deadline",
        metavar="WHEN",
        help="when the run is to be done: a time from now (2h), or a point in time",
    )
    add("--dtf-tenant", metavar="NAME", help="in whose name tests run, for fair shares")
    add("--dtf-results", metavar="URL", help="results store: a path or database URL")
    add("--dtf-run-id", metavar="ID", help="the id of this run (default: made up)")
    # What `dtf resume` says: a file of the ids to run, and whose they were.
    add("--dtf-only", metavar="FILE", help=SUPPRESS)
    add("--dtf-resumes", metavar="ID", help=SUPPRESS)


def _add_with_alias(add: Any, name: str, owner: str, **how: Any) -> None:
    """``--dtf-NAME``, and ``--NAME`` too where no other plugin owns that one."""
    names = [f"--dtf-{name}"] + ([f"--{name}"] if find_spec(owner) is None else [])
    add(*names, dest=f"dtf_{name}", default=None, **how)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    # `pytest --dtf tests/`: argparse would take the path for the address.
    for position, word in enumerate(args[:-1]):
        if word == "--dtf" and not _ADDRESS.match(args[position + 1]):
            args[position] = "--dtf="
    if getattr(early_config.known_args_namespace, "dtf", None) is not None:
        from dtf_dask.runs.worker_variable import WorkerVariableWatch

        early_config.stash[WATCH] = watch = WorkerVariableWatch()
        early_config.add_cleanup(watch.restore)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, object, object]:
    if config.getoption("dtf", None) is not None:
        from dtf_dask.worker_plugins.runner.collecting import select_nothing
        from dtf_dask.worker_plugins.runner.other_plugins import take_over

        asked = take_over(config)
        if config.option.dtf_workers is None and asked:
            config.option.dtf_workers = "auto" if isinstance(asked, str) else str(asked)
        if config.option.dtf_only:
            select_nothing(config)
        if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
            # `testpaths` names where the tests are; the project's cases are beside.
            config.args += _case_files(config.rootpath)
    return (yield)


def _case_files(root: Path) -> list[str]:
    from dtf_dask.runs.cases import FILE_NAME, holds_cases

    own, shared = root / FILE_NAME, root / "pyproject.toml"
    found = [str(own)] if own.is_file() else []
    return [*found, str(shared)] if shared.is_file() and holds_cases(shared) else found


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "dtf(hardware, prefer, deadline, priority_class, timeout, ...): what a test"
        " needs of the machine that runs it, and by when",
    )
    if not config.pluginmanager.hasplugin("xdist"):
        config.addinivalue_line(
            "markers", "xdist_group(name): tests that run on one worker"
        )
        config.pluginmanager.import_plugin("dtf_dask.runs.worker_fixtures")
    if not config.pluginmanager.hasplugin("timeout"):
        config.addinivalue_line("markers", "timeout(seconds): time allowed for a test")
    if config.getoption("dtf", None) is None or hasattr(config, "workerinput"):
        return
    if config.option.collectonly or config.option.version or config.option.help:
        return
    from dtf_dask.runs.controller import Controller

    holder = config.pluginmanager.getplugin(HOLDER)
    controller = Controller(config, holder.link if holder is not None else None)
    config.pluginmanager.register(controller, "dtf-controller")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Any:
    if file_path.name not in ("dtf.toml", "pyproject.toml"):
        return None
    config = parent.config
    if config.getoption("dtf", None) is None and not hasattr(config, "workerinput"):
        return None
    from dtf_dask.runs.cases_collector import collect_file

    return collect_file(file_path, parent)

"""Brings what the children of a run measured into the coverage of this process.

Whoever measures here (pytest-cov, or ``coverage run``) then reports as ever.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dtf_dask.worker_plugins.runner import coverage_child

if TYPE_CHECKING:
    import coverage

_NAMED_MAX = 3  # tests that a notice names
_NUMBER_MAX = 2**31  # of a line
_ERRORS_MAX = 5


class CoverageMerge:
    """Made before runners are forked; hears every event; finished before a report.

    Parameters
    ----------
    measured
        What goes on in this process.
    rootdir
        The suite's root folder, for what was measured in a copy of it.
    name
        The id of a case by its number.
    """

    def __init__(
        self,
        measured: coverage.Coverage,
        rootdir: Path,
        name: Callable[[int], str],
    ) -> None:
        from coverage import CoverageData

        self._measured = measured
        self._here = [os.path.realpath(rootdir), coverage_child.installed()]
        self._name = name
        self._total = CoverageData(no_disk=True)
        self._known: dict[str, set[Any]] = {}  # lines or arcs without a context
        self._reported: dict[int, None] = {}
        self._covered: set[int] = set()
        self._errors: dict[str, None] = {}
        self._arcs: bool | None = None
        self._some = False
        coverage_child.warn(measured, False)
        measured.get_data()  # a fork then starts with nothing of what was run so far

    def hear(self, event: dict[str, Any]) -> None:
        """An event of the run."""
        op = event["op"]
        if op == "coverage":
            try:
                self._take(event)
            except (
                Exception
            ) as error:  # a frame of nonsense, or sqlite's, or coverage's
                self._error(f"{type(error).__name__}: {error}")
        elif op in ("case", "crash") and not event.get("between"):
            self._reported[event["i"]] = None

    def finish(self) -> list[str]:
        """Hand over to whoever reports; what a person should know, as lines."""
        if self._some:
            self._merge()
        else:
            # Nothing was measured anywhere: now the warnings about that are true.
            coverage_child.warn(self._measured, True)
        said = [f"coverage: {text}" for text in self._errors]
        lost = [number for number in self._reported if number not in self._covered]
        if lost:
            names = ", ".join(self._name(number) for number in lost[:_NAMED_MAX])
            more = len(lost) - _NAMED_MAX
            tests = "1 test" if len(lost) == 1 else f"{len(lost)} tests"
            said.append(
                f"coverage: what {tests} ran is not in the report, because the process"
                f" ended before it could tell: {names}"
                + (f" and {more} more" if more > 0 else "")
            )
        return said

    def _take(self, event: dict[str, Any]) -> None:
        if "error" in event:
            self._error(str(event["error"]))
        if event.get("files"):
            self._add(event)
        self._covered.update(event.get("of", ()))

    def _add(self, event: dict[str, Any]) -> None:
        arcs, there = bool(event["arcs"]), event["roots"]
        paths = [mapped(path, there, self._here) for path, _ in event["files"]]
        tracers = {p: t for p, (_, t) in zip(paths, event["files"], strict=True) if t}
        pieces = [piece for piece in event["pieces"] if piece[2]]
        if pieces and self._arcs is None:
            self._arcs = arcs
        if pieces and arcs is not self._arcs:
            self._error("some processes measured branches and others only lines")
            return
        fresh: dict[str, dict[str, set[Any]]] = {}
        for context, number, numbers in pieces:
            found = _found(numbers, arcs)
            if not context:
                found -= self._known.get(paths[number], set())
            if found:
                fresh.setdefault(context, {})[paths[number]] = found
        for context, by_path in fresh.items():
            self._total.set_context(context or None)
            add = self._total.add_arcs if arcs else self._total.add_lines
            add(by_path)  # type: ignore[operator]
        for path, found in fresh.get("", {}).items():
            self._known.setdefault(path, set()).update(found)
        self._some = self._some or bool(fresh)
        if self._some:
            self._total.touch_files(paths)
            self._total.add_file_tracers(tracers)

    def _merge(self) -> None:
        try:
            self._measured.get_data().update(self._total)
        except Exception as error:
            self._error(f"{type(error).__name__}: {error}")

    def _error(self, text: str) -> None:
        if len(self._errors) < _ERRORS_MAX:
            self._errors[text] = None


def opened(config: pytest.Config, name: Callable[[int], str]) -> CoverageMerge | None:
    """A merge for this run, if something is measured here."""
    measured = coverage_child.current()
    if measured is None:
        return None
    return CoverageMerge(measured, config.rootpath, name)


def spawn_settings(config: pytest.Config) -> dict[str, Any]:
    """How a runner that is started anew measures; for its ``spec``.

    Paths become relative to where the runner will stand.
    """
    option, manager = config.option, config.pluginmanager
    if not hasattr(option, "cov_source"):
        return {}  # no pytest-cov: no words for it
    if not manager.hasplugin(coverage_child.PLUGIN) or option.no_cov:
        off = {"args": ["--no-cov"], "topdir": os.getcwd(), "env": {}}
        return {"coverage": off}
    here, root = Path(config.invocation_params.dir), config.rootpath
    base = here if here.is_relative_to(root) else root

    def there(place: str) -> str:
        path = here / place
        return os.path.relpath(path, base) if path.exists() else place

    # The runner's own configuration may name sources too: these are all of them.
    sources = ["--cov"] if option.cov_source is None else []
    sources += [f"--cov={there(str(source))}" for source in option.cov_source or ()]
    words = ["--cov-reset", *sources, "--cov-report="]
    words.append(f"--cov-config={there(option.cov_config)}")
    if option.cov_branch:
        words.append("--cov-branch")
    if option.cov_context:
        words.append(f"--cov-context={option.cov_context}")
    wanted = os.environ.get("COVERAGE_PROCESS_START")  # measure subprocesses
    env = {"COVERAGE_PROCESS_START": there(wanted)} if wanted else {}
    return {"coverage": {"args": words, "topdir": str(here), "env": env}}


def mapped(path: str, there: Sequence[str], here: Sequence[str]) -> str:
    """Where a file that was measured elsewhere lies here.

    Examples
    --------
    >>> mapped("/tmp/copy/pkg/a.py", ["/tmp/copy", "/lib"], ["/my/suite", "/lib"])
    '/my/suite/pkg/a.py'
    """
    for old, new in zip(there, here, strict=False):
        if path.startswith(old + "/"):
            return new + path[len(old) :]
    return path


def _found(numbers: Sequence[int], arcs: bool) -> set[Any]:
    """Lines, or arcs, of the numbers that a frame holds."""
    sane = [n for n in numbers if isinstance(n, int) and abs(n) < _NUMBER_MAX]
    if not arcs:
        return {line for line in sane if line > 0}
    return set(zip(sane[::2], sane[1::2], strict=False))

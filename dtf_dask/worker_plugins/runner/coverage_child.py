"""Line and branch coverage of a child: what it measured, as frames of plain values.

A child ends without Python's goodbye, so nothing that coverage.py measured in it would
be kept. It is read here, by coverage's public interface, and travels; never as
coverage's own serialization, which is a script that the reader would execute.
Everything of coverage's and pytest-cov's that is not public is in this module;
``tests/test_coverage.py`` pins each name.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import coverage

Frame = dict[str, Any]

PLUGIN = "_cov"  # under which pytest-cov registers what controls a session
_NUMBERS_MAX = 300_000  # lines, or ends of arcs, in one frame
_ERROR_CHARACTERS_MAX = 500
_WARNINGS = ("_warn_no_data", "_warn_unimported_source")


def current() -> coverage.Coverage | None:
    """The measurement that is going on in this process, if coverage is loaded."""
    module = sys.modules.get("coverage")
    return None if module is None else module.Coverage.current()


def warn(measured: coverage.Coverage, allowed: bool) -> None:
    """Whether coverage may warn that nothing was run: a part of a run cannot know."""
    for name in _WARNINGS:
        setattr(measured, name, allowed)


def worker_input(spec: dict[str, Any]) -> dict[str, Any]:
    """What pytest-cov looks up where ``config.workerinput`` is set: it then measures,
    and neither reports nor (on another "host") leaves files for others to combine.
    """
    if "coverage" not in spec:
        return {}
    return {
        "cov_master_host": "",
        "cov_master_topdir": spec["coverage"]["topdir"],
        "cov_master_rsync_roots": [],
    }


@contextmanager
def measured_session(spec: dict[str, Any]) -> Iterator[list[str]]:
    """Words for the command line of a session that is started to run tests.

    It measures as the controller's does, into files of its own.
    """
    told = spec.get("coverage")
    if told is None or find_spec("pytest_cov") is None:
        yield []
        return
    with tempfile.TemporaryDirectory(
        prefix="dtf-coverage-", ignore_cleanup_errors=True
    ) as folder:
        # Subprocesses of tests inherit it, and write beside it.
        os.environ["COVERAGE_FILE"] = os.path.join(folder, ".coverage")
        yield list(told["args"])


class ChildCoverage:
    """Measures from the start of a child; see `frames`.

    Parameters
    ----------
    config
        Of the session whose tests are run.
    spec
        Of the runner.
    """

    def __init__(self, config: pytest.Config, spec: dict[str, Any]) -> None:
        self._coverage = current()
        self._spec = spec
        if self._coverage is None:
            return
        warn(self._coverage, False)
        plugin = config.pluginmanager.getplugin(PLUGIN)
        control = getattr(plugin, "cov_controller", None)
        if control is not None:
            # After a fork coverage may have been started anew (its ``patch = fork``).
            control.cov = self._coverage

    def frames(self, numbers: Sequence[int]) -> Iterator[Frame]:
        """Stop, and yield what was measured while the tests ``numbers`` ran.

        The last frame names the tests in ``of``, or tells the ``error``.
        """
        measured = self._coverage
        if measured is None:
            return
        last: Frame = {"op": "coverage"}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                measured.stop()
                yield from self._read(measured)
            last["of"] = list(numbers)
        except Exception as error:  # the results of the tests matter more
            last["error"] = f"{type(error).__name__}: {error}"[:_ERROR_CHARACTERS_MAX]
        yield last

    def _read(self, measured: coverage.Coverage) -> Iterator[Frame]:
        data = measured.get_data()
        data.lines("")  # lets go of the file of the process that this was forked from
        yield from self._told(data)
        data.erase()
        if "coverage" in self._spec and "COVERAGE_FILE" in os.environ:
            from coverage import CoverageData

            for path in Path(os.environ["COVERAGE_FILE"]).parent.glob(".coverage*"):
                other = CoverageData(basename=str(path))
                other.read()
                yield from self._told(other)
                other.erase()

    def _told(self, data: coverage.CoverageData) -> Iterator[Frame]:
        files = sorted(data.measured_files())
        frame = {
            "op": "coverage",
            "arcs": data.has_arcs(),
            "roots": self._roots(),
            "files": [[path, data.file_tracer(path) or ""] for path in files],
        }
        pieces: list[list[Any]] = []
        room = _NUMBERS_MAX
        for context, number in _pairs(data, files):
            data.set_query_context(context)
            piece = _numbers(data, files[number])
            pieces.append([context, number, piece])
            room -= len(piece)
            if room <= 0:
                yield {**frame, "pieces": pieces}
                pieces, room = [], _NUMBERS_MAX
        yield {**frame, "pieces": pieces}

    def _roots(self) -> list[str]:
        """Where the suite and the installed packages lie here."""
        root = self._spec.get("root")
        if root is None:
            return []  # forked from the controller: they lie where they lie there
        return [os.path.realpath(root), installed()]


def installed() -> str:
    """The folder of installed packages, as coverage would name it."""
    return os.path.realpath(sysconfig.get_path("purelib"))


def _pairs(
    data: coverage.CoverageData, files: Sequence[str]
) -> Iterator[tuple[str, int]]:
    """Contexts and numbers of files between which there is something, by context."""
    contexts = data.measured_contexts()
    if contexts <= {""}:
        yield from (("", number) for number in range(len(files)))
        return
    found: dict[str, dict[int, None]] = {}
    for number, path in enumerate(files):
        for names in data.contexts_by_lineno(path).values():
            for name in names:
                found.setdefault(name, {})[number] = None
    for context in sorted(found):
        yield from ((context, number) for number in found[context])


def _numbers(data: coverage.CoverageData, path: str) -> list[int]:
    """Lines; or the ends of arcs, two for each."""
    if data.has_arcs():
        return [end for arc in data.arcs(path) or () for end in arc]
    return list(data.lines(path) or ())

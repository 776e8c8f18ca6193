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
_FOLDER = "dtf-coverage-"
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


def rest() -> None:
    """In a runner: what is measured here is its children's to tell.

    Coverage's ``patch = _exit`` would write a file of it as the process ends.
    """
    measured = current()
    if measured is not None:
        warn(measured, False)
        measured.save = _nothing  # type: ignore[method-assign]


def _nothing() -> None:
    """In the place of `coverage.Coverage.save`."""


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
        prefix=_FOLDER, ignore_cleanup_errors=True
    ) as folder:
        # Subprocesses of tests inherit it, and write beside it.
        os.environ["COVERAGE_FILE"] = os.path.join(folder, ".coverage")
        os.environ.update(told["env"])
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
        vars(self._coverage).pop("save", None)  # a fork of the tests' own may need it
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
        if "coverage" not in self._spec:
            yield from self._told(data)
        else:
            yield from self._told(_with_neighbours(data))
        data.erase()
        measured.save = _nothing  # type: ignore[method-assign]

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


def _with_neighbours(data: coverage.CoverageData) -> coverage.CoverageData:
    """Also what subprocesses left beside it. (At home the controller combines that.)"""
    from coverage import CoverageData

    total = CoverageData(no_disk=True)
    total.update(data)
    own = Path(os.path.realpath(data.data_filename()))
    if not own.parent.name.startswith(_FOLDER):
        return total  # not ours to tidy up
    for path in own.parent.glob(".coverage*"):
        if path != own:
            other = CoverageData(basename=str(path))
            other.read()
            total.update(other)
            other.erase()
    return total


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

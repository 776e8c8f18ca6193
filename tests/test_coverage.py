"""Coverage of a run is what plain pytest measures, wherever the tests ran."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
import distributed
import pytest
from coverage import CoverageData

from dtf_dask.runs.coverage_merge import CoverageMerge, mapped
from dtf_dask.worker_plugins.runner import coverage_child

FILES = {
    "pyproject.toml": """
        [tool.coverage.run]
        patch = ["subprocess", "_exit"]
        """,
    "pkg/__init__.py": "",
    "pkg/core.py": """
        def sign(n):
            if n < 0:
                return -1
            return 1

        def in_a_subprocess():
            return 1

        def in_a_fork():
            return 1

        def unwatched():
            return 1

        def before_a_crash():
            return 1
        """,
    "pkg/lazy.py": "X = 1\n",
    "tests/test_it.py": """
        import os, signal, subprocess, sys
        import pytest
        from pkg import core

        @pytest.mark.parametrize("n", range(-1, 1))
        def test_sign(n):
            assert core.sign(n) == (-1 if n < 0 else 1)

        def test_subprocess():
            code = "from pkg import core; core.in_a_subprocess()"
            subprocess.run([sys.executable, "-c", code], check=True)

        def test_fork():
            if os.fork() == 0:
                core.in_a_fork()
                os._exit(0)
            os.wait()

        def test_lazy():
            import pkg.lazy

        @pytest.mark.no_cover
        def test_unwatched():
            core.unwatched()

        @pytest.mark.skipif("CRASH" not in os.environ, reason="only on demand")
        def test_crash():
            core.before_a_crash()
            os.kill(os.getpid(), signal.SIGKILL)
        """,
}
BRANCHES = ("--cov-branch", "--cov-context=test")


def made(folder: Path) -> Path:
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(inspect.cleandoc(text) + "\n")
    return folder


def run(folder: Path, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """``python -m pytest`` over the suite."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--cov=pkg", *args],
        cwd=folder,
        env=own | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def measured(folder: Path) -> dict[tuple[str, str], list[Any]]:
    """Lines or arcs by context and file; and nothing but one data file is there."""
    assert [path.name for path in folder.glob(".coverage*")] == [".coverage"]
    data = CoverageData(basename=str(folder / ".coverage"))
    data.read()
    found = {}
    for context in data.measured_contexts():
        data.set_query_context(context)
        for path in data.measured_files():
            name = os.path.relpath(path, folder)
            numbers = data.arcs(path) if data.has_arcs() else data.lines(path)
            if numbers:
                found[context, name] = sorted(numbers)
    data.close()
    return found


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[Any]]:
    """What plain pytest measures, with branches and contexts."""
    folder = made(tmp_path_factory.mktemp("plain"))
    done = run(folder, *BRANCHES)
    assert done.returncode == 0, done.stdout
    found = measured(folder)
    assert ("tests/test_it.py::test_fork|run", "pkg/core.py") in found
    return found


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of one worker that is not this run's own."""
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        protocol="tcp://",
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        yield cluster.scheduler_address


@pytest.mark.parametrize("how", ["forked", "started", "elsewhere"])
def test_the_same_as_plain(
    how: str,
    tmp_path: Path,
    plain: dict[tuple[str, str], list[Any]],
    request: pytest.FixtureRequest,
) -> None:
    """Arcs and contexts, file by file: of subprocesses and forks too, of modules that
    only tests import, without what is marked ``no_cover``; in a copy elsewhere too."""
    words = {"forked": ["--dtf="], "started": ["--dtf=", "--dtf-isolate=process"]}
    if how == "elsewhere":
        words[how] = [f"--dtf={request.getfixturevalue('address')}"]
    done = run(made(tmp_path), *BRANCHES, "--dtf-workers=2", *words[how])
    assert done.returncode == 0, done.stdout
    assert "CoverageWarning" not in done.stdout + done.stderr
    assert measured(tmp_path) == plain
    assert "6 passed, 1 skipped" in done.stdout


def test_a_crash_costs_its_own_process_and_is_told(tmp_path: Path) -> None:
    """The rest is there; appended to what was, and held against a limit, by lines."""
    made(tmp_path)
    earlier = CoverageData(basename=str(tmp_path / ".coverage"))
    earlier.add_lines({str(tmp_path / "pkg" / "core.py"): [14]})
    earlier.close()
    words = ("--dtf=", "--dtf-workers=1", "--cov-append", "--cov-fail-under=100")
    done = run(tmp_path, *words, CRASH="1")
    assert done.returncode == 1
    assert re.search(r"coverage: what \d+ tests? ran is not in the report", done.stdout)
    assert "tests/test_it.py::test_crash" in done.stdout
    assert "FAIL Required test coverage of 100% not reached" in done.stdout
    lines = measured(tmp_path)["", "pkg/core.py"]
    assert 14 in lines  # from before; test_unwatched is not covered
    assert 17 not in lines  # of the crash
    assert set(lines) >= {1, 6, 9, 12}  # what collecting ran


def test_no_cov(tmp_path: Path, address: str) -> None:
    """``--no-cov`` measures nothing, here and in runners that would on their own."""
    made(tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --cov=pkg\n")
    done = run(tmp_path, "--no-cov", "-k", "not unwatched", f"--dtf={address}")
    assert done.returncode == 0, done.stdout
    assert list(tmp_path.glob(".coverage*")) == []
    assert "is not in the report" not in done.stdout


# Without a run


@pytest.fixture
def merge(tmp_path: Path) -> Iterator[tuple[CoverageMerge, coverage.Coverage]]:
    own = coverage.Coverage(
        data_file=str(tmp_path / ".coverage"), source=["nothing_of_this_name"]
    )
    yield CoverageMerge(own, tmp_path, "t.py::test_{}".format), own
    own.get_data().close(force=True)


def frame(path: object, numbers: list[Any], **more: Any) -> dict[str, Any]:
    event = {"op": "coverage", "arcs": False, "roots": [], "files": [[path, ""]]}
    return event | {"pieces": [["", 0, numbers]], "of": []} | more


def test_what_came_is_merged(
    merge: tuple[CoverageMerge, coverage.Coverage], tmp_path: Path
) -> None:
    """Lines add up; paths of a copy become paths here; all that was reported and never
    covered is named."""
    one, own = merge
    one.hear(frame("/copy/a.py", [1, 2], roots=["/copy", "/lib"], of=[0]))
    one.hear(frame(f"{tmp_path}/a.py", [2, 5]))
    for number in range(6):
        one.hear({"op": "case", "i": number})
    (said,) = one.finish()
    assert "what 5 tests ran" in said
    assert said.endswith("t.py::test_1, t.py::test_2, t.py::test_3 and 2 more")
    assert sorted(own.get_data().lines(f"{tmp_path}/a.py") or ()) == [1, 2, 5]


@pytest.mark.parametrize(
    "event",
    [
        {"op": "coverage", "error": "DataError: no"},
        frame("/a.py", ["x", None, -5, 2**70, 1.5]),
        frame(7, [1]),
        frame("/a.py", [1], pieces=[["", 3, [1]]]),
        frame("/a.py", [1], pieces=7),
        frame("/a.py", [1], of=7),
        frame("/a.py", [1], roots=[1]),
        {"op": "coverage", "files": [["/a.py", ""]]},
    ],
)
def test_bad_frames_are_told_and_harmless(
    merge: tuple[CoverageMerge, coverage.Coverage], event: dict[str, Any]
) -> None:
    """Whatever a worker sends, the run goes on, and other frames count."""
    one, own = merge
    one.hear(event)
    one.hear(frame("/b.py", [1]))
    said = one.finish()
    assert own.get_data().lines("/b.py") == [1]
    assert all(text.startswith("coverage: ") for text in said)


def test_branches_and_lines_do_not_mix(
    merge: tuple[CoverageMerge, coverage.Coverage],
) -> None:
    """The first kind is kept, and the other told."""
    one, own = merge
    one.hear(frame("/a.py", [1]))
    one.hear(frame("/b.py", [1, 2], arcs=True))
    assert "branches" in one.finish()[0]
    assert own.get_data().measured_files() == {"/a.py"}


def test_paths_are_mapped_by_whole_folders() -> None:
    """A folder whose name only begins alike is another one."""
    there, here = ["/tmp/copy", "/lib"], ["/home/me", "/opt/lib"]
    assert mapped("/tmp/copy/a.py", there, here) == "/home/me/a.py"
    assert mapped("/lib/x/y.py", there, here) == "/opt/lib/x/y.py"
    assert mapped("/tmp/copycat/a.py", there, here) == "/tmp/copycat/a.py"
    assert mapped("pkg/a.py", there, here) == "pkg/a.py"


def test_the_seams_with_coverage_and_pytest_cov(pytester: pytest.Pytester) -> None:
    """Every name that is not public is where dtf looks for it."""
    from pytest_cov import engine, plugin

    one = coverage.Coverage(data_file=None)
    for name in coverage_child._WARNINGS:
        assert getattr(one, name) in (True, False)
    assert "map_path" in inspect.signature(CoverageData.update).parameters
    worker = inspect.getsource(engine.DistWorker.start)
    needed = set(re.findall(r"workerinput\['(\w+)'\]", worker))
    given = coverage_child.worker_input({"coverage": {"topdir": "/"}})
    assert needed <= set(given)
    start = inspect.getsource(plugin.pytest_load_initial_conftests)
    assert f"'{coverage_child.PLUGIN}'" in start
    assert "self.cov_controller.cov" in inspect.getsource(plugin.CovPlugin)

"""Which tests run, and in which order: pytest's options, files and folders."""

from __future__ import annotations

import pytest
from dtf_process import attempts, dtf, run, suite
from dtf_process import pytest as plain

_TESTS = """
import pytest

@pytest.mark.slow
def test_one(): pass
def test_two(): pass
def test_three(): assert 0
def test_four(): pass
"""


@pytest.fixture
def project(tmp_path):
    ini = "testpaths = checks\nmarkers = slow\naddopts = --dtf --dtf-workers=1\n"
    suite(tmp_path, ini=ini)
    suite(tmp_path / "checks", test_a=_TESTS)
    suite(tmp_path / "more", test_b="def test_more(): pass\n")
    (tmp_path / "checks" / "pytest.ini").unlink()
    (tmp_path / "more" / "pytest.ini").unlink()
    return tmp_path


def _ran(folder):
    return sorted(name.rpartition("::")[2] for name in attempts(folder))


def test_choices(project):
    """`--dtf` in addopts suffices; what pytest selects is what runs."""
    every = ["test_four", "test_one", "test_three", "test_two"]
    for words, code, expected in (
        ([], 1, every),
        (["--lf"], 1, ["test_three"]),
        (["-m", "slow"], 0, ["test_one"]),
        (["-k", "two or four", "--deselect=checks/test_a.py::test_two"], 0, every[:1]),
        (["checks/test_a.py::test_two", "more"], 0, ["test_more", "test_two"]),
    ):
        ended = run(project, plain(*words))
        assert (ended.code, _ran(project)) == (code, expected), ended.out


def test_failed_first_and_stepwise(project):
    """--ff runs the failed one first; --sw stops at it, and resumes from it."""
    assert run(project, dtf("run", "-q")).code == 1
    ended = run(project, dtf("run", "--ff", "-v"))
    first = next(line for line in ended.out.splitlines() if "::" in line)
    assert first.startswith("checks/test_a.py::test_three FAILED")
    assert run(project, plain("--sw")).code == 2
    assert "test_four" not in _ran(project)
    ended = run(project, plain("--sw", "-v"))
    assert "checks/test_a.py::test_three FAILED" in ended.out
    assert "test_one" not in ended.out


def test_path_after_the_flag(project):
    """`pytest --dtf PATH` takes the path for a path, not for an address."""
    ended = run(project, plain("--dtf", "more"))
    assert (ended.code, _ran(project)) == (0, ["test_more"]), ended.out


def test_from_a_folder_below_the_root(project):
    """Paths count from where the command is given, results go to the root."""
    ended = run(project / "checks", dtf("run", "test_a.py", "-k", "one"))
    assert ended.code == 0, ended.out
    assert "kept in ../.dtf/results.sqlite" in ended.out
    assert list(attempts(project)) == ["checks/test_a.py::test_one"]


def test_collect_only_runs_nothing(project):
    """--co lists, and starts no cluster."""
    ended = run(project, plain("--co", "-q"))
    assert ended.code == 0
    assert "checks/test_a.py::test_four" in ended.out
    assert not (project / ".dtf").exists()


def test_doctests_and_import_modes(tmp_path):
    """Doctests are tests; two files of one name work with importlib mode."""
    suite(tmp_path)
    for name in ("a", "b"):
        suite(
            tmp_path / name,
            test_same="def test_same():\n    '''\n    >>> 1 + 1\n    2\n    '''\n",
        )
        (tmp_path / name / "pytest.ini").unlink()
    words = ["--doctest-modules", "--import-mode=importlib"]
    ended = run(tmp_path, dtf("run", "-n", "1", "--", *words))
    assert ended.code == 0, ended.out
    assert len(attempts(tmp_path)) == 4


def test_warnings_as_errors_and_plugins(tmp_path):
    """-W error holds in the tests' processes, and -p loads a plugin there."""
    suite(
        tmp_path,
        test_w="import warnings\n"
        "def test_w(given): warnings.warn('now')\n"
        "def test_p(given): assert given == 7\n",
        mine="import pytest\n@pytest.fixture\ndef given(): return 7\n",
    )
    words = ["--", "-W", "error", "-p", "mine"]
    ended = run(tmp_path, dtf("run", "-n", "1", *words), PYTHONPATH=str(tmp_path))
    assert ended.code == 1, ended.out
    assert "1 failed, 1 passed" in ended.out
    assert "UserWarning: now" in ended.out

"""What cannot be run, or kept: each has its words and its exit code."""

from __future__ import annotations

import os
import subprocess

import pytest
from dtf_process import attempts, dtf, run, suite
from dtf_process import pytest as plain
from machine_pace import slowness

_GOOD = "def test_a(): pass\n"


@pytest.fixture
def good(tmp_path):
    return suite(tmp_path / "suite", test_a=_GOOD)


def test_pytests_own_codes(good):
    """4 for a path that is none, 2 for a collection error, 5 for no tests, 3 inside."""
    ended = run(good, dtf("run", "nowhere"))
    assert (ended.code, "file or directory not found" in ended.out) == (4, True)
    suite(good, test_bad="import nothing_like_it\n")
    ended = run(good, dtf("run"))
    assert (ended.code, "1 error" in ended.out) == (2, True)
    ended = run(good, dtf("run", "--", "--continue-on-collection-errors"))
    assert (ended.code, "1 passed, 1 error" in ended.out) == (1, True)
    assert run(good, dtf("run", "test_a.py", "-k", "nothing")).code == 5
    text = "def pytest_runtest_logreport(report): raise OSError('ours')\n"
    suite(good, conftest=text)
    ended = run(good, dtf("run", "test_a.py"))
    assert (ended.code, "INTERNALERROR" in ended.out) == (3, True)


def test_marks_and_configuration(good):
    """An unknown argument of the mark and a wrong choice name what was meant."""
    mark = "import pytest\n@pytest.mark.dtf(dead_line='1 min')\n" + _GOOD
    suite(good, test_mark=mark)
    ended = run(good, dtf("run", "test_mark.py"))
    assert (ended.code, "did you mean 'deadline'" in ended.out) == (4, True)
    ended = run(good, plain("--dtf", "--dtf-timeout=soon", "test_a.py"))
    assert (ended.code, "runs.timeout" in ended.out) == (9, True)
    assert "Traceback" not in ended.out
    ended = run(good, dtf("run", "--dist", "loadfiles"))
    assert (ended.code, "loadfile" in ended.out) == (2, True)


def test_duplicate_ids(good):
    """Tests of one id are refused, or numbered on demand; nothing is kept of either."""
    twice = "def pytest_collection_modifyitems(items): items[:] = items * 2\n"
    suite(good, conftest=twice)
    ended = run(good, dtf("run"))
    assert (ended.code, "test_a.py::test_a" in ended.out) == (15, True)
    assert "--duplicates number" in ended.out
    ended = run(good, dtf("run", "--duplicates", "number", "-n", "1"))
    assert ended.code == 0, ended.out


def test_unreachable_cluster(good):
    """Nobody listens: exit 11 within the connect timeout, and what to do."""
    ended = run(
        good,
        dtf("run", "--address", "tcp://127.0.0.1:1"),
        DASK_DTF__DRIVER__CONNECT_TIMEOUT="1s",
    )
    assert (ended.code, "dtf scheduler" in ended.out) == (11, True), ended.out
    assert ended.wall_s < 6 * slowness()


def test_a_directory_in_the_place_of_the_results(good):
    """The run goes on; results wait in the spool, and the code is 17 if nothing else.

    When the place is free again, the next run takes them in.
    """
    place = good / ".dtf" / "results.sqlite"
    place.mkdir(parents=True)
    ended = run(good, dtf("run", "--run-id", "first"))
    assert ended.code == 17, ended.out
    assert "1 passed" in ended.out
    assert "wait in .dtf/spool" in ended.out
    place.rmdir()
    assert run(good, dtf("run")).code == 0
    assert list(attempts(good, "first")) == ["test_a.py::test_a"]


def test_corrupt_results(good):
    """A file that is no database stays as it is; the code is 18, or 1 for a failure."""
    (good / ".dtf").mkdir()
    place = good / ".dtf" / "results.sqlite"
    place.write_bytes(b"this is no database" * 500)
    ended = run(good, dtf("run"))
    assert (ended.code, "1 passed" in ended.out) == (18, True), ended.out
    assert place.read_bytes() == b"this is no database" * 500
    suite(good, test_b="def test_b(): assert 0\n")
    assert run(good, dtf("run")).code == 1


def test_full_disk(tmp_path):
    """No room for results: the run goes on and says so."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a small file system here")
    try:
        suite(folder, test_a=_GOOD)
        ended = run(folder, dtf("run", "-n", "1"))
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    assert "1 passed" in ended.out
    assert ended.code == 17, ended.out

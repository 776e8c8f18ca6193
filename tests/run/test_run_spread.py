"""Where tests run: workers, groups, crashes, timeouts, retries, and other plugins."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest
from dtf_process import attempts, dtf, run, suite
from dtf_process import pytest as plain

_WHERE = """
import json, os, time, pytest

@pytest.fixture(autouse=True)
def note(request, worker_id, testrun_uid):
    assert os.environ["PYTEST_XDIST_WORKER"] == worker_id
    assert os.environ["PYTEST_XDIST_WORKER_COUNT"] == "2"
    assert os.environ["PYTEST_XDIST_TESTRUNUID"] == testrun_uid
    with open("where.jsonl", "a") as file:
        print(json.dumps([request.node.nodeid, worker_id, os.getpid()]), file=file)
    time.sleep(0.03)
"""
_CLASSES = """
import pytest
class TestOne:
    @pytest.mark.parametrize("n", range(4))
    def test_n(self, n): pass
class TestTwo:
    @pytest.mark.parametrize("n", range(4))
    @pytest.mark.xdist_group("crowd")
    def test_n(self, n): pass
@pytest.mark.xdist_group("crowd")
def test_alone(): pass
"""


def _owner(nodeid, dist):
    file, _, rest = nodeid.partition("::")
    if dist == "loadfile":
        return file
    if dist == "loadscope":
        return f"{file}::{rest.partition('[')[0].rpartition('::')[0]}"
    return "crowd" if "TestTwo" in rest or "alone" in rest else nodeid


@pytest.mark.parametrize("dist", ["loadfile", "loadscope", "loadgroup"])
def test_what_belongs_together(tmp_path, dist):
    """A file, a scope, a group stays on one worker; both workers have work."""
    suite(tmp_path, conftest=_WHERE, test_a=_CLASSES, test_b=_CLASSES)
    ended = run(tmp_path, dtf("run", "-n", "2", "--dist", dist))
    assert ended.code == 0, ended.out
    workers = defaultdict(set)
    for line in (tmp_path / "where.jsonl").read_text().splitlines():
        nodeid, worker, _ = json.loads(line)
        workers[_owner(nodeid, dist)].add(worker)
    assert {len(names) for names in workers.values()} == {1}
    assert len(set.union(*workers.values())) == 2


def test_each_and_one_per_process(tmp_path):
    """each: every test on every worker; one-per-process: no test shares a process."""
    text = "import pytest\n@pytest.mark.parametrize('n', range(6))\ndef test(n): pass\n"
    suite(tmp_path, conftest=_WHERE, test_a=text)
    seen = {}
    for dist in ("each", "one-per-process"):
        ended = run(tmp_path, dtf("run", "-n", "2", "--dist", dist))
        assert ended.code == 0, ended.out
        lines = (tmp_path / "where.jsonl").read_text().splitlines()
        seen[dist] = [json.loads(line) for line in lines]
        (tmp_path / "where.jsonl").unlink()
    assert len({(nodeid, worker) for nodeid, worker, _ in seen["each"]}) == 12
    assert len({pid for _, _, pid in seen["one-per-process"]}) == 6


_EARLY = """
import os, pytest, time
NAME = "db_" + os.environ.get("PYTEST_XDIST_WORKER", "master")
"""


def test_a_name_for_each_worker_when_imported(tmp_path):
    """A suite that reads its worker's name as it is imported sees its own worker's."""
    text = (
        "import conftest, pytest, time\n"
        "@pytest.mark.parametrize('n', range(4))\n"
        "def test_name(n, worker_id):\n"
        "    assert conftest.NAME == 'db_' + worker_id\n"
        "    time.sleep(0.2)\n"
    )
    suite(tmp_path, conftest=_EARLY, test_a=text)
    ended = run(tmp_path, dtf("run", "-n", "2"))
    assert ended.code == 0, ended.out
    assert {a.worker for tries in attempts(tmp_path).values() for a in tries} == {
        "gw0",
        "gw1",
    }


_TROUBLE = """
import os, pathlib, subprocess, sys, time

def test_flaky():
    path = pathlib.Path("tried")
    path.write_text(path.read_text() + "x" if path.exists() else "x")
    assert len(path.read_text()) == 2

def test_crash():
    print("last words", flush=True)
    os.abort()

def test_hang(): time.sleep(60)
def test_leak(): subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
def test_good(): pass
"""


@pytest.mark.parametrize("without", ["", "timeout,rerunfailures,xdist"])
def test_trouble(tmp_path, without):
    """Retries, timeouts, crashes and leaks are told, beside other plugins or not."""
    suite(tmp_path, test_t=_TROUBLE)
    off = [
        word
        for name in filter(None, without.split(","))
        for word in ("-p", f"no:{name}")
    ]
    ended = run(
        tmp_path,
        dtf("run", "-n", "2", "--timeout", "1s", "--reruns", "1", "--", "-rR", *off),
    )
    assert ended.code == 1, ended.out
    assert "2 failed, 3 passed, 3 rerun" in ended.out
    assert "flaky: test_t.py::test_flaky" in ended.out
    assert "killed by SIGABRT" in ended.out
    assert "last words" in ended.out
    assert "Timeout" in ended.out
    assert "processes left behind (killed)" in ended.out
    assert "test_t.py::test_leak: pid" in ended.out
    kept = {
        name.partition("::")[2]: tries for name, tries in attempts(tmp_path).items()
    }
    assert [a.outcome.value for a in kept["test_flaky"]] == ["failed", "passed"]
    assert [a.detail for a in kept["test_crash"]] == ["retried", "crash"]


def test_options_of_other_plugins(tmp_path):
    """-n and --dist of xdist count; --reruns of rerunfailures goes on working."""
    suite(
        tmp_path,
        conftest=_WHERE,
        test_t="import os\ndef test_a(): pass\n"
        "def test_b():\n    seen = os.path.exists('b')\n    open('b', 'w')\n"
        "    assert seen\n",
    )
    words = ["--dtf", "-n", "2", "--dist", "loadfile", "--reruns", "1"]
    ended = run(tmp_path, plain(*words))
    assert ended.code == 0, ended.out
    assert "2 passed, 1 rerun" in ended.out

"""A run of real processes goes on while the coordinators that lead it are killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from xml.etree import ElementTree

import psutil
from coordinated import await_kept, await_workers, standing
from dtf_process import dtf, end, logged, run, start, suite
from dtf_process import pytest as plain_pytest

_SUITE = """
import os, pathlib, pytest, time

NOTES = pathlib.Path(os.environ["NOTES"])

@pytest.fixture(autouse=True)
def noted(request):
    with open(NOTES / request.node.name, "a") as file:
        file.write("x")

@pytest.mark.parametrize("n", range(46))
def test_short(n):
    time.sleep(0.1 + n % 3 * 0.05)
    print("said", n)
    assert n % 11, "as it must"

@pytest.mark.parametrize("n", range(2))
def test_long(n):
    time.sleep(2.5)

@pytest.mark.parametrize("n", range(6))
def test_skips(n):
    if n % 2:
        pytest.skip("as it must")
    time.sleep(0.3)

@pytest.mark.xfail
def test_is_known_to_fail():
    assert 0

def test_ends_when_it_may():
    while not (NOTES / "may-end").exists():
        time.sleep(0.05)

class TestSetUp:
    @pytest.fixture
    def breaks(self):
        raise ValueError("no")

    @pytest.mark.parametrize("n", range(5))
    def test_not_at_all(self, breaks, n):
        pass
"""
CASES = 61
KILLS_AT = (6, 24, 42)
"""How many cases have begun when a leader is killed."""


@contextlib.contextmanager
def _cluster(folder, **extra):
    """The address of three coordinators with two workers, and what they log."""
    words = ["dev", "--coordinators", "3", "--workers", "2", "--folder", folder / "dev"]
    with logged(folder, *words, **extra) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()


def _kill_leader(address, killed):
    """The process of who leads, and his scheduler with him."""
    told = standing(address)
    scheduler = psutil.Process(told["status"]["scheduler"]["pid"])
    node = scheduler.parent()
    killed.append((told["status"]["scheduler"]["term"], told["node"]))
    for process in (node, scheduler):
        os.kill(process.pid, signal.SIGKILL)


def _kill_as_it_goes(address, notes, over, killed):
    """Kill who leads whenever so many cases have begun; then the last one may end."""
    for number, cases in enumerate(KILLS_AT):
        while len(killed) == number and not over.wait(0.05):
            if len(list(notes.iterdir())) >= min(cases, CASES - 1):
                # Nobody leads, or he has just begun to, and knows nothing of himself.
                with contextlib.suppress(
                    OSError, TimeoutError, LookupError, psutil.Error
                ):
                    _kill_leader(address, killed)
    (notes / "may-end").touch()


def _outcomes(path):
    """By test, what a JUnit XML file says of it."""
    found = {}
    for case in ElementTree.parse(path).iter("testcase"):
        kinds = sorted(one.tag for one in case if one.tag != "system-out")
        found[case.get("classname"), case.get("name")] = kinds
    return found


def test_leaders_are_killed(tmp_path):
    """Outcomes are those of plain pytest, test by test, and each has run once.

    In the end every coordinator has the results in a store of its own.
    """
    folder = suite(tmp_path / "suite", test_s=_SUITE)
    notes = {name: tmp_path / name for name in ("here", "there")}
    for one in notes.values():
        one.mkdir()
    (notes["here"] / "may-end").touch()
    plain = start(
        folder,
        plain_pytest("-q", "--junitxml", "../here.xml"),
        NOTES=str(notes["here"]),
    )
    with _cluster(tmp_path, NOTES=str(notes["there"])) as address:
        assert end(plain).code == 1
        await_workers(address, 2)
        over, killed = threading.Event(), []
        killing = threading.Thread(
            target=_kill_as_it_goes, args=(address, notes["there"], over, killed)
        )
        process = start(
            folder,
            dtf("run", "--address", address, "--", "--junitxml", "../there.xml"),
            NOTES=str(notes["there"]),
        )
        killing.start()
        try:
            ended = end(process)
        finally:
            over.set()
            killing.join()
        assert ended.code == 1, ended.out
        for name in "abc":
            there = tmp_path / "dev" / name / "results.sqlite"
            made, attempts = await_kept(there, folder)
            assert made.status == "failed"
            assert len({one[0] for one in attempts}) == len(attempts) == CASES
    assert len(killed) == len(KILLS_AT)
    lines = ended.lines("dtf: coordinator ")
    assert lines, ended.out
    assert _outcomes(tmp_path / "there.xml") == _outcomes(tmp_path / "here.xml")
    (notes["there"] / "may-end").unlink()
    ran = {one.name: one.read_text() for one in notes["there"].iterdir()}
    assert len(ran) == CASES
    assert {name: text for name, text in ran.items() if text != "x"} == {}
    told = run(folder, dtf("results", "--json"))
    leaders = json.loads(told.out)["run"]["environment"]["leaders"]
    assert len(leaders) == len(lines)
    assert {one["node"] for one in leaders} <= {"a", "b", "c"}

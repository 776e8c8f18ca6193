"""Suites that misbehave in every way end with the right outcome for each test.

The short form is for CI. With ``DTF_NASTY_FULL=1`` there are 50,000 tiny tests, a
fixture of 30 s, fresh processes in place of forks, and more tables are checked against
plain pytest.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from machine_pace import slowness
from nasty_groups import Group, groups
from nasty_run import Ended, dtf_command, plain_command, run

FULL = os.environ.get("DTF_NASTY_FULL") == "1"
_GROUPS = groups()
_OWN_TEST = {"endless", "expensive", "forks_back", "leftovers", "output", "tiny"}
_SLOW = set() if FULL else {"crash_fresh", "leftovers_fresh"}
_SLOW_IN_PLAIN = {"exits", "expensive", "interrupt", "output", "session_exit", "tiny"}
_IN_PLAIN = [
    name
    for name, group in _GROUPS.items()
    if not group.plain and (FULL or name not in _SLOW_IN_PLAIN)
]
_CAPTURED_CHARS_MAX = 1_000_000
_PRINTED_CHARS_MAX = 20_000_000
_WORKERS = 2


def _run_dtf(group: Group, folder: Path, **extra: str) -> Ended:
    ended = run(group, dtf_command(group), folder / "suite", **extra)
    _assert_as_expected(group, ended)
    assert ended.survivors == []
    assert ended.wall_s < group.seconds_max * slowness()
    for name, pattern in group.messages.items():
        (text,) = (
            text
            for nodeid, text in ended.messages.items()
            if group.short(nodeid) == name
        )
        assert re.search(pattern, text), f"{name}: {text}"
    return ended


def _assert_as_expected(group: Group, ended: Ended) -> None:
    end = ended.output[-3000:]
    assert group.differences(ended.outcomes) == [], end
    assert ended.exit_code == group.exit_code, end
    assert "INTERNALERROR" not in ended.output


@pytest.mark.parametrize("name", sorted(_GROUPS.keys() - _OWN_TEST - _SLOW))
def test_each_test_ends_as_it_should(name: str, tmp_path: Path) -> None:
    """Every outcome is the expected one, the rest of the batch goes on, nothing is left
    running, and it does not take long."""
    _run_dtf(_GROUPS[name], tmp_path)


@pytest.mark.parametrize("name", _IN_PLAIN)
def test_plain_pytest_says_the_same(name: str, tmp_path: Path) -> None:
    """Where plain pytest survives, the expected outcomes are its outcomes."""
    group = _GROUPS[name]
    sizes = {"DTF_NASTY_FULL": "0"}
    ended = run(group, plain_command(group), tmp_path / "suite", **sizes)
    _assert_as_expected(group, ended)


def test_leaked_processes_are_killed_and_named(tmp_path: Path) -> None:
    """A test that leaves processes behind passes; they are killed, and it is said."""
    ended = _run_dtf(_GROUPS["leftovers"], tmp_path)
    assert re.search(r"pid \d+ sleep 1000", ended.output)
    assert "test_fork_bomb" in ended.output


def test_a_forked_copy_of_a_test_runs_no_other(tmp_path: Path) -> None:
    """A child that returns into pytest neither reports nor runs what is left."""
    ended = _run_dtf(_GROUPS["forks_back"], tmp_path)
    assert len(ended.notes("before")) == 1
    assert len(ended.notes("after")) == 5


def test_output_is_bounded(tmp_path: Path) -> None:
    """Of 100 MB that a failed test wrote, little travels or is printed."""
    ended = _run_dtf(_GROUPS["output"], tmp_path)
    assert max(ended.captured_chars.values()) < _CAPTURED_CHARS_MAX
    assert len(ended.output) < _PRINTED_CHARS_MAX


@pytest.mark.drill
def test_ten_thousand_tiny_tests(tmp_path: Path) -> None:
    """Very many tests are told of one by one, each once."""
    group = _GROUPS["tiny"]
    if FULL:
        outcomes = {"test_tiny[*]": Counter(passed=49_999, failed=1)}
        group = replace(group, outcomes=outcomes, seconds_max=5 * group.seconds_max)
        _run_dtf(group, tmp_path, DTF_NASTY_TINY="50000")
    else:
        _run_dtf(group, tmp_path)


def test_an_expensive_fixture_is_set_up_once_a_worker(tmp_path: Path) -> None:
    """A fixture of the session is not paid for again by every batch."""
    group = _GROUPS["expensive"]
    if FULL:
        group = replace(group, seconds_max=group.seconds_max + 30)
    ended = _run_dtf(group, tmp_path, DTF_NASTY_FULL="1" if FULL else "0")
    assert 1 <= len(ended.notes("expensive")) <= _WORKERS


@pytest.mark.parametrize("options", [(), ("--isolate", "process")], ids=["fork", "new"])
def test_an_interrupted_run_leaves_nothing_running(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    """One Ctrl-C ends tests that ignore it, soon and with pytest's own code."""
    group = replace(_GROUPS["endless"], options=options)
    command = dtf_command(group)
    ended = run(group, command, tmp_path / "suite", end_by=signal.SIGINT)
    assert ended.survivors == []
    assert ended.exit_code == group.exit_code, ended.output[-3000:]
    # For the tests, and for the goodbye.
    assert ended.wall_s < (2.0 + 2.0) * slowness()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_leaves_nothing_running(
    number: signal.Signals, tmp_path: Path
) -> None:
    """Without the controller nobody waits for the tests: they end too."""
    group = _GROUPS["endless"]
    command = dtf_command(group)
    ended = run(group, command, tmp_path / "suite", end_by=number)
    assert ended.survivors == []

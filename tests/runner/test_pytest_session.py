"""Suites of pytest in a runner: what their tests see, and what is told of them."""

from __future__ import annotations

import os
import textwrap

import pytest
from dask_cluster import pytest_spec
from served import Started, crashes, ran

ISOLATION = pytest.mark.parametrize("isolate", ["batch", "process"])


@pytest.fixture
def started(tmp_path):
    """Starts a runner over a suite of one file, and a folder for what it spills."""
    runners = []

    def start(source, **spec):
        suite, spill = tmp_path / "suite", tmp_path / "spill"
        suite.mkdir(exist_ok=True)
        spill.mkdir(exist_ok=True)
        (suite / "test_it.py").write_text(textwrap.dedent(source))
        whole = pytest_spec(suite, **{"slot": "gw3", "slots": 5, **spec})
        runners.append(Started(whole, str(spill)).__enter__())
        return runners[-1]

    yield start
    for runner in runners:
        runner.__exit__(None, None, None)


def run(runner, *names):
    return runner.run(*[f"test_it.py::{name}" for name in names])


def run_next(runner, *names):
    """As `run`, numbered from 100: no test that the runner has run already."""
    entries = [[n, f"test_it.py::{name}", 0] for n, name in enumerate(names, 100)]
    runner.send(op="batch", entries=entries, spill="")
    return runner.until("batch_end")


def outcomes(frames):
    """The outcomes of a case's reports, by its number."""
    return {
        frame["i"]: [report["outcome"] for report in frame["reports"]]
        for frame in frames
        if frame["op"] == "case" and not frame.get("late")
    }


def case(frames, number):
    [frame] = [f for f in frames if f["op"] == "case" and f["i"] == number]
    return frame


PASSED, FAILED = ["passed"] * 3, ["passed", "failed", "passed"]


@ISOLATION
def test_fixtures_live_for_a_batch(started, tmp_path, isolate):
    """Session and module fixtures are set up once a batch, timed, and torn down."""
    runner = started(
        f"""
        import pathlib, time, pytest
        log = pathlib.Path({str(tmp_path / "log")!r})
        def note(word):
            with log.open("a") as file: print(word, file=file)
        @pytest.fixture(scope="session")
        def session():
            time.sleep(0.05); note("session up"); yield; note("session down")
        @pytest.fixture(scope="module")
        def module(session): note("module up"); yield; note("module down")
        def test_a(module): note("a")
        def test_b(module): note("b")
        """,
        isolate=isolate,
    )
    frames = run(runner, "test_a", "test_b")
    assert outcomes(frames) == {0: PASSED, 1: PASSED}
    run(runner, "test_b")
    up, down = ["session up", "module up"], ["module down", "session down"]
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == [*up, "a", "b", *down, *up, "b", *down]
    [[key, seconds]] = case(frames, 0)["setups"]
    assert key.startswith("session:")
    assert key.endswith("::session")
    assert 0.05 <= seconds < 60
    assert "setups" not in case(frames, 1)


def processes(frames):
    """The process of each case that recorded it."""
    return {
        frame["i"]: dict(frame["reports"][-1]["user_properties"])["pid"]
        for frame in frames
        if frame["op"] == "case" and not frame.get("late")
    }


SUITE_OF_PIDS = """
    import os, threading, time, pytest
    SEEN = []
    @pytest.fixture(autouse=True)
    def pid(record_property): record_property("pid", os.getpid())
    def test_a(): SEEN.append("a")
    def test_b(): assert SEEN == ["a"]
    def test_leaves(tmp_path): os.chdir(tmp_path)
    def test_thread(): threading.Thread(target=time.sleep, args=(600,)).start()
    def test_fails(): assert 0
    def test_clean(): assert os.path.exists("test_it.py") and not SEEN
"""


def test_the_next_batch_finds_what_the_last_has_built(started):
    """As in plain pytest a process runs on; its fixtures live for a batch."""
    runner = started(SUITE_OF_PIDS)
    first, second = run(runner, "test_a"), run_next(runner, "test_fails", "test_b")
    assert outcomes(second) == {100: FAILED, 101: PASSED}
    assert len({*processes(first).values(), *processes(second).values()}) == 1


@pytest.mark.parametrize("spoiler", ["test_leaves", "test_thread"])
def test_a_spoilt_process_runs_no_further_batch(started, spoiler):
    """It stands elsewhere, or threads would have to be waited for."""
    runner = started(SUITE_OF_PIDS)
    assert outcomes(run(runner, "test_a", spoiler)) == {0: PASSED, 1: PASSED}
    assert outcomes(run_next(runner, "test_clean")) == {100: PASSED}


def test_one_process_for_each_test_if_that_was_asked_for(started):
    """By `--dist one-per-process`; another cannot be spoilt then."""
    runner = started(SUITE_OF_PIDS, dist="one-per-process")
    first, second = run(runner, "test_a"), run_next(runner, "test_clean")
    assert outcomes(second) == {100: PASSED}
    assert processes(first)[0] != processes(second)[100]


def test_failed_subtests_are_counted_for_each_attempt(started):
    """The count of an attempt that failed does not fail the next."""
    runner = started(
        """
        import pathlib
        def test_parts(subtests, tmp_path_factory):
            with subtests.test():
                mark = tmp_path_factory.getbasetemp() / "mark"
                if not mark.exists():
                    mark.touch(); assert 0
        """
    )
    assert case(run(runner, "test_parts"), 0)["subtests"] == 1
    assert "subtests" not in case(run(runner, "test_parts"), 0)


@ISOLATION
def test_tests_know_their_worker(started, isolate):
    """As xdist tells them: variables also while they are imported, fixtures."""
    runner = started(
        """
        import os
        AT_IMPORT = os.environ["PYTEST_XDIST_WORKER"]
        def test_it(worker_id, testrun_uid, request):
            assert (worker_id, testrun_uid, AT_IMPORT) == ("gw3", "r1", "gw3")
            assert os.environ["PYTEST_XDIST_WORKER_COUNT"] == "5"
            assert os.environ["PYTEST_XDIST_TESTRUNUID"] == "r1"
            assert request.config.workerinput["workercount"] == 5
        """,
        isolate=isolate,
    )
    assert outcomes(run(runner, "test_it")) == {0: PASSED}


@ISOLATION
def test_a_crash_keeps_what_was_captured(started, isolate):
    """By descriptor and by Python, flushed; the rest of the batch goes on."""
    runner = started(
        """
        import os, sys
        def test_before(): print("of another test")
        def test_dies():
            print("last words", flush=True); os.write(2, b"to stderr")
            os._exit(0)
        def test_after(): pass
        """,
        isolate=isolate,
    )
    frames = run(runner, "test_before", "test_dies", "test_after")
    assert outcomes(frames) == {0: PASSED, 2: PASSED}
    assert crashes(frames) == {1: "exit 0"}
    [crash] = [frame for frame in frames if frame["op"] == "crash"]
    assert "last words" in crash["out"]
    assert "to stderr" in crash["err"]


@ISOLATION
def test_a_death_in_a_teardown_is_told_as_such(started, isolate):
    """Of the last test that ran; the fixture may have been another's."""
    runner = started(
        """
        import os, pytest
        @pytest.fixture(scope="module")
        def dies(): yield; os._exit(5)
        def test_uses_it(dies): pass
        def test_last(): pass
        def test_dies_itself(): os._exit(6)
        """,
        isolate=isolate,
    )
    frames = run(runner, "test_uses_it", "test_last")
    assert outcomes(frames) == {0: PASSED}
    [crash] = [frame for frame in frames if frame["op"] == "crash"]
    assert (crash["i"], crash["teardown"], crash["between"]) == (1, True, False)
    frames = run(runner, "test_last", "test_dies_itself")
    [crash] = [frame for frame in frames if frame["op"] == "crash"]
    assert (crash["i"], crash["teardown"]) == (1, False)


@ISOLATION
def test_a_hang_costs_one_test(started, isolate):
    """By the run's limit, by pytest-timeout's mark or by dtf's, which takes text."""
    runner = started(
        """
        import time, pytest
        def test_before(): pass
        @pytest.mark.dtf(timeout="300 ms")
        def test_hangs(): time.sleep(600)
        def test_after(): pass
        """,
        isolate=isolate,
    )
    frames = run(runner, "test_before", "test_hangs", "test_after")
    assert outcomes(frames) == {0: PASSED, 2: PASSED}
    assert crashes(frames) == {1: "timeout"}
    [crash] = [frame for frame in frames if frame["op"] == "crash"]
    assert "in test_hangs" in crash["stacks"]
    assert crash["timeout_s"] == 0.3


def test_kinds_of_tests(started):
    """unittest, subtests, doctests, skips, expected failures: as pytest has them."""
    runner = started(
        '''
        import unittest, warnings, pytest
        def double(n):
            """
            >>> double(2)
            4
            """
            return 2 * n
        class TestOld(unittest.TestCase):
            def test_old(self): self.assertEqual(1, 1)
            def test_parts(self):
                for n in range(2):
                    with self.subTest(n=n): assert n == 0
        def test_subtests(subtests):
            for n in range(3):
                with subtests.test(n=n): assert n != 1
        @pytest.mark.skip(reason="why not")
        def test_skipped(): pass
        @pytest.mark.xfail
        def test_expected(): assert 0
        def test_warns(): warnings.warn("mind the gap", DeprecationWarning)
        ''',
        args=["--doctest-modules", *pytest_spec("")["args"]],
    )
    frames = run(
        runner,
        "test_it.double",
        "TestOld::test_old",
        "TestOld::test_parts",
        "test_subtests",
        "test_skipped",
        "test_expected",
        "test_warns",
    )
    told = outcomes(frames)
    assert told[0] == told[1] == told[6] == PASSED
    assert told[4] == ["skipped", "passed"]
    assert told[5] == ["passed", "skipped", "passed"]
    assert "failed" in told[2]
    assert "failed" in told[3]
    assert len(told[3]) > 3
    [warning] = case(frames, 6)["warnings"]
    assert warning["message"] == "mind the gap"
    assert warning["category"] == ["builtins", "DeprecationWarning"]
    assert warning["nodeid"] == "test_it.py::test_warns"


def test_what_ends_a_session_is_told(started):
    """The controller ends its own session so; what was not begun is named."""
    runner = started(
        """
        import os, pytest
        def test_before(): pass
        def test_exit(): pytest.exit("enough", 7)
        def test_raise(): raise KeyboardInterrupt
        def test_signal(): os.kill(os.getpid(), 2)
        def test_stop(request): request.session.shouldstop = "so"
        def test_fail(request): request.session.shouldfail = "no"
        """
    )
    for name, stop in {
        "exit": {"kind": "exit", "reason": "enough", "code": 7},
        "raise": {"kind": "interrupt"},
        "signal": {"kind": "interrupt"},
        "stop": {"kind": "stop", "reason": "so"},
        "fail": {"kind": "fail", "reason": "no"},
    }.items():
        frames = run(runner, "test_before", f"test_{name}", "test_before")
        [end] = [frame for frame in frames if frame["op"] == "child_end"]
        assert stop.items() <= end["stop"].items()
        assert ran(frames)[:2] == [0, 1]
        assert frames[-1]["not_run"] == [2]


def test_the_first_failure_can_end_it(started):
    """`-x` holds in a batch, too."""
    runner = started("def test_a(): assert 0\ndef test_b(): pass", stop_on_failure=True)
    frames = run(runner, "test_a", "test_b")
    assert ran(frames) == [0]
    assert {"op": "child_end", "stop": {"kind": "maxfail"}} in frames


def test_threads_that_run_after_collection_forbid_forking(started):
    """A fork could copy a lock that they hold: each batch has a fresh process then."""
    runner = started(
        """
        import os, threading, time
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        def test_it(record_property): record_property("parent", os.getppid())
        """
    )
    frames = run(runner, "test_it")
    assert outcomes(frames) == {0: PASSED}


@ISOLATION
def test_missing_names_are_told(started, isolate):
    """The suite is another here: with the errors of its collection."""
    runner = started("def test_here(): pass", isolate=isolate)
    frames = run(runner, "test_here", "test_elsewhere")
    [missing] = [frame for frame in frames if frame["op"] == "missing"]
    assert missing["names"] == ["test_it.py::test_elsewhere"]
    assert (missing["cases"], missing["errors"]) == (1, [])
    assert frames[-1]["not_run"] == [0, 1]
    assert outcomes(run(runner, "test_here")) == {0: PASSED}


def test_given_back_fixtures_are_torn_down(started, tmp_path):
    """What the tests that were given back would have torn down."""
    runner = started(
        f"""
        import pathlib, time, pytest
        here = pathlib.Path({str(tmp_path)!r})
        @pytest.fixture(scope="module")
        def shared(): yield; (here / "torn down").touch(); assert 0, "too late"
        def test_a(shared):
            (here / "begun").touch()
            while not (here / "go").exists(): time.sleep(0.01)
        def test_b(shared): pass
        """
    )
    runner.batch("test_it.py::test_a", "test_it.py::test_b")
    runner.until("running")
    runner.send(op="revoke", numbers=[1])
    assert runner.until("revoked")[-1]["numbers"] == [1]
    (tmp_path / "go").touch()
    frames = runner.until("batch_end")
    assert outcomes(frames) == {0: ["passed", "passed", "passed"]}
    [late] = [frame for frame in frames if frame.get("late")]
    assert [report["outcome"] for report in late["reports"]] == ["failed"]
    assert (tmp_path / "torn down").exists()


def test_long_output_is_kept_once_and_its_ends_travel(started, tmp_path):
    """Each of a test's reports repeats it: that is no reason to keep it thrice."""
    runner = started("def test_it(): print('x' * 1_000_000)", inline_limit=1000)
    frame = case(run(runner, "test_it"), 0)
    [artifact] = frame["artifacts"]
    assert artifact["size"] == 1_000_001
    assert (tmp_path / "spill" / artifact["file"]).stat().st_size == 1_000_001
    for report in frame["reports"][1:]:
        [[_, text]] = report["sections"]
        assert len(text) < 1200


def test_odd_properties_arrive_bounded(started):
    """Whatever a test records, its outcome is told."""
    runner = started(
        """
        class Bad:
            def __repr__(self): raise ValueError
        def test_odd(record_property):
            record_property("tuple keys", {(1, 2): 3})
            record_property("bad", Bad())
            record_property("huge", 10**30)
            record_property("long", "x" * 1_000_000)
        def test_long_report():
            assert not "x" * 20_000_000
        """
    )
    frames = run(runner, "test_odd", "test_long_report")
    assert outcomes(frames) == {0: PASSED, 1: FAILED}
    properties = dict(case(frames, 0)["reports"][-1]["user_properties"])
    assert properties["tuple keys"] == {"[1, 2]": 3}
    assert "the limit is" in properties["long"]
    assert properties["huge"] == str(10**30)
    assert sum(len(repr(r)) for r in case(frames, 1)["reports"]) < 10 * 2**20


def test_temporary_folders_of_a_runner_are_together(started, tmp_path):
    """All children of a runner share one base: pytest keeps the last three of those."""
    runner = started(
        "def test_it(tmp_path, record_property): record_property('at', str(tmp_path))"
    )
    bases = set()
    for _ in range(3):
        report = case(run(runner, "test_it"), 0)["reports"][-1]
        folder = dict(report["user_properties"])["at"]
        bases.add(os.path.dirname(folder))
    assert len(bases) == 1


def test_a_suite_that_cannot_be_imported_is_told(tmp_path):
    """Before the greeting, with pytest's own words."""
    (tmp_path / "conftest.py").write_text("import no_such_module")
    runner = Started(pytest_spec(tmp_path, slot="gw0"))
    try:
        frame = runner.receive()
        assert frame["op"] == "unusable"
        assert frame["code"] == 4
        assert "no_such_module" in frame["text"]
    finally:
        runner.__exit__(None, None, None)

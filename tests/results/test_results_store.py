"""What goes into a results store comes out of it, in SQLite and in PostgreSQL."""

from __future__ import annotations

import dataclasses
import multiprocessing
import random

import pytest

from dtf_dask.errors import UsageError
from dtf_dask.model import ArtifactRef, Attempt, CaseId, Outcome, Phase, Run, RunId
from dtf_dask.runs.results.store import ResultsStore

ODD_IDS = [
    CaseId("tests/test_a.py::test[é-日本-🐍]"),
    CaseId("nul\x00inside"),
    CaseId("lone\ud800surrogate"),
    CaseId("two\ud83d\ude00surrogates"),
    CaseId("two😀surrogates"),
    CaseId("\x1a0000"),
    CaseId("\x00"),
    CaseId(""),
    CaseId("ends with space "),
    CaseId("ends with space"),
    CaseId("x" * 100_000),
    CaseId("x" * 100_001),
]
FULL = Attempt(
    CaseId("t"),
    2,
    Outcome.FAILED,
    worker="tcp://127.0.0.1:4711",
    host="höst",
    detail="crash",
    started_at=1.5e9 + 0.125,
    duration_s=0.1,
    phases=(Phase("setup", "passed", 0.025), Phase("call", "failed", 0.075)),
    exception="ValueError: \x00",
    traceback="Traceback \ud8ff",
    stdout="out\r\n\x1b[31m",
    stderr="err",
    log="log",
    properties={"n": 1, "nested": {"list": [1.5, None, True, "\x00é"]}},
    artifacts=(ArtifactRef("shot.png", "ab" * 32, 2**40), ArtifactRef("b", "cd", 0)),
)


def run_of(run_id: str, started_at: float = 0.0, **fields: object) -> Run:
    made = Run(RunId(run_id), started_at, suite="suite")
    return dataclasses.replace(made, **fields)  # type: ignore[arg-type]


def passed(case_id: str, duration_s: float = 1.0, number: int = 1) -> Attempt:
    return Attempt(CaseId(case_id), number, Outcome.PASSED, duration_s=duration_s)


def test_every_field_of_a_run_comes_back(store: ResultsStore) -> None:
    """A run is read as it was begun, and ends as it was finished."""
    run = run_of(
        "run-1",
        12.5,
        command=("dtf", "run", "é"),
        rootdir="/tmp/\udcff",
        snapshot="abc",
        cases_planned=3,
        policy={"dist": "load", "retries": 2},
        environment={"python": "3.11", "packages": {"a": "1"}},
    )
    store.begin_run(run, [CaseId("t")])
    assert store.run("run-1") == run
    store.finish_run("run-1", status="failed", exit_code=1, finished_at=20.0)
    assert store.run("last") == dataclasses.replace(
        run, status="failed", exit_code=1, finished_at=20.0
    )


def test_every_field_of_an_attempt_comes_back(store: ResultsStore) -> None:
    """An attempt is read as it was added, and one without outputs has none."""
    bare = Attempt(CaseId("t"), 1, Outcome.LOST)
    store.begin_run(run_of("r"), [])
    assert store.add_attempts("r", [bare, FULL]) == 2
    assert list(store.attempts("r")) == [bare, FULL]
    assert [entry.attempt for entry in store.case_history("suite", FULL.case_id)] == [
        FULL,
        bare,
    ]


def test_case_ids_keep_their_identity(store: ResultsStore) -> None:
    """Any string is a case id, however long or odd, and no two become one."""
    store.begin_run(run_of("r"), ODD_IDS)
    assert store.missing("r") == ODD_IDS
    store.add_attempts("r", [passed(case_id) for case_id in ODD_IDS])
    assert [attempt.case_id for attempt in store.attempts("r")] == ODD_IDS
    assert store.missing("r") == []
    assert set(store.durations("suite")) == set(ODD_IDS)
    for case_id in ODD_IDS:
        [found] = store.attempts("r", case_id=case_id)
        assert found.case_id == case_id


def test_adding_again_changes_nothing(store: ResultsStore) -> None:
    """The same run, case, number and worker again is ignored; another is added."""
    store.begin_run(run_of("r"), [])
    assert store.add_attempts("r", [FULL]) == 1
    other = dataclasses.replace(FULL, outcome=Outcome.PASSED, stdout="another")
    elsewhere = dataclasses.replace(FULL, worker="w2")
    assert store.add_attempts("r", [other, FULL, elsewhere, elsewhere]) == 1
    assert list(store.attempts("r")) == [FULL, elsewhere]


def test_beginning_again_resumes(store: ResultsStore) -> None:
    """A run that begins again is running, keeps its attempts and adds to its plan."""
    store.begin_run(run_of("r"), [CaseId("a"), CaseId("b")])
    store.add_attempts("r", [passed("a")])
    store.finish_run("r", status="interrupted", exit_code=2, finished_at=9.0)
    store.begin_run(run_of("r"), [CaseId("b"), CaseId("c")])
    assert store.run("r") == run_of("r")
    assert store.missing("r") == ["b", "c"]


def test_a_run_is_found_by_its_beginning(store: ResultsStore) -> None:
    """An id, a unique beginning of one, or "last"; anything else is refused."""
    for number, run_id in enumerate(["ab1", "ab12", "ac", "AB"]):
        store.begin_run(run_of(run_id, float(number)), [])
    assert [store.run(ref).id for ref in ("ab1", "ac", "A", "last")] == [
        "ab1",
        "ac",
        "AB",
        "AB",
    ]
    for ref in ("ab", "a", "", "x", "%", "a_", "\x00", "\ud800"):
        with pytest.raises(UsageError):
            store.run(ref)
    assert [run.id for run in store.runs(3)] == ["AB", "ac", "ab12"]
    assert store.runs(suite="another") == []


def test_attempts_of_no_run_are_refused(store: ResultsStore) -> None:
    """Attempts need a run that began."""
    with pytest.raises(UsageError, match="no run"):
        store.add_attempts("r", [FULL])
    with pytest.raises(UsageError, match="no runs yet"):
        store.run("last")


def test_many_attempts_are_read_in_pages(store: ResultsStore) -> None:
    """Reading is complete and in order over any number of pages."""
    ids = [CaseId(f"case {n}") for n in range(1101)]
    batch = [passed(case_id, number=number) for case_id in ids for number in (1, 2)]
    store.begin_run(run_of("r"), ids)
    random.Random(1).shuffle(batch)
    assert store.add_attempts("r", batch) == len(batch)
    found = [(attempt.case_id, attempt.number) for attempt in store.attempts("r")]
    assert found == [(case_id, number) for case_id in ids for number in (1, 2)]


def _write_share(url: str, share: int, run_id: str) -> None:
    order = list(range(300))
    random.Random(share).shuffle(order)
    with ResultsStore.open(url) as store:
        store.begin_run(run_of(run_id), [CaseId(f"c{n}") for n in order])
        for start in range(0, 300, 30):
            batch = [
                dataclasses.replace(passed(f"c{n}"), worker=f"w{n % 3}")
                for n in order[start : start + 30]
            ]
            store.add_attempts(run_id, batch)


@pytest.mark.parametrize("run_ids", [("r", "r"), ("r0", "r1")])
def test_two_processes_write_at_once(url: str, run_ids: tuple[str, str]) -> None:
    """Two processes that open, begin and add together leave every attempt once."""
    spawn = multiprocessing.get_context("spawn")
    writers = [
        spawn.Process(target=_write_share, args=(url, share, run_id))
        for share, run_id in enumerate(run_ids)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    with ResultsStore.open(url) as store:
        for run_id in run_ids:
            assert store.missing(run_id) == []
            assert sum(1 for _ in store.attempts(run_id)) == 300

"""Results of runs go through the ledger into the store of every node."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from dataclasses import replace

import pytest

from dtf_dask.errors import ProtocolError
from dtf_dask.model import Attempt, CaseId, Outcome, Run, RunId
from dtf_dask.runs.results.feed import ResultsFeed
from dtf_dask.runs.results.portions import (
    PORTION_BYTES_MAX,
    attempt_record,
    case_records,
    end_record,
    lines_of,
    portions,
)
from dtf_dask.runs.results.store import ResultsStore
from dtf_dask.standby import results_view
from dtf_dask.standby.results_records import PREFIX, ResultsRecords, record_key
from dtf_dask.standby.results_view import FILE, ResultsView

RUN = Run(RunId("r-1"), 1000.0, suite="s", cases_planned=3, rootdir="/x")
NAMES = [CaseId(f"t.py::test_{n}") for n in range(3)]


def _attempts(count=3, **more):
    return [
        Attempt(CaseId(f"t.py::test_{n}"), 1, Outcome.PASSED, "gw0", "h", **more)
        for n in range(count)
    ]


def _all_portions(attempts):
    records = [*case_records(NAMES), *map(attempt_record, attempts)]
    yield from portions(RUN, records)
    yield from portions(RUN, [end_record("passed", 0, 1010.0, {"leaders": [1]})])


class _Ledger:
    """What was committed, and who is told of it."""

    def __init__(self, *views):
        self.found, self.views = {}, views

    async def keep(self, records):
        await asyncio.sleep(0)
        self._write(records)

    def keep_lazily(self, records):
        self._write(records)

    def _write(self, records):
        for key, value in records.items():
            if value is None:
                self.found.pop(key, None)
            else:
                self.found[key] = value
        for view in self.views:
            view.change(records.items())

    def records(self, prefix):
        return [(k, v) for k, v in self.found.items() if k.startswith(prefix)]


def _stored(folder):
    with ResultsStore.open(str(folder / FILE), create=False) as store:
        run = store.run(RUN.id)
        return run, sorted(one.case_id for one in store.attempts(RUN.id))


def _views(tmp_path, names="abc"):
    views = []
    for name in names:
        (tmp_path / name).mkdir()
        views.append(ResultsView(tmp_path / name))
    return views


def test_every_node_has_them(tmp_path):
    """In any order and more than once: runs, cases, attempts, the end, once each."""
    given = list(_all_portions(_attempts()))
    rng = random.Random(1)
    views = _views(tmp_path)
    for view in views:
        said = [*given, *given]
        rng.shuffle(said)
        for number, portion in enumerate(said, 1):
            view.change([(record_key(RUN.id, "f", number), portion)])
        view.close()
    for name in "abc":
        run, names = _stored(tmp_path / name)
        assert names == NAMES
        assert (run.status, run.exit_code) == ("passed", 0)
        assert run.environment == {"leaders": [1]}
        with ResultsStore.open(str(tmp_path / name / FILE)) as store:
            assert store.missing(RUN.id) == []


def test_records_go_when_all_nodes_have_them(tmp_path):
    """A portion said twice is one record; it goes when every node has it."""

    async def scene():
        views = _views(tmp_path)
        ledger = _Ledger(*views)
        leader = ResultsRecords(ledger, (1, 2, 3), views[0].change)
        for number, portion in enumerate(_all_portions(_attempts()), 1):
            for _ in range(2):
                await leader.take(RUN.id, "f", number, portion)
        assert len(ledger.found) == 2
        until = time.monotonic() + 30
        while any(len(view.held()) < 2 for view in views):
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
        await leader.held(1, views[0].held())
        await leader.held(2, views[1].held())
        # Another one leads: who has what it hears anew.
        leader = ResultsRecords(ledger, (1, 2, 3), views[0].change)
        await leader.held(3, views[2].held())
        assert len(ledger.found) == 2
        for node, view in zip((1, 2), views[:2], strict=True):
            await leader.held(node, view.held())
        assert ledger.found == {}
        assert [view.held() for view in views] == [[], [], []]
        for view in views:
            view.close()

    asyncio.run(scene())
    assert [_stored(tmp_path / name)[1] for name in "abc"] == [NAMES] * 3


@pytest.mark.logs("leave the ledger before all nodes have them: nodes \\[3\\]")
def test_records_are_bounded(tmp_path):
    """If a node is away for too long the oldest go, and it is said which one lacks."""

    async def scene():
        ledger = _Ledger()
        leader = ResultsRecords(ledger, (1, 3), lambda _: None, bytes_max=1000)
        for number in range(1, 6):
            await leader.take("r", "f", number, bytes(300))
            await leader.held(1, [record_key("r", "f", number)])
        assert sorted(ledger.found) == [record_key("r", "f", n) for n in (3, 4, 5)]

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("run", "feed", "number", "portion"),
    [
        ("", "f", 1, b"x"),
        ("r" * 201, "f", 1, b"x"),
        ("r", "f/..", 1, b"x"),
        ("r", "f", 0, b"x"),
        ("r", "f", True, b"x"),
        ("r", "f", 1, "x"),
        ("r", "f", 1, bytes(PORTION_BYTES_MAX + 1)),
    ],
)
def test_bad_words(run, feed, number, portion):
    """Nothing of it reaches the ledger."""
    ledger = _Ledger()
    leader = ResultsRecords(ledger, (1,), lambda _: None)
    with pytest.raises(ProtocolError):
        asyncio.run(leader.take(run, feed, number, portion))
    assert ledger.found == {}


@pytest.mark.logs("make no sense")
def test_a_portion_that_makes_no_sense(tmp_path):
    """It is said, and those after it are taken in."""
    (view,) = _views(tmp_path, "a")
    view.change([(f"{PREFIX}r/f/00000001", b"nonsense"), ("x/lock/a", b"other")])
    for number, portion in enumerate(_all_portions(_attempts()), 2):
        view.change([(record_key(RUN.id, "f", number), portion)])
    view.close()
    assert _stored(tmp_path / "a")[1] == NAMES
    assert len(view.held()) == 3
    for broken in (b"", b"x", portion[:-1], portion + b"x"):
        with pytest.raises(ProtocolError):
            lines_of(broken)


@pytest.mark.logs("cannot be stored here")
def test_a_store_that_fails_for_long(tmp_path, monkeypatch):
    """Of what waits for it, what has left the ledger goes; the rest is stored then."""
    monkeypatch.setattr(results_view, "_AGAIN_S", 0.01)
    (view,) = _views(tmp_path, "a")
    folder = tmp_path / "a"
    folder.rmdir()
    folder.write_text("where the store cannot be")
    given = list(_all_portions(_attempts()))
    gone = [(record_key(RUN.id, "f", number), bytes(100)) for number in range(1, 50)]
    view.change(gone)
    view.change([(key, None) for key, _ in gone])
    living = [(record_key(RUN.id, "f", n), one) for n, one in enumerate(given, 50)]
    view.change(living)
    assert sum(len(one or b"") for one in view._living.values()) == sum(map(len, given))
    folder.unlink()
    view.close()
    assert _stored(folder)[1] == NAMES
    assert sorted(view.held()) == [key for key, _ in living]


def test_no_portion_is_too_long():
    """Many attempts are several portions; one that is too long keeps its ends."""
    rng = random.Random(2)
    noise = "".join(chr(rng.randrange(32, 0x2000)) for _ in range(400_000))
    loud = replace(_attempts(1)[0], stdout=noise, traceback="short")
    several = [*_attempts(2, stderr=noise[:120_000]), loud, *_attempts(3)]
    found = list(portions(RUN, map(attempt_record, several)))
    assert all(len(one) <= PORTION_BYTES_MAX for one in found)
    lines = [line for one in found for line in lines_of(one).splitlines()]
    assert sum(b'"kind":"attempt"' in line for line in lines) == len(several)
    assert sum(b"[... cut:" in line for line in lines) == 1


class _Client:
    """As far as the feed sees one."""

    status = "running"

    def __init__(self, take):
        self.scheduler, self.dtf_results = self, take


def test_the_feed_outlives_leaders(tmp_path, monkeypatch):
    """What had no answer is given again, in order; the end comes last."""
    monkeypatch.setattr("dtf_dask.runs.results.feed.GATHER_S", 0.01)
    monkeypatch.setattr("dtf_dask.runs.results.feed._AGAIN_S", 0.01)

    async def scene():
        (view,) = _views(tmp_path, "a")
        ledger = _Ledger(view)
        leader = ResultsRecords(ledger, (1, 2), view.change)
        rng, numbers, notices = random.Random(3), [], []

        async def take(**words):
            if rng.random() < 0.3:
                raise OSError("nobody leads")
            await leader.take(**words)
            numbers.append(words["number"])
            if rng.random() < 0.3:
                raise OSError("no answer")

        feed = ResultsFeed(_Client(take), RUN, NAMES, notices.append)
        for attempt in _attempts():
            feed.put(attempt)
            await asyncio.sleep(0.02)
        await feed.close("passed", 0, 1010.0, {})
        assert notices == []
        assert sorted(set(numbers)) == list(range(1, max(numbers) + 1))
        assert numbers == sorted(numbers)
        view.close()

    asyncio.run(scene())
    run, names = _stored(tmp_path / "a")
    assert (run.status, names) == ("passed", NAMES)


def test_what_is_left_at_the_end_waits_for_no_more(monkeypatch):
    """A run that was interrupted has little time to say so."""
    monkeypatch.setattr("dtf_dask.runs.results.feed.GATHER_S", 3_600.0)

    async def scene():
        notices, taken = [], []

        async def take(**words):
            taken.append(words["number"])

        feed = ResultsFeed(_Client(take), RUN, NAMES, notices.append)
        for attempt in _attempts():
            feed.put(attempt)
        await asyncio.sleep(0)  # it gathers now
        await feed.close("interrupted", 2, 1010.0, {}, patience_s=60.0)
        assert taken
        assert notices == []

    asyncio.run(scene())


def test_nobody_leads_at_the_end(monkeypatch):
    """It is said that the run waits, and for how long; then what is missing there."""
    monkeypatch.setattr("dtf_dask.runs.results.feed._LONG_S", 0.01)

    async def scene():
        async def take(**_):
            raise OSError("nobody leads")

        notices, waits = [], []
        feed = ResultsFeed(_Client(take), RUN, NAMES, notices.append, waits.append)
        await feed.close("passed", 0, 1010.0, {}, patience_s=0.5)
        assert waits == [
            "the cluster has not taken all results of this run yet; it has 500 ms"
        ]
        assert notices == [
            "the cluster did not take all results of this run; they are in the"
            " results store of this client"
        ]

    asyncio.run(scene())


def test_a_cluster_that_takes_none():
    """It is said once, and the run ends as it would."""

    async def scene():
        async def take(**_):
            raise ValueError("no such operation")

        notices = []
        feed = ResultsFeed(_Client(take), RUN, NAMES, notices.append)
        await feed.close("passed", 0, 1010.0, {})
        assert notices == [
            "the cluster takes no results of this run: no such operation"
        ]

    asyncio.run(scene())


def test_how_far_a_run_is_told_as_it_moves(tmp_path, monkeypatch):
    """Cases by outcome, those that are flaky, and its end, by the next leader too;
    nothing of what is open. That it is there, and that it is over, at once."""
    monkeypatch.setattr(results_view, "_TOLD_S", 3_600.0)
    monkeypatch.setattr(results_view, "_TOLD_S_MAX", 3_600.0)
    (view,) = _views(tmp_path, "a")
    told, came = [], threading.Event()

    def hear(found):
        told.append(found)
        came.set()

    view.told = hear
    name = CaseId("t.py::test_0")
    attempts = [
        Attempt(name, 1, Outcome.FAILED, "gw0", "h", detail="retried"),
        Attempt(name, 2, Outcome.PASSED, "gw0", "h"),
        Attempt(CaseId("t.py::test_1"), 1, Outcome.LOST, "gw0", "h"),
        Attempt(CaseId("t.py::test_2"), 1, Outcome.TIMEOUT, "gw0", "h"),
    ]
    first, last = _all_portions(attempts)
    view.change([(record_key(RUN.id, "f", 1), first)])
    assert came.wait(60)
    assert (told[0].run.id, told[0].run.status) == (RUN.id, "running")
    assert told[0].counts == {"passed": 1, "timeout": 1}
    assert told[0].flaky == 1
    came.clear()
    view.change([(record_key(RUN.id, "f", 2), last)])
    assert came.wait(60)
    assert told[-1].run.status == "passed"
    assert told[-1].counts == {"lost": 1, "passed": 1, "timeout": 1}
    view.close()
    # Who leads next asks, of a run that he has not seen end; of another nothing comes.
    told.clear()
    came.clear()
    after = ResultsView(tmp_path / "a")
    after.told = hear
    after.look(["r-none", str(RUN.id)])
    assert came.wait(60)
    after.close()
    assert [one.run.status for one in told] == ["passed"]

"""Events of a run arrive once and in order, whatever is lost, doubled or late."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtf_dask.runs.report_line import ReportLine
from dtf_dask.runs.report_stream import WAITING_MAX, ReportStream
from dtf_dask.worker_plugins.runner.kept_events import KeptEvents


@given(
    count=st.integers(1, 40),
    seed=st.integers(0, 2**32),
    loss=st.floats(0.0, 0.9),
    disorder=st.integers(0, 5),
)
def test_once_and_in_order(count, seed, loss, disorder):
    """Loss, doubles and disorder, with answers in between that are old already."""
    rng = random.Random(seed)
    stream = ReportStream()
    heard, said = [], []
    on_the_way = []
    for number in range(1, count + 1):
        said.append(number)
        for _ in range(rng.choice((1, 1, 1, 2))):
            if rng.random() >= loss:
                on_the_way.append((number + rng.uniform(0, disorder), number))
        on_the_way.sort()
        while on_the_way and on_the_way[0][0] <= number:
            _, arrived = on_the_way.pop(0)
            heard += stream.hear(arrived, arrived)
        if stream.misses and rng.random() < 0.3:
            upto = rng.randint(stream.heard, len(said))
            events = [(n, n) for n in range(stream.heard + 1, upto + 1)]
            if rng.random() < 0.5:
                on_the_way.append((number + 0.5, number))
            heard += stream.mend(events, upto)
    for _, arrived in on_the_way:
        heard += stream.hear(arrived, arrived)
    heard += stream.mend([(n, n) for n in said if n > stream.heard], count)
    assert heard == said
    assert not stream.misses
    assert stream.heard == count


def test_what_is_kept_no_longer_is_passed_over():
    """An answer that lacks a number says that it is gone; the rest goes on."""
    stream = ReportStream()
    assert stream.hear(4, "d") == []
    assert stream.mend([(2, "b")], upto=3) == ["b", "d"]
    assert stream.heard == 4
    assert stream.hear(1, "a") == []


def test_a_worker_that_lies_about_how_much_there_is_costs_nothing():
    """Neither a number that nobody could count to, nor an answer that goes nowhere."""
    stream = ReportStream()
    assert stream.hear(7, "g") == []
    assert stream.mend([(5, "e"), (2**61, "z")], upto=2**62) == ["e", "g", "z"]
    assert stream.heard == 2**62

    async def check():
        answers = [
            {"stream": "s", "events": [], "upto": 0, "last": 2**62},
            {"stream": "s", "events": [], "upto": "many", "last": 3},
            {"stream": "s", "events": [[1]], "upto": 1, "last": 1},
            "no answer",
        ]
        asked = []

        async def ask(address, op, **words):
            asked.append(op)
            return answers.pop(0)

        line = ReportLine(ask, "run", print, print, asyncio.Event())
        line.opened("w", "s")
        for count in range(1, 5):
            assert not await line.mend("w")
            assert len(asked) == count
            assert line.heard("w") == 0

    asyncio.run(check())


def test_last_words():
    """Of a worker that is gone nothing can be asked: what came out of turn counts."""
    stream = ReportStream()
    assert stream.hear(3, "c") == stream.hear(2, "b") == []
    assert stream.last_words() == ["b", "c"]
    assert stream.last_words() == [] == stream.hear(2, "b")
    assert not stream.misses


def test_what_waits_is_bounded():
    """More than so many before their turn are let go, and asked for again."""
    stream = ReportStream()
    for number in range(2, WAITING_MAX + 10):
        assert stream.hear(number, number) == []
    last = WAITING_MAX + 9
    assert len(stream.hear(1, 1)) == WAITING_MAX + 1
    assert stream.misses
    lacking = range(stream.heard + 1, last + 1)
    assert stream.mend([(n, n) for n in lacking], last) == list(lacking)
    assert not stream.misses


def _numbers(answer):
    return [number for number, *_ in answer["events"]]


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=60),
    seed=st.integers(0, 2**32),
)
def test_kept_until_heard(tmp_path_factory, sizes, seed):
    """In memory or in the file: all after a number is told, as it was said."""
    rng = random.Random(seed)
    kept = KeptEvents(Path(tmp_path_factory.mktemp("k")), memory_bytes_max=500)
    said, heard = {}, 0
    for batch, size in enumerate(sizes):
        packed = rng.randbytes(size)
        event = kept.put("gw0", batch, packed)
        said[event["number"]] = ["gw0", batch, packed]
        if rng.random() < 0.2:
            heard = rng.randint(heard, kept.last)
            kept.heard(heard)
        told = {}
        while (answer := kept.after(heard + len(told), 700))["upto"] < kept.last:
            told |= {number: rest for number, *rest in answer["events"]}
            assert answer["upto"] == heard + len(told)
        told |= {number: rest for number, *rest in answer["events"]}
        assert told == {n: one for n, one in said.items() if n > heard}
        assert kept._held_bytes <= 500
    kept.heard(kept.last)
    assert kept.after(kept.last)["events"] == []
    assert (kept._held_bytes, kept._file_bytes) == (0, 0)
    kept.close()


def test_no_room_anywhere(tmp_path):
    """The oldest are let go, and the answer is whole without them."""
    kept = KeptEvents(tmp_path, memory_bytes_max=250, file_bytes_max=250)
    for batch in range(10):
        kept.put("gw0", batch, bytes(100))
    answer = kept.after(0)
    assert (_numbers(answer), answer["upto"]) == ([1, 2, 9, 10], 10)
    kept.close()
    few = KeptEvents(tmp_path, events_max=3)
    for batch in range(10):
        few.put("gw0", batch, b"x")
    assert _numbers(few.after(0)) == [8, 9, 10]
    gone = KeptEvents(tmp_path / "no such folder", memory_bytes_max=150)
    for batch in range(3):
        gone.put("gw0", batch, bytes(100))
    answer = gone.after(0)
    assert (_numbers(answer), answer["upto"]) == ([3], 3)


def test_what_was_heard_makes_room_though_something_is_always_left(
    tmp_path: Path,
) -> None:
    """A driver that is never quite done with a worker loses none of its events."""
    kept = KeptEvents(tmp_path, memory_bytes_max=0, file_bytes_max=1_000)
    packed = {}
    for number in range(1, 101):
        packed[number] = bytes([number]) * 100
        kept.put("s", 0, packed[number])
        kept.heard(number - 3)
        left = kept.after(0)["events"]
        assert {one[0]: one[3] for one in left} == {
            n: packed[n] for n in range(max(1, number - 2), number + 1)
        }
    kept.close()


class _Air:
    """A worker behind connections that lose events, and questions and answers."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.kept = KeptEvents(folder, memory_bytes_max=100)
        self.rng = random.Random(seed)
        self.heard: list[int] = []
        self.now = 0.0
        self.line = ReportLine(
            *(self.ask, "r1", self.deliver, lambda _: None, asyncio.Event()),
            clock=lambda: self.now,
        )
        self.line.opened("w", self.kept.stream)

    async def ask(self, address, op, *, run, stream, after):
        assert (address, op, run, stream) == ("w", "dtf_events", "r1", self.kept.stream)
        await asyncio.sleep(0)
        if self.rng.random() < 0.3:
            raise OSError("no answer")
        self.kept.heard(after)
        return self.kept.after(after, 60)

    def deliver(self, told):
        self.heard.append(told.batch)

    def say(self, number: int) -> None:
        event = self.kept.put("gw0", number, bytes(20))
        if self.rng.random() < 0.6:
            self.line.on_event((0.0, event))
        if self.rng.random() < 0.2:
            self.line.on_event((0.0, event))


@pytest.mark.parametrize("seed", range(20))
def test_the_line_mends_itself(tmp_path, seed):
    """All is heard in the end, and nothing twice, though the worker is asked seldom."""

    async def scene():
        air = _Air(tmp_path, seed)
        asking = []
        for number in range(60):
            air.say(number)
            air.now += 0.1
            asking += [asyncio.ensure_future(air.line.mend(a)) for a in air.line.due()]
            await asyncio.sleep(0)
        await asyncio.gather(*asking)
        air.line.doubt()
        while not await air.line.mend("w"):
            assert air.line.due() == []  # after a question without an answer: a pause
            air.now += 1.0
            assert air.line.due() == ["w"]
        assert air.heard == list(range(60))
        assert air.line.heard("w") == 60
        assert air.line.due() == []
        air.now += 31.0
        assert air.line.due() == ["w"]  # it has said nothing for long
        air.kept.close()

    asyncio.run(scene())


def test_another_worker_at_the_address(tmp_path):
    """It knows nothing of the run: the first is given up, with what it had said."""

    async def scene():
        replaced, heard = [], []

        async def ask(*_, **__):
            return {"stream": ""}

        missed = asyncio.Event()
        line = ReportLine(ask, "r1", heard.append, replaced.append, missed)
        kept = KeptEvents(tmp_path)
        line.opened("w", kept.stream)
        kept.put("gw0", 1, b"lost")
        line.on_event((0.0, kept.put("gw0", 2, b"x")))
        assert missed.is_set()
        assert line.due() == ["w"]
        assert not await line.mend("w")
        assert replaced == ["w"]
        assert heard == []
        line.lost("w")
        assert [told.batch for told in heard] == [2]
        line.on_event((0.0, kept.put("gw0", 3, b"late")))  # of a worker that is gone
        assert len(heard) == 1
        assert (line.heard("w"), await line.mend("w")) == (0, False)

    asyncio.run(scene())

"""A scheduler keeps what it learns in a store, and no store stops its scheduling."""

from __future__ import annotations

import asyncio
import gc
import signal
import sqlite3
import statistics
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from machine_pace import cpu_slowness, slowness
from postgresql_server import running_postgresql

from dtf_dask.errors import ResultsUnavailableError
from dtf_dask.runs.results.store import ResultsStore
from dtf_dask.scheduler_plugins.adapter import remembering as module
from dtf_dask.scheduler_plugins.adapter.remembering import Remembering
from dtf_dask.scheduler_plugins.engine.engine import Engine

WAIT_S = 30.0
LOST = "is not kept for now; scheduling goes on"
FOUND = "is kept again"
NONSENSE = "of [0-9]+ rows make no sense"


@asynccontextmanager
async def remembering(
    store: Any, engine: Engine, interval_s: float = 0.02
) -> AsyncIterator[Remembering]:
    """An engine whose memory is kept at a URL, or by whatever a function opens."""
    opens = store
    if not callable(store):
        opens = partial(ResultsStore.open, store, busy_timeout_s=0.1)
    loop = asyncio.get_running_loop()
    made = Remembering(opens, engine.memory, interval_s=interval_s, loop=loop)
    made.start()
    try:
        yield made
    finally:
        await made.close()


async def until(is_it: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(WAIT_S):
        while not is_it():
            await asyncio.sleep(0.005)


async def kept(made: Remembering) -> None:
    """Wait until all that was learned until now is kept."""
    for _ in range(3):  # what is under way, or was taken already, may lack the last
        now = time.time()
        await until(partial(lambda at: (made.status()["kept_at"] or 0) > at, now))
    assert made.status()["problem"] == ""


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run an asynchronous test, bounded."""

    async def bounded() -> None:
        async with asyncio.timeout(90):
            await test()

    asyncio.run(bounded())


def took(engine: Engine, name: str, group: str = "pc") -> float:
    """What a task is thought to take; -1 if nothing is known of it."""
    return engine._core.estimates.of(name, group, -1.0).seconds


def rows_at(url: str) -> dict[tuple[str, str], list[float]]:
    """What is kept of durations, by name and kind of machine."""
    with ResultsStore.open(url) as store:
        rows = [row for page in store.remembered() for row in page]
    return {(row[1], row[2]): row[3] for row in rows if row[0] == "runs"}


def lines(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [text for text in caplog.messages if words in text]


def test_what_one_scheduler_learned_the_next_one_knows(url: str) -> None:
    """By name and by kind of machine, with what follows of others like it."""

    async def check() -> None:
        first, second = Engine(), Engine()
        async with remembering(url, first):
            first.learn("f.py::t[a]", "pc", [40.0] * 3)
            first.learn("train", "mac", [7.0])
        async with remembering(url, second) as made:
            await until(lambda: made.status()["recalled"] == 5)
            assert took(second, "f.py::t[a]") == 40.0
            assert took(second, "f.py::t[b]") == 40.0
            assert took(second, "train", "mac") == 7.0

    run(check)


def test_it_is_kept_while_the_scheduler_runs(url: str) -> None:
    """At each interval, what was learned since the last one and nothing else."""

    async def check() -> None:
        engine = Engine()
        async with remembering(url, engine) as made:
            engine.learn("a", "pc", [1.0])
            await kept(made)
            assert rows_at(url) == {("a", "pc"): [1.0]}
            engine.learn("a", "pc", [2.0])
            engine.learn("b", "pc", [3.0])
            await kept(made)
            assert rows_at(url) == {("a", "pc"): [1.0, 2.0], ("b", "pc"): [3.0]}

    run(check)


def test_two_schedulers_on_one_store_add_to_each_other(url: str) -> None:
    """Neither overwrites the other, whoever starts first and whoever ends last."""

    async def check() -> None:
        first, second, third = Engine(), Engine(), Engine()
        async with remembering(url, first) as one:
            first.learn("a", "pc", [1.0])
            await kept(one)
            async with remembering(url, second) as other:
                await until(lambda: other.status()["recalled"] == 2)
                for number in range(4):
                    first.learn("a", "pc", [2.0])
                    second.learn("a", "pc", [3.0])
                    second.learn(f"b{number}", "pc", [4.0])
                    await asyncio.sleep(0.03)
            first.learn("a", "pc", [5.0])
        found = rows_at(url)
        assert sorted(found["a", "pc"]) == [*[2.0] * 4, *[3.0] * 4, 5.0]
        assert {name for name, _ in found} == {"a", "b0", "b1", "b2", "b3"}
        async with remembering(url, third) as made:
            await until(lambda: made.status()["recalled"] == len(found) + 1)
            assert took(third, "b3") == 4.0

    run(check)


# A store that does not work.


@pytest.mark.logs(LOST, FOUND)
def test_a_locked_database_holds_nobody_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At the start and midway: it is said once, and nothing is lost once it is free."""
    path = tmp_path / "results.sqlite"
    ResultsStore.open(path).close()

    async def check() -> None:
        engine = Engine()
        locker = sqlite3.connect(path, isolation_level=None, timeout=10)
        locker.execute("BEGIN EXCLUSIVE")
        async with remembering(path, engine) as made:
            for turn in range(1, 3):
                engine.learn("a", "pc", [float(turn)])
                await until(lambda: "locked" in made.status()["problem"])
                for _ in range(20):  # the event loop goes on
                    await asyncio.sleep(0.005)
                assert len(lines(caplog, LOST)) == turn
                locker.execute("COMMIT")
                await until(lambda: not made.status()["problem"])
                await kept(made)
                assert rows_at(str(path))["a", "pc"] == [1.0, 2.0][:turn]
                assert len(lines(caplog, FOUND)) == turn
                locker.execute("BEGIN EXCLUSIVE")
            locker.execute("COMMIT")
        locker.close()

    run(check)


@pytest.mark.logs(LOST, FOUND)
def test_what_comes_late_is_older_than_what_was_learned_meanwhile(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that is away at the start is recalled when it is back."""
    folder = tmp_path / "mount"
    with ResultsStore.open(tmp_path / "results.sqlite") as store:
        store.remember([("runs", "a", "pc", [1.0] * 3, 9)], 1.0)
        store.remember([("runs", "b", "pc", [1.0], 9)], 1.0)
    folder.write_text("no folder")

    async def check() -> None:
        engine = Engine()
        async with remembering(folder / "results.sqlite", engine) as made:
            engine.learn("a", "pc", [5.0] * 4)
            await until(lambda: made.status()["problem"] != "")
            assert (took(engine, "a"), took(engine, "b", "mac")) == (5.0, 5.0)
            folder.unlink()
            folder.mkdir()
            (tmp_path / "results.sqlite").rename(folder / "results.sqlite")
            await until(lambda: made.status()["recalled"] == 2)
            runs = engine._core.estimates._names["a"]["pc"].durations
            assert runs == [*[1.0] * 3, *[5.0] * 4]
            assert took(engine, "b") == 1.0
        found = rows_at(str(folder / "results.sqlite"))
        assert found == {("a", "pc"): [*[1.0] * 3, *[5.0] * 4], ("b", "pc"): [1.0]}
        assert (len(lines(caplog, LOST)), len(lines(caplog, FOUND))) == (1, 1)

    run(check)


@pytest.mark.logs(LOST, "learned last is not kept")
def test_a_store_that_cannot_be_written_costs_what_was_learned_and_no_more(
    open_folder: Path,
    without_rights: Callable[[], AbstractContextManager[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What was there is recalled all the same; at the end it is said what is lost."""
    path = open_folder / "results.sqlite"

    async def check() -> None:
        engine = Engine()
        async with remembering(path, engine) as made:
            engine.learn("b", "pc", [2.0])
            await until(lambda: "cannot be written" in made.status()["problem"])
            assert took(engine, "a") == 1.0
            assert took(engine, "b") == 2.0
        assert len(lines(caplog, "learned last is not kept")) == 1

    with ResultsStore.open(path) as store:
        store.remember([("runs", "a", "pc", [1.0], 9)], 1.0)
        # Still open: the files beside it that a reader needs are there.
        for file in open_folder.iterdir():
            file.chmod(0o444)
        open_folder.chmod(0o555)
        with without_rights():
            run(check)
        open_folder.chmod(0o755)
    assert rows_at(str(path)) == {("a", "pc"): [1.0]}


@pytest.mark.logs(LOST, FOUND)
def test_a_database_that_goes_and_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is replaced by nonsense, and that nonsense moved away."""
    path = tmp_path / "results.sqlite"

    async def check() -> None:
        engine = Engine()
        async with remembering(path, engine) as made:
            engine.learn("a", "pc", [1.0])
            await kept(made)
            for file in tmp_path.glob("results.sqlite*"):
                file.unlink()
            path.write_text("nonsense" * 1000)
            engine.learn("a", "pc", [2.0])
            await until(lambda: made.status()["problem"] != "")
            path.unlink()
            await until(lambda: made.status()["problem"] == "")
            await kept(made)
        assert rows_at(str(path)) == {("a", "pc"): [2.0]}
        assert took(engine, "a") == 1.0  # of two the lower

    run(check)


@pytest.mark.logs(LOST, FOUND, "does not answer within")
def test_a_server_that_stops_and_one_that_hangs(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scheduling goes on; a scheduler closes soon even if its server says nothing."""
    monkeypatch.setattr(module, "CLOSE_S", 0.5)

    async def check(folder: str, server: Any) -> None:
        url = f"postgresql://dtf@/postgres?host={folder}"
        engine = Engine()
        async with remembering(url, engine) as made:
            engine.learn("a", "pc", [1.0])
            await kept(made)
            with ResultsStore.open(url) as store, store._engine.connect() as connection:
                connection.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND datname = 'postgres'"
                )
            engine.learn("a", "pc", [2.0])
            await kept(made)
            assert rows_at(url) == {("a", "pc"): [1.0, 2.0]}
            server.send_signal(signal.SIGSTOP)  # it accepts, and answers nobody
            try:
                engine.learn("a", "pc", [3.0])
                began = time.monotonic()
                for _ in range(20):
                    await asyncio.sleep(0.005)
                await made.close()
                assert time.monotonic() - began < 10 * slowness()
            finally:
                server.send_signal(signal.SIGCONT)
            made._thread.join(WAIT_S)
            assert not made._thread.is_alive()
            assert rows_at(url) == {("a", "pc"): [1.0, 2.0, 3.0]}
        assert len(lines(caplog, "does not answer within")) == 1

    with running_postgresql() as (folder, server):
        run(partial(check, folder, server))


@pytest.mark.logs(LOST, "learned last is not kept")
def test_what_cannot_be_kept_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a store is away the newest is held; how much is lost is told."""

    def away() -> ResultsStore:
        raise ResultsUnavailableError("it is away")

    async def check() -> None:
        engine = Engine()
        async with remembering(away, engine) as made:
            made._unkept = module.Additions(rows_max=10)
            for number in range(50):
                engine.learn(f"t{number}", "pc", [1.0])
                if number % 10 == 0:
                    await asyncio.sleep(0.03)
            await until(lambda: made.status()["lost"] >= 40)
            assert len(made._unkept) == 10

    run(check)


@pytest.mark.logs(NONSENSE)
def test_nonsense_is_refused_row_by_row(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted in the log; the rest is recalled."""
    with ResultsStore.open(url) as store:
        store.remember(
            [
                ("runs", "good", "pc", [3.0], 9),
                ("runs", "minus", "pc", [-1.0], 9),
                ("runs", "absurd", "pc", [1e250], 9),
                ("runs", "nan", "pc", [float("nan")], 9),
                ("runs", "x" * 5000, "pc", [1.0], 9),
                ("soul", "good", "pc", [1.0], 9),
                ("tenant", "ada", "", [float("inf")], 1),
            ],
            time.time(),
        )

    async def check() -> None:
        engine = Engine()
        async with remembering(url, engine) as made:
            await until(lambda: made.status()["recalled"] == 1)
            assert made.status()["refused"] == 6
            assert took(engine, "good") == 3.0
        assert len(lines(caplog, "6 of 7 rows make no sense")) == 1

    run(check)


@pytest.mark.logs(LOST, FOUND)
@pytest.mark.parametrize("broken", ["take", "recall"])
def test_a_memory_that_fails_costs_no_scheduling(
    broken: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is wrong in here ends here, and what comes next is kept."""
    path = tmp_path / "results.sqlite"
    with ResultsStore.open(path) as store:
        store.remember([("runs", "a", "pc", [1.0], 9)], time.time())
    engine = Engine()
    whole = getattr(engine.memory, broken)
    calls = 0

    def fails_once(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("no recollection")
        return whole(*args)

    async def check() -> None:
        async with remembering(path, engine) as made:
            await until(lambda: len(lines(caplog, FOUND)) == 1)
            assert made.status()["problem"] == ""
            engine.memory.take(0.0)  # what is learned is written down from here on
            engine.learn("b", "pc", [2.0])
        assert rows_at(str(path))["b", "pc"] == [2.0]
        assert len(lines(caplog, "RuntimeError: no recollection")) == 1

    monkeypatch.setattr(engine.memory, broken, fails_once)
    run(check)


def test_recalling_much_holds_the_event_loop_up_for_moments_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty thousand rows come in pages, each a few milliseconds of the loop's."""
    with ResultsStore.open(tmp_path / "results.sqlite") as store:
        rows = [
            ("runs", f"f{n % 100}.py::test[{n}]", f"pc{m}", [1.0 * (m + 1)] * 9, 9)
            for n in range(10_000)
            for m in range(2)
        ]
        store.remember(rows, time.time())
    taken_s: list[float] = []
    mine = threading.get_ident()
    gc.disable()  # what it costs is not the page's

    async def check() -> None:
        engine = Engine()
        recall = engine.memory.recall

        def timed(*args: Any) -> None:
            assert threading.get_ident() == mine
            began = time.thread_time()
            recall(*args)
            taken_s.append(time.thread_time() - began)

        monkeypatch.setattr(engine.memory, "recall", timed)
        async with remembering(tmp_path / "results.sqlite", engine) as made:
            await until(lambda: made.status()["recalled"] == len(rows))
            assert took(engine, "f7.py::test[7]", "pc1") == 2.0
            assert len(engine._core.estimates._names) == 10_000

    try:
        run(check)
    finally:
        gc.enable()
    assert statistics.median(taken_s) < 0.01 * cpu_slowness()
    assert max(taken_s) < sum(taken_s) / 10

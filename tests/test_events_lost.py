"""A run whose events Dask loses, by a plain scheduler: nothing of it is missing."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager

import dask.config
import distributed
import pytest

from dtf_dask import Case, Client
from dtf_dask.worker_plugins.runner.plugin import RunnerPlugin

_QUIET = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}


@asynccontextmanager
async def _cluster(folder):
    """A scheduler, two workers, and a client of dtf, all on this loop."""
    async with AsyncExitStack() as stack:
        stack.enter_context(dask.config.set({"distributed.worker.daemon": True}))
        scheduler = distributed.Scheduler(protocol="inproc://", **_QUIET)
        await stack.enter_async_context(scheduler)
        workers = []
        for _ in range(2):
            worker = distributed.Worker(
                scheduler.address,
                nthreads=1,
                memory_limit=0,
                local_directory=str(folder),
                plugins=(RunnerPlugin(),),
                **_QUIET,
            )
            workers.append(await stack.enter_async_context(worker))
        client = Client(scheduler.address, asynchronous=True, set_as_default=False)
        await stack.enter_async_context(client)
        yield workers, client


@pytest.mark.parametrize("way", ["some", "all"])
def test_events_are_lost(tmp_path, monkeypatch, way):
    """Of the events of workers some or all do not arrive: each case ends once."""
    monkeypatch.chdir(tmp_path)
    notes = tmp_path / "notes"
    notes.mkdir()

    def note(number: int) -> None:  # travels by value, being no part of a module
        with (notes / str(number)).open("a") as file:
            file.write("x")
        assert number % 5, "one in five fails"

    cases = [Case(str(n), fn=note, args=(n,)) for n in range(40)]
    lost = Counter()

    def lose(worker, seed):
        rng, log_event = random.Random(seed), worker.log_event

        def log(name, message):
            is_lost = way == "all" or rng.random() < 0.4
            if str(name).startswith("dtf-run-") and is_lost:
                lost[worker.address] += 1
            else:
                log_event(name, message)

        monkeypatch.setattr(worker, "log_event", log)

    async def scene():
        async with _cluster(tmp_path) as (workers, client):
            for seed, worker in enumerate(workers):
                lose(worker, seed)
            handle = client.run_cases(cases)
            async with asyncio.timeout(60):
                return handle, [attempt async for attempt in handle]

    handle, came = asyncio.run(scene())
    assert len(lost) == 2
    assert handle.notices == []
    assert sorted(int(attempt.case_id) for attempt in came) == list(range(40))
    assert handle.outcomes == {"passed": 32, "failed": 8}
    assert [(notes / str(n)).read_text() for n in range(40)] == ["x"] * 40

"""``dtf://`` over the deaths of leaders: real schedulers, workers, nannies, killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from distributed import Client, get_client
from distributed.comm import connect
from distributed.comm.core import Comm
from distributed.core import ConnectionPool
from free_contact import LOOPBACK, free_contact
from leaders import Nursery, end, nursery
from machine_pace import slowness

from dtf_dask.comm.address import Contact

FAILOVERS = 20
CONNECTED_S = 0.2
"""So long after the new leader listens, at the median, on a machine with other work.

The goal is 0.05; `benchmarks/bench_comm.py` measures it."""


@pytest.fixture
def nurse(tmp_path: Path) -> Iterator[Nursery]:
    with nursery(tmp_path / "leaders.log") as made:
        yield made


def run(check: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(120):
            await check()

    asyncio.run(limited())


async def listens(nurse: Nursery) -> float:
    return await asyncio.to_thread(nurse.listens)


async def who(comm: Comm) -> int:
    node: int = comm.remote_info["dtf"]["node"]
    return node


def test_connections_follow_the_leader(
    nurse: Nursery, record_property: Callable[[str, object], None]
) -> None:
    """Leaders die one after the other; pools and new clients find the next at once.

    A pool of RPCs that waits for a leader, and a connection, are made within
    milliseconds of its listening, whichever coordinator it is.
    """

    async def check() -> None:
        contact = free_contact()
        leader = nurse.lead(contact, 2)
        await listens(nurse)
        connected, answered = [], []
        async with ConnectionPool() as pool:
            scheduler = pool(str(contact))
            assert (await scheduler.identity())["address"] == str(contact)
            for number in range(FAILOVERS):
                node = (number + 2) % 3 + 1
                (pooled,) = pool.available[str(contact)]
                end(leader)
                while not pooled.closed():
                    await asyncio.sleep(0.001)
                asking = asyncio.create_task(scheduler.identity())
                joining = asyncio.create_task(connect(str(contact), timeout=20))
                # Longer than the head start of the last leader: nobody is favoured.
                await asyncio.sleep(0.1)
                leader = nurse.lead(contact, node, term=number + 2)
                began = asyncio.create_task(listens(nurse))
                comm = await joining
                now = time.monotonic()
                connected.append(now - await began)
                assert await who(comm) == node
                await comm.close()
                assert (await asking)["address"] == str(contact)
                answered.append(time.monotonic() - await began)
        median, worst = statistics.median(connected), max(connected)
        record_property("connected_s_median", median)
        record_property("connected_s_worst", worst)
        print(
            f"connected after {median * 1e3:.1f} ms (median), {worst * 1e3:.1f} (worst)"
            f"; RPC answered after {statistics.median(answered) * 1e3:.1f} ms (median)"
        )
        assert median < CONNECTED_S

    run(check)


def test_a_new_client_follows(nurse: Nursery) -> None:
    """A client that is made while nobody leads waits, and works."""

    async def check() -> None:
        contact = free_contact()
        first = nurse.lead(contact, 1)
        await listens(nurse)
        async with Client(str(contact), asynchronous=True, timeout=60) as client:
            assert client.scheduler_info()["address"] == str(contact)
        end(first)
        task = asyncio.create_task(_address(contact))
        await asyncio.sleep(0.2)
        nurse.lead(contact, 3, term=2)
        assert await task == str(contact)

    async def _address(contact: Contact) -> str:
        async with Client(str(contact), asynchronous=True, timeout=60) as client:
            found: str = client.scheduler_info()["address"]
            return found

    run(check)


def test_a_leader_that_hangs_is_passed_over(nurse: Nursery) -> None:
    """Stopped, its kernel takes connections for it; the next leader is found."""

    async def check() -> None:
        contact = free_contact()
        hung = nurse.lead(contact, 1)
        await listens(nurse)
        comm = await connect(str(contact), timeout=30)
        await comm.close()
        os.kill(hung, signal.SIGSTOP)
        waiting = asyncio.create_task(connect(str(contact), timeout=20))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        nurse.lead(contact, 2, term=2)
        began = asyncio.create_task(listens(nurse))
        comm = await waiting
        took = time.monotonic() - await began
        assert await who(comm) == 2
        assert took < 0.5 * slowness()
        await comm.close()
        # It wakes up, and believes that it still leads.
        os.kill(hung, signal.SIGCONT)
        for _ in range(10):
            comm = await connect(str(contact), timeout=30)
            assert await who(comm) == 2
            await comm.close()

    run(check)


@pytest.mark.parametrize(
    "nanny", [pytest.param("--nanny", marks=pytest.mark.drill), "--no-nanny"]
)
def test_stock_workers_are_started_with_the_address(
    nanny: str, nurse: Nursery, tmp_path: Path
) -> None:
    """``dask worker dtf://...``, before anybody leads; tasks have clients by it."""

    def in_a_task() -> tuple[str, int]:
        client = get_client()
        return client.scheduler.address, client.submit(sum, [2, 3]).result()

    async def check() -> None:
        contact = free_contact()
        log = tmp_path / "worker.log"
        with stock_worker(contact, nanny, log):
            await asyncio.sleep(1)
            nurse.lead(contact, 2)
            async with Client(str(contact), asynchronous=True, timeout=60) as client:
                await client.wait_for_workers(1, timeout=40)
                (name,) = client.scheduler_info(n_workers=-1)["workers"]
                assert name.startswith(f"tcp://{LOOPBACK}:")
                assert await client.submit(sum, [1, 2]) == 3
                assert await client.submit(in_a_task) == (str(contact), 5)
        said = log.read_text()
        assert f"Registered to: {contact!s:>26}" in said
        assert "Traceback" not in said

    run(check)


@contextlib.contextmanager
def stock_worker(contact: Contact, nanny: str, log: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "distributed.cli.dask_worker", str(contact)]
    command += ["--nworkers", "1", "--nthreads", "2", "--no-dashboard", nanny]
    command += ["--host", LOOPBACK, "--local-directory", str(log.parent)]
    with (
        log.open("wb") as file,
        subprocess.Popen(command, stdout=file, stderr=file) as worker,
    ):
        try:
            yield
            worker.send_signal(signal.SIGTERM)
            worker.wait(60)
        finally:
            worker.kill()

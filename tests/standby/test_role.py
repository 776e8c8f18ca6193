"""One coordinator with its ledger, a real worker and a real client, in one loop."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from distributed import Worker
from one_node import WAIT_S, free_port, kill, leading, with_ledger

from dtf_dask import Client, frames
from dtf_dask.ha import scheduler_words as words
from dtf_dask.ha.local_ledger import LocalLedger
from dtf_dask.standby.role import StandbyScheduler


def add(x: int, y: int) -> int:
    return x + y


def test_what_is_asked_is_written_and_then_done(tmp_path: Path) -> None:
    """Results come back; when nobody wants them any more, the journal is empty."""

    async def check(ledger: LocalLedger, port: int) -> None:
        async with (
            leading(ledger, port) as leader,
            Worker(leader.address, nthreads=1, dashboard=False) as _,
            Client(leader.address, asynchronous=True) as client,
        ):
            futures = [client.submit(add, 1, one) for one in range(5)]
            total = client.submit(sum, futures)
            assert await total == 15
            assert leader.records("j/")
            assert leader.records("s/")
            for future in (*futures, total):
                future.release()
            while leader.records("j/"):
                await asyncio.sleep(0.05)
            assert leader.role.scheduler.tasks == {}
            assert leader.ended == []

    with_ledger(tmp_path, check)


def test_a_shadow_that_hears_all_records_again_ends_to_begin_anew() -> None:
    """What it knows may be of before a gap: it says so by its code, as no trouble."""

    async def check() -> None:
        ended: list[str] = []
        left: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        role = StandbyScheduler(ended.append, lambda code, _: left.set_result(code))
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        hears = asyncio.create_task(role.link.run(theirs))
        address = f"127.0.0.1:{free_port()}"
        for frame in (
            words.hello("lab", 1, address, f"dtf://{address}/lab", None, {}),
            words.records(1, [], more=True),
            words.records(1, [("x/a", b"value")], more=False),
            words.records(9, [("x/a", b"other")], more=False),
        ):
            ours.sendall(frames.pack(frame))
        async with asyncio.timeout(WAIT_S):
            assert await left == words.ANEW
        assert role.shadow.records == {"x/a": b"value"}
        assert ended == []
        ours.close()
        await hears
        await role.close()
        await kill(role)

    asyncio.run(check())

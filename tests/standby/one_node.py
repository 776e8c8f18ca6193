"""A node of a ledger in this loop, and its scheduler in this loop as well."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtf_dask.cli.free_ports import free_ports
from dtf_dask.ha import scheduler_words as words
from dtf_dask.ha.ledger.records import Records
from dtf_dask.ha.local_ledger import LocalLedger
from dtf_dask.ha.scheduler_link import SchedulerLink
from dtf_dask.standby.role import StandbyScheduler

WAIT_S = 60.0


def free_port() -> int:
    (port,) = free_ports(1, above=())
    return port


@dataclass
class Leader:
    """One that leads."""

    ledger: LocalLedger
    role: StandbyScheduler
    address: str
    ended: list[str]
    link: SchedulerLink
    """The node's end."""

    def records(self, prefix: str = "") -> dict[str, Any]:
        """What the ledger has of the scheduler, by key."""
        found: Records = self.ledger.node.state.records
        return {
            key: record.value for key, record in found.walk(words.NAMESPACE, prefix)
        }


@asynccontextmanager
async def leading(ledger: LocalLedger, port: int) -> AsyncIterator[Leader]:
    """Have a scheduler lead; at the end it is as if its process was killed."""
    address = f"dtf://127.0.0.1:{port}/lab"
    settled = asyncio.Event()
    ended: list[str] = []
    hello = words.hello("lab", 1, f"127.0.0.1:{port}", address, None, {})
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)

    def heard(frame: dict[str, Any]) -> None:
        if frame["op"] == words.SETTLED:
            settled.set()

    link = SchedulerLink(ledger.node, hello, heard=heard)
    role = StandbyScheduler(ended.append)
    loop = asyncio.get_running_loop()
    parts = [
        loop.create_task(link.serve(ours)),
        loop.create_task(role.link.run(theirs)),
    ]
    waits = loop.create_task(settled.wait())
    try:
        done, _ = await asyncio.wait(
            [*parts, waits], timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED
        )
        assert waits in done, (ended, [one.result() for one in done])
        yield Leader(ledger, role, address, ended, link)
    finally:
        for part in (*parts, waits):
            part.cancel()
        await asyncio.gather(*parts, waits, return_exceptions=True)
        await role.close()
        await kill(role)


async def kill(role: StandbyScheduler) -> None:
    """Leave nothing of a scheduler in this loop, and tell nobody."""
    scheduler = role.scheduler
    for callback in scheduler.periodic_callbacks.values():
        callback.stop()
    scheduler._stop_listeners()
    for comm in list(scheduler._comms):
        comm.abort()
    await scheduler._ongoing_background_tasks.stop()
    await scheduler.rpc.close()
    scheduler.http_server.stop()
    scheduler.monitor.close()


def with_ledger(
    folder: Path, test: Callable[[LocalLedger, int], Awaitable[None]]
) -> None:
    async def limited() -> None:
        async with asyncio.timeout(WAIT_S), LocalLedger(str(folder / "node")) as ledger:
            await test(ledger, free_port())

    asyncio.run(limited())

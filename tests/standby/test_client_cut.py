"""A client whose connection breaks at any point of what the two say to each other."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from distributed import Worker
from one_node import free_port, leading, with_ledger

from dtf_dask import Client
from dtf_dask.ha.local_ledger import LocalLedger

RUNS: Counter[str] = Counter()
PIECES = 7
"""More than are said each way from a submission to its result."""


def counted(name: str, *inputs: object) -> str:
    RUNS[name] += 1
    return name


class Way:
    """Between clients and a coordinator; all breaks after so many pieces in one way."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._left = {"up": -1, "down": -1}
        self._open: set[asyncio.StreamWriter] = set()
        self.cuts = 0

    def cut_after(self, way: str, pieces: int) -> None:
        self._left[way] = pieces

    async def connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            there, here = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, here}
        await asyncio.gather(
            self._pass("up", reader, here), self._pass("down", there, writer)
        )
        for one in (writer, here):
            self._open.discard(one)
            one.transport.abort()

    async def _pass(
        self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(2**16):
                if self._left[way] == 0:
                    self.cuts += 1
                    for one in self._open:
                        one.transport.abort()
                self._left[way] -= 1
                writer.write(piece)
        writer.transport.abort()


@contextlib.asynccontextmanager
async def between(port: int) -> AsyncIterator[tuple[Way, str]]:
    way, own = Way(port), free_port()
    server = await asyncio.start_server(way.connected, "127.0.0.1", own)
    try:
        yield way, f"dtf://127.0.0.1:{own}/lab"
    finally:
        server.close()


@pytest.mark.logs("What is submitted waits")
def test_what_is_asked_is_done_once_wherever_the_connection_breaks(
    tmp_path: Path,
) -> None:
    """A piece is what goes at once: none may be what all depends on."""
    RUNS.clear()

    async def check(ledger: LocalLedger, port: int) -> None:
        async with (
            leading(ledger, port) as leader,
            Worker(leader.address, nthreads=2, dashboard=False),
            between(port) as (way, address),
            Client(address, asynchronous=True) as client,
        ):
            for direction in ("up", "down"):
                for pieces in range(PIECES):
                    name = f"{direction}-{pieces}"
                    way.cut_after(direction, pieces)
                    one = client.submit(counted, name, key=f"one-{name}")
                    after = client.submit(counted, f"{name}-after", one)
                    async with asyncio.timeout(20):
                        assert await one == name
                        assert await after == f"{name}-after"
                    assert RUNS[name] == RUNS[f"{name}-after"] == 1
            assert way.cuts > PIECES
            scheduler = leader.role.scheduler
            del one, after
            async with asyncio.timeout(20):
                while scheduler.tasks:
                    await asyncio.sleep(0.02)

    with_ledger(tmp_path, check)

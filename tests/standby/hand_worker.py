"""Workers made by hand: what they say is said by the test, over real connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from adoption_kit import CLIENT, METRICS, Shadow, inventory, registration
from distributed import Scheduler
from distributed.comm import Comm, CommClosedError, connect
from distributed.core import Server

from dtf_dask.durable.inventory import KEY, Inventory
from dtf_dask.standby.absence import AwayTerms
from dtf_dask.standby.away import Presence
from dtf_dask.standby.lease import LeaseTerms

PATIENCE_S = 30.0
QUIET = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}


class Records:
    """A ledger in memory, of one leader after the other."""

    term = 1

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.operations: list[bytes] = []

    def keep_lazily(self, records: Any) -> None:
        for name, value in records.items():
            if value is None:
                self.kept.pop(name, None)
            else:
                self.kept[name] = value

    def append(self, operation: bytes) -> None:
        self.operations.append(operation)

    def records(self, prefix: str) -> list[tuple[str, bytes]]:
        return [row for row in sorted(self.kept.items()) if row[0].startswith(prefix)]


class HandWorker:
    """A process of a worker, which listens, and whose stream is in the test's hands."""

    def __init__(self, name: str, threads: int = 1) -> None:
        self.name, self.threads = name, threads
        self.server_id = f"id-{name}"
        self.called: list[tuple[str, int]] = []
        self.heard: list[dict[str, Any]] = []
        self.silent = False
        """Whether it does not answer who calls."""
        self.comm: Comm | None = None
        self.answer: dict[str, Any] = {}
        self.old_ids: dict[Any, int] = {}
        self._server = Server({"dtf_leader": self._leader})
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> HandWorker:
        await self._server.listen("tcp://127.0.0.1:0")
        self.address = self._server.address
        return self

    async def _leader(self, address: str, term: int) -> dict[str, str]:
        self.called.append((address, term))
        if self.silent:
            await asyncio.Event().wait()
        return {"status": "OK"}

    async def register(
        self, scheduler: str, brings: Inventory | None = None, **more: Any
    ) -> dict[str, Any]:
        """Register anew, as after a break; the answer."""
        said = registration(
            self.address,
            self.threads,
            name=self.name,
            server_id=self.server_id,
            resolve_address=True,
            extra={KEY: (brings or self.has()).words()},
        )
        self.comm = await connect(scheduler)
        said |= {"op": "register-worker", "reply": False, "pid": 1, **more}
        await self.comm.write(said)
        self.answer = await self.comm.read()
        if self.answer["status"] == "OK":
            self._reading = asyncio.create_task(self._read(self.comm))
        return self.answer

    def has(self, *more: Any, **columns: Any) -> Inventory:
        made = inventory(self.name, *more, **columns)
        return Inventory(
            self.server_id, 1, made.memory, made.running, made.erred, made.actors
        )

    async def _read(self, comm: Comm) -> None:
        with contextlib.suppress(CommClosedError):
            while True:
                said = await comm.read()
                self.heard += said if isinstance(said, list | tuple) else [said]

    async def say(self, op: str, **words: Any) -> None:
        assert self.comm is not None
        await self.comm.write([{"op": op, "stimulus_id": f"{self.name}-{op}", **words}])

    async def finish(self, key: Any, run_id: int) -> None:
        done = {"nbytes": 8, "type": b"", "typename": "int", "metadata": {}}
        await self.say(
            "task-finished",
            key=key,
            run_id=run_id,
            thread=1,
            startstops=[],
            **done,
        )

    def run_ids(self) -> dict[Any, int]:
        """Of what it was sent, the last of each task."""
        return {
            one["key"]: one["run_id"]
            for one in self.heard
            if one["op"] == "compute-task"
        }

    def sent(self) -> list[Any]:
        return [one["key"] for one in self.heard if one["op"] == "compute-task"]

    def freed(self) -> set[Any]:
        found: set[Any] = set()
        for one in self.heard:
            if one["op"] == "free-keys":
                found |= set(one["keys"])
        return found

    async def heartbeat(
        self, scheduler: Scheduler, executing: dict[Any, float], **more: Any
    ) -> dict[str, Any]:
        async with connected_rpc(scheduler) as rpc:
            answer: dict[str, Any] = await rpc.heartbeat_worker(
                address=self.address,
                now=0.0,
                metrics=METRICS,
                executing=executing,
                **{"extensions": {}, **more},
            )
        return answer

    def break_link(self) -> None:
        """The connection breaks; the process goes on."""
        assert self.comm is not None
        self.old_ids = self.run_ids()
        self.comm.abort()

    async def die(self) -> None:
        """The process is gone, with its connections."""
        if self.comm is not None:
            self.comm.abort()
        await self._server.close()

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        await self.die()


@contextlib.asynccontextmanager
async def connected_rpc(scheduler: Scheduler) -> AsyncIterator[Any]:
    from distributed.core import rpc

    async with rpc(scheduler.address) as connected:
        yield connected


@contextlib.asynccontextmanager
async def coordinator(
    grace_s: float = PATIENCE_S,
    after_s: float = 60.0,
    lease_s: float = 60.0,
    takeover_s: float = PATIENCE_S,
) -> AsyncIterator[tuple[Shadow, Presence]]:
    """A scheduler that listens, and schedules nothing yet."""
    terms = AwayTerms(grace_s, LeaseTerms(after_s, lease_s), takeover_s)
    scheduler = Scheduler(host="127.0.0.1", port=0, validate=True, **QUIET)
    presence = Presence(scheduler, terms)
    presence.begin()
    async with scheduler:
        one = Shadow(scheduler)
        yield one, presence
        scheduler.client_comms.pop(CLIENT)
        scheduler.clients.pop(CLIENT, None)
        await presence.close()


async def until(holds: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(patience_s):
        while not holds():
            await asyncio.sleep(0.005)

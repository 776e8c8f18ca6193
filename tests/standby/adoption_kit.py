"""A real scheduler, with workers that are nothing but their inventories."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from typing import Any
from unittest import mock

import msgpack
from dask._task_spec import Task, TaskRef
from distributed import Scheduler
from distributed.core import Status
from distributed.protocol.serialize import serialize
from distributed.scheduler import ClientState

from dtf_dask.durable.inventory import Erred, Held, Inventory, Running

CLIENT = "client-of-the-test"
METRICS: dict[str, Any] = {
    "bandwidth": {"total": 100e6, "workers": {}, "types": {}},
    "digests_total_since_heartbeat": {},
    "memory": 0,
    "spilled_bytes": {"memory": 0, "disk": 0},
}


class Sent:
    """In place of a `BatchedSend`: keeps what is sent."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.buffer: list[Any] = []
        self.comm = None

    def send(self, *messages: dict[str, Any]) -> None:
        self.messages += messages

    def closed(self) -> bool:
        return False

    def abort(self) -> None:
        """Nothing is there."""

    async def close(self, timeout: float | None = None) -> None:
        """Nothing is there."""

    def said(self, op: str) -> list[dict[str, Any]]:
        return [one for one in self.messages if one["op"] == op]

    def keys(self, op: str) -> set[Any]:
        found = set()
        for one in self.said(op):
            found |= {one["key"]} if "key" in one else set(one["keys"])
        return found


class SilentComm:
    """What a worker registers on, if it says nothing."""

    name = ""

    async def write(self, message: object) -> None:
        """It is not heard."""


class Shadow:
    """A scheduler that knows tasks, and schedules nothing until it is told to."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.quiet = True
        self.streams: dict[str, Sent] = {}
        self.to_client = Sent()
        scheduler.status = Status.running
        scheduler.clients[CLIENT] = ClientState(CLIENT)
        scheduler.client_comms[CLIENT] = self.to_client  # type: ignore[assignment]
        table = dict(scheduler._TRANSITIONS_TABLE)
        was = table["released", "waiting"]

        def waiting(*args: Any) -> Any:
            return ({}, {}, {}) if self.quiet else was(*args)

        table["released", "waiting"] = waiting
        scheduler._TRANSITIONS_TABLE = table  # type: ignore[misc]

    def schedule(self) -> None:
        self.quiet = False

    def submit(
        self, graph: dict[Any, Iterable[Any]], wanted: Iterable[Any], **more: Any
    ) -> None:
        """Tasks by what they need, in the order in which they had better run."""
        self.scheduler._create_taskstate_from_graph(
            start=0.0,
            dsk={
                key: Task(key, _nothing, *map(TaskRef, needs))
                for key, needs in graph.items()
            },
            keys=set(wanted),
            ordered={key: number for number, key in enumerate(graph)},
            client=CLIENT,
            annotations_by_type=more.pop("annotations", {}),
            global_annotations=None,
            stimulus_id="submitted",
            submitting_task=None,
            span_metadata={"collections": []},
            **more,
        )

    async def join(self, address: str, threads: int = 1, **more: Any) -> Sent:
        """A worker registers."""
        scheduler = self.scheduler

        async def opened(comm: Any, worker: str) -> None:
            """Its messages are read by nobody."""

        scheduler.handle_worker = opened  # type: ignore[method-assign]
        await scheduler.add_worker(
            SilentComm(),  # type: ignore[arg-type]
            **registration(address, threads, **more),
        )
        self.streams[address] = stream = Sent()
        scheduler.stream_comms[address] = stream  # type: ignore[assignment]
        return stream

    def states(self) -> dict[Any, str]:
        return {key: ts.state for key, ts in self.scheduler.tasks.items()}

    def sent(self, op: str) -> dict[str, set[Any]]:
        return {
            address: stream.keys(op)
            for address, stream in self.streams.items()
            if stream.said(op)
        }


def registration(address: str, threads: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "address": address,
        "status": "running",
        "server_id": f"id-{address}",
        "nthreads": threads,
        "name": address,
        "resolve_address": False,
        "now": 0.0,
        "resources": {},
        "memory_limit": 2**30,
        "metrics": METRICS,
        "services": {},
        "local_directory": "",
        "versions": {},
        "nanny": "",
        "extra": {},
        "stimulus_id": f"join-{address}",
        **more,
    }


def shadow(**more: Any) -> Shadow:
    options = {"dashboard": False, "port": 0, "validate": True, **more}
    with mock.patch.object(Scheduler, "start_http_server"):  # it would listen at once
        return Shadow(Scheduler(**options))


async def paused() -> None:
    await asyncio.sleep(0)


def _nothing(*inputs: Any) -> None:
    """It is never called."""


def packed_error(error: BaseException) -> bytes:
    header, frames = serialize(error)
    packed: bytes = msgpack.packb((header, [bytes(frame) for frame in frames]))
    return packed


def erred(key: Any, run_id: int = 1, error: BaseException | None = None) -> Erred:
    packed = packed_error(error or ValueError("no"))
    return Erred(key, run_id, packed, b"", "ValueError('no')", "")


def held(key: Any, run_id: int = 1, nbytes: int = 8) -> Held:
    return Held(key, nbytes, "int", run_id)


def running(key: Any, run_id: int = 1, for_s: float = 1.0, **more: Any) -> Running:
    return Running(key, run_id, for_s, more.pop("seceded", False), **more)


def inventory(
    address: str,
    memory: Iterable[Held] = (),
    run: Iterable[Running] = (),
    failed: Iterable[Erred] = (),
    **more: Any,
) -> Inventory:
    return Inventory(
        f"id-{address}", 1, tuple(memory), tuple(run), tuple(failed), **more
    )


def random_graph(chance: random.Random, tasks: int) -> dict[str, list[str]]:
    """Each task needs some of those before it."""
    keys = [f"{chance.choice('abc')}-{number}" for number in range(tasks)]
    return {
        key: sorted(chance.sample(keys[:at], min(at, chance.choice((0, 0, 1, 2, 3)))))
        for at, key in enumerate(keys)
    }

"""What ``dtf://`` costs beside ``tcp://``, and how fast it finds the next leader.

    python benchmarks/bench_comm.py [--quick] [--json]

A server of Dask in a process of its own listens by both; connections, small messages
and large ones are timed in turns, one of each, so that the machine's other work falls
on both alike. The address of ``dtf://`` names three coordinators, of which the second
leads. Failover: schedulers wait in processes, and each begins to listen when the one
before it was killed, at another address; the time is that from its listening to a
connection that was being looked for since the kill.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import logging
import os
import platform
import signal
import socket
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dask
from distributed import Scheduler
from distributed.comm import Comm, connect, listen
from distributed.protocol import to_serialize

from dtf_dask.comm.address import Contact, parse_contact
from dtf_dask.comm.backend import announce
from dtf_dask.comm.greeting import Greeting
from dtf_dask.ha.handshake import NodeName
from dtf_dask.ha.raft.messages import NodeId

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Size:
    """How often."""

    connections: int
    messages: int
    large: int
    kills: int


FULL = Size(2_000, 5_000, 30, 50)
QUICK = Size(300, 1_000, 8, 20)
LARGE_BYTES = 32 * 2**20


class Child:
    """A forked process that does something when it is told to, and says when."""

    def __init__(self, does: Callable[[Callable[[Any], None]], None]) -> None:
        told, self._tell = os.pipe()
        self._hear, says = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._tell)
            if os.read(told, 1):
                does(lambda words: os.write(says, json.dumps(words).encode() + b"\n"))
            os._exit(0)
        os.close(told)
        os.close(says)

    def begin(self) -> None:
        os.write(self._tell, b"x")

    def said(self) -> Any:
        with os.fdopen(os.dup(self._hear)) as file:
            return json.loads(file.readline())

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def free_contact(count: int) -> Contact:
    made = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in made]
    for one in made:
        one.close()
    return parse_contact(",".join(f"{HOST}:{port}" for port in ports))


def as_leader(contact: Contact, node: int, term: int) -> None:
    name = NodeName("bench", NodeId(node))
    announce(str(contact.coordinators[node - 1]), contact, Greeting(name, term))


def serve(contact: Contact, plain: str) -> Callable[[Callable[[Any], None]], None]:
    """A server that sends back what it gets, by both schemes."""

    async def echo(comm: Comm) -> None:
        try:
            while True:
                await comm.write(to_serialize(await comm.read()))
        except OSError:
            comm.abort()

    async def forever(says: Callable[[Any], None]) -> None:
        as_leader(contact, 2, 1)
        async with (
            listen(f"dtf://{contact.coordinators[1]}", echo, deserialize=False),
            listen(plain, echo, deserialize=False),
        ):
            says("listens")
            await asyncio.Event().wait()

    return lambda says: asyncio.run(forever(says))


def lead(
    contact: Contact, node: int, term: int
) -> Callable[[Callable[[Any], None]], None]:
    """A scheduler that leads."""

    class Timed(Scheduler):
        async def listen(self, *args: Any, **kwargs: Any) -> None:
            await super().listen(*args, **kwargs)
            says(time.monotonic())

    says: Callable[[Any], None]

    async def forever() -> None:
        own = contact.coordinators[node - 1]
        as_leader(contact, node, term)
        async with Timed(
            host=own.host,
            port=own.port,
            protocol="dtf",
            dashboard=False,
            dashboard_address=f"{HOST}:0",
        ) as scheduler:
            await scheduler.finished()

    def does(tells: Callable[[Any], None]) -> None:
        nonlocal says
        says = tells
        asyncio.run(forever())

    return does


async def connections(addresses: dict[str, str], count: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in addresses}
    for _ in range(count):
        for name, address in addresses.items():
            began = time.perf_counter()
            comm = await connect(address, timeout=10)
            found[name].append(time.perf_counter() - began)
            comm.abort()
    return found


async def messages(
    addresses: dict[str, str], count: int, content: Any
) -> dict[str, list[float]]:
    """Round trips of a message, in turns over a connection of each scheme."""
    comms = {name: await connect(one, timeout=10) for name, one in addresses.items()}
    found: dict[str, list[float]] = {name: [] for name in addresses}
    for _ in range(count):
        for name, comm in comms.items():
            began = time.perf_counter()
            await comm.write(content)
            await comm.read()
            found[name].append(time.perf_counter() - began)
    for comm in comms.values():
        await comm.close()
    return found


def compared(found: dict[str, list[float]]) -> dict[str, float]:
    plain, ours = (statistics.median(found[name]) for name in ("tcp", "dtf"))
    return {
        "tcp_us": round(plain * 1e6, 1),
        "dtf_us": round(ours * 1e6, 1),
        "ratio": round(ours / plain, 3),
    }


async def costs(contact: Contact, plain: str, size: Size) -> dict[str, Any]:
    addresses = {"tcp": plain, "dtf": str(contact)}
    await connections(addresses, 20)
    large = to_serialize(memoryview(os.urandom(LARGE_BYTES)))
    return {
        "connect": compared(await connections(addresses, size.connections)),
        "message": compared(await messages(addresses, size.messages, {"op": "x"})),
        "large_message": compared(await messages(addresses, size.large, large)),
    }


async def failovers(contact: Contact, leaders: list[Child]) -> list[float]:
    """From each leader's listening to the connection that was looked for."""
    found = []
    leaders[0].begin()
    await asyncio.to_thread(leaders[0].said)
    comm = await connect(str(contact), timeout=20)
    for before, leader in itertools.pairwise(leaders):
        before.kill()
        comm.abort()
        looking = asyncio.create_task(connect(str(contact), timeout=20))
        await asyncio.sleep(0.1)
        leader.begin()
        comm = await looking
        now = time.monotonic()
        found.append(now - await asyncio.to_thread(leader.said))
    comm.abort()
    leaders[-1].kill()
    return found


def main() -> None:
    """Measure, and print one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true", help="nothing but the object")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    logging.getLogger("distributed").setLevel(logging.ERROR)
    dask.config.set({"distributed.admin.system-monitor.gil.enabled": False})
    contact, plain = free_contact(3), f"tcp://{free_contact(1).coordinators[0]}"
    dying = free_contact(3)
    # Forked before there is any loop or thread.
    server = Child(serve(contact, plain))
    leaders = [
        Child(lead(dying, number % 3 + 1, number + 1))
        for number in range(size.kills + 1)
    ]
    server.begin()
    server.said()
    found = asyncio.run(costs(contact, plain, size))
    server.kill()
    times = asyncio.run(failovers(dying, leaders))
    found["connected_after_listening"] = {
        "median_ms": round(statistics.median(times) * 1e3, 1),
        "worst_ms": round(max(times) * 1e3, 1),
        "failovers": len(times),
    }
    found["machine"] = {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "system": platform.system(),
    }
    if not options.json:
        for name, value in found.items():
            print(f"{name:28} {value}", file=sys.stderr)
    print(json.dumps(found))


if __name__ == "__main__":
    main()

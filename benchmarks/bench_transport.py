"""What messages between two nodes cost: two processes, mutual TLS 1.3, loopback.

    python benchmarks/bench_transport.py [--quick] [--json]

Appends of 100 entries of 200 bytes, each answered, 64 on their way; small messages,
each answered, 1,000 on their way; and a content of 50 MB with heartbeats beside it. CPU
is of the whole process, one on each side.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from distributed import Security

from dtf_dask.ha.blobs import BlobStore
from dtf_dask.ha.handshake import NodeName
from dtf_dask.ha.raft.messages import Entry, EntryKind, Message, MessageKind, NodeId
from dtf_dask.ha.transport import Transport

ONE, TWO = NodeId(1), NodeId(2)
ENTRIES, PAYLOAD_BYTES = 100, 200
_POOL = 256  # of different appends, so that none is found encoded already


class Side:
    """One of the two nodes."""

    def __init__(self, node: NodeId, folder: Path) -> None:
        self.blobs = BlobStore(str(folder / f"blobs{node}"))
        keys = json.loads((folder / f"security{node}.json").read_text())
        self.transport = Transport(
            NodeName("bench", node),
            Security(require_encryption=True, **keys),
            self,
            self.blobs,
        )
        self.connected = asyncio.Event()
        self.taker = self._answer

    def _answer(self, messages: list[Message]) -> None:
        self.transport.send(
            Message(
                *(MessageKind.APPEND_RESPONSE, message.sender, message.to, 1),
                log_index=message.entries[-1].index if message.entries else 0,
                context=message.context,
            )
            for message in messages
        )

    def received(self, messages: list[Message]) -> None:
        self.taker(messages)

    def peer_connected(self, peer: NodeId) -> None:
        self.connected.set()

    def peer_lost(self, peer: NodeId, reason: str) -> None:
        pass

    def unreachable(self, peer: NodeId) -> None:
        raise SystemExit("a message was dropped: the figures would be of no use")

    def refused(self, address: str, reason: str) -> None:
        raise SystemExit(f"refused: {reason}")


async def answer(folder: Path) -> None:
    """The other process: answer, say how much CPU it took, end with its input."""
    side = Side(TWO, folder)
    _, port = await side.transport.listen("127.0.0.1", 0)
    print(port, flush=True)
    loop = asyncio.get_running_loop()
    while line := (await loop.run_in_executor(None, sys.stdin.readline)).split():
        if line[0] == "peer":
            side.transport.set_peers({ONE: [("127.0.0.1", int(line[1]))]})
            await side.connected.wait()
        elif line[0] == "fetch":
            size = int(line[2])
            await side.transport.fetch(bytes.fromhex(line[1]), size, [ONE])
        print(time.process_time(), flush=True)
    await side.transport.close()


class Other:
    """The other process, from here."""

    def __init__(self, folder: Path) -> None:
        self._child = subprocess.Popen(
            [sys.executable, __file__, "--answer", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._in, self._out = self._child.stdin, self._child.stdout
        self.port = int(self._out.readline())

    async def do(self, line: str) -> float:
        """Have it do something; how much CPU it has used by then."""
        return float(await asyncio.to_thread(self._ask, line))

    def end(self) -> None:
        self._in.close()
        self._child.wait(10)

    def _ask(self, line: str) -> str:
        self._in.write(line + "\n")
        self._in.flush()
        return self._out.readline()


def _run(first: int) -> list[Entry]:
    payload = os.urandom(PAYLOAD_BYTES)
    indexes = range(first, first + ENTRIES)
    return [Entry(1, index, EntryKind.NORMAL, payload) for index in indexes]


async def exchange(
    side: Side, other: Other, count: int, ahead: int, kind: MessageKind
) -> dict[str, float]:
    """Messages that are answered, some of them ahead of the answer."""
    pool = [_run(number * ENTRIES + 1) for number in range(_POOL)]
    if kind is not MessageKind.APPEND:
        pool = [[] for _ in range(_POOL)]
    sent = answered = 0
    done = asyncio.Event()

    def message() -> Message:
        nonlocal sent
        sent += 1
        entries = pool[sent % _POOL]
        return Message(kind, TWO, ONE, 1, entries=entries, context=sent)

    def take(messages: list[Message]) -> None:
        nonlocal answered
        answered += len(messages)
        more = min(len(messages), count - sent)
        side.transport.send([message() for _ in range(more)])
        if answered == count:
            done.set()

    side.taker = take
    there = await other.do("cpu")
    here, began = time.process_time(), time.perf_counter()
    side.transport.send([message() for _ in range(ahead)])
    await done.wait()
    wall, here = time.perf_counter() - began, time.process_time() - here
    there = await other.do("cpu") - there
    return {
        "messages_per_s": round(count / wall),
        "cpu_us_sender": round(here / count * 1e6, 1),
        "cpu_us_receiver": round(there / count * 1e6, 1),
    }


async def content(side: Side, other: Other, size: int) -> dict[str, float]:
    """A content, and how long heartbeats took meanwhile."""
    whole = os.urandom(size)
    side.blobs.put([whole])
    arrived = asyncio.Event()
    side.taker = lambda _: arrived.set()
    digest = hashlib.sha256(whole).hexdigest()
    began = time.perf_counter()
    fetching = asyncio.ensure_future(other.do(f"fetch {digest} {size}"))
    waits = []
    while not fetching.done():
        arrived.clear()
        asked = time.perf_counter()
        side.transport.send([Message(MessageKind.HEARTBEAT, TWO, ONE, 1)])
        await arrived.wait()
        waits.append(time.perf_counter() - asked)
        await asyncio.sleep(0.002)
    wall = time.perf_counter() - began
    waits.sort()
    return {
        "mb": size / 1e6,
        "seconds": round(wall, 2),
        "heartbeat_ms_p50": round(waits[len(waits) // 2] * 1e3, 2),
        "heartbeat_ms_p99": round(waits[int(len(waits) * 0.99)] * 1e3, 2),
        "heartbeat_ms_max": round(waits[-1] * 1e3, 2),
    }


async def measure(folder: Path, appends: int, small: int) -> dict[str, Any]:
    """All figures."""
    other = Other(folder)
    side = Side(ONE, folder)
    _, port = await side.transport.listen("127.0.0.1", 0)
    side.transport.set_peers({TWO: [("127.0.0.1", other.port)]})
    await side.connected.wait()
    await other.do(f"peer {port}")
    figures = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores,"
        f" Python {platform.python_version()}",
        "append_100x200B": await exchange(side, other, appends, 64, MessageKind.APPEND),
        "small": await exchange(side, other, small, 1_000, MessageKind.HEARTBEAT),
        "content": await content(side, other, 50_000_000),
    }
    await side.transport.close()
    other.end()
    return figures


def write_keys(folder: Path) -> None:
    """Certificates for both, by the authority of the tests."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "ha"))
    from certificates import Authority

    authority = Authority()
    for node in (ONE, TWO):
        security = authority.node(node, "bench")
        names = ("tls_ca_file", "tls_scheduler_cert", "tls_scheduler_key")
        keys = {name: getattr(security, name) for name in names}
        (folder / f"security{node}.json").write_text(json.dumps(keys))


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.answer:
        asyncio.run(answer(given.answer))
        return
    counts = (2_000, 50_000) if given.quick else (10_000, 300_000)
    with tempfile.TemporaryDirectory() as folder:
        write_keys(Path(folder))
        figures = asyncio.run(measure(Path(folder), *counts))
    if given.json:
        print(json.dumps(figures))
        return
    for name, one in figures.items():
        print(f"{name}: {one}")


if __name__ == "__main__":
    main()

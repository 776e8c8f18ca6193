"""etcd on this machine as what the ledger is compared with, by the same loads.

Debian's `etcd-server`, with fsync and mutual TLS; its client is gRPC's own for Python
(`grpcio`), on asyncio, with the few messages that it takes packed here.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
from ledger_cluster import free_ports
from ledger_loads import TIMEOUT_S, VALUE

from dtf_dask.security.authority import Authority

_KV = "/etcdserverpb.KV/"
_KEYS = 1_000
_START_S = 30.0
_RETRY_S = 0.5


def why_not() -> str:
    """Why etcd cannot be measured here; empty if it can."""
    if shutil.which("etcd") is None:
        return "there is no etcd: apt-get install etcd-server"
    try:
        import grpc  # noqa: F401
    except ImportError:
        return "there is no client for etcd: pip install grpcio"
    return ""


def _field(number: int, value: bytes) -> bytes:
    """A field of bytes as protobuf has it; the tag is one byte up to number 15."""
    size, length = len(value), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    length.append(size)
    return bytes((number << 3 | 2,)) + bytes(length) + value


def _key(at: int) -> bytes:
    return b"bench/key%d" % (at % _KEYS)


@dataclass(frozen=True, slots=True)
class EtcdTarget:
    """A cluster of etcd."""

    ports: tuple[int, ...]
    authority: bytes
    certificate: bytes
    key: bytes

    def channels(self) -> list[Any]:
        """A connection to each node."""
        import grpc

        credentials = grpc.ssl_channel_credentials(
            self.authority, self.key, self.certificate
        )
        return [
            grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials)
            for port in self.ports
        ]

    async def session(self) -> EtcdSession:
        """Connect."""
        return EtcdSession(self)


class EtcdSession:
    """See `ledger_loads.Session`."""

    def __init__(self, target: EtcdTarget) -> None:
        self._channels = target.channels()
        self._puts = [one.unary_unary(_KV + "Put") for one in self._channels]
        self._ranges = [one.unary_unary(_KV + "Range") for one in self._channels]
        self._value = _field(2, VALUE)

    async def write(self, at: int) -> None:
        """See `ledger_loads.Session`."""
        await self.write_by(0, at, TIMEOUT_S)

    async def write_by(self, node: int, at: int, timeout_s: float) -> None:
        """Write, by one node."""
        await self._puts[node](_field(1, _key(at)) + self._value, timeout=timeout_s)

    async def read(self, at: int) -> None:
        """See `ledger_loads.Session`."""
        import grpc

        answer = b""
        while VALUE not in answer:
            node = self._ranges[at % len(self._ranges)]
            try:
                answer = await node(_field(1, _key(at)), timeout=TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                # Under load it elects anew, and says so of what it did not answer.
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise

    async def close(self) -> None:
        """See `ledger_loads.Session`."""
        for channel in self._channels:
            await channel.close()


class Etcd:
    """Nodes of etcd, each a process, the first of which leads as a rule."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        authority = Authority(folder / "authority")
        authority.create("etcd")
        files = authority.issue(
            "dtf://etcd/node/1", folder / "tls", ("localhost", "127.0.0.1")
        )
        ports = free_ports(3 * count)
        self._clients, self._peers = ports[:count], ports[count : 2 * count]
        self._metrics = ports[2 * count :]
        self._tls = (str(files.authority), str(files.certificate), str(files.key))
        self.target = EtcdTarget(
            tuple(self._clients),
            files.authority.read_bytes(),
            files.certificate.read_bytes(),
            files.key.read_bytes(),
        )
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def processes(self) -> list[psutil.Process]:
        """Those of the nodes."""
        return [psutil.Process(one.pid) for one in self._running]

    def start(self) -> None:
        """Start all nodes."""
        self._running = [self._started(at) for at in range(len(self._clients))]

    def _started(self, at: int) -> subprocess.Popen[bytes]:
        authority, certificate, key = self._tls
        peers = [f"n{n}=https://127.0.0.1:{port}" for n, port in enumerate(self._peers)]
        client, peer = (
            f"https://127.0.0.1:{ports[at]}" for ports in (self._clients, self._peers)
        )
        words = {
            "name": f"n{at}",
            "data-dir": str(self._folder / f"n{at}"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": ",".join(peers),
            "cert-file": certificate,
            "key-file": key,
            "trusted-ca-file": authority,
            "client-cert-auth": "true",
            "peer-cert-file": certificate,
            "peer-key-file": key,
            "peer-trusted-ca-file": authority,
            "peer-client-cert-auth": "true",
            "listen-metrics-urls": f"http://127.0.0.1:{self._metrics[at]}",
            "log-level": "error",
        }
        with (self._folder / f"n{at}.log").open("ab") as log:
            return subprocess.Popen(
                ["etcd", *(f"--{name}={value}" for name, value in words.items())],
                stdout=log,
                stderr=log,
            )

    async def leader(self) -> int:
        """Which node leads: its place."""
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            for at, port in enumerate(self._metrics):
                try:
                    text = await asyncio.to_thread(_read, port)
                except OSError:
                    continue
                if b"\netcd_server_is_leader 1\n" in text:
                    return at
            await asyncio.sleep(0.05)
        raise RuntimeError(f"no etcd leads: see {self._folder}")

    async def failovers(self, count: int) -> list[float]:
        """Seconds without a write, for so many kills of the leader."""
        lost: list[float] = []
        session = EtcdSession(self.target)
        for turn in range(count):
            at = await self.leader()
            await session.write_by(at, turn, TIMEOUT_S)
            since = time.perf_counter()
            self._running[at].send_signal(signal.SIGKILL)
            await self._written(session, at + 1, turn)
            lost.append(time.perf_counter() - since)
            self._running[at].wait()
            self._running[at] = self._started(at)
            await asyncio.sleep(2.0)  # it is there again
        await session.close()
        return lost

    async def _written(self, session: EtcdSession, node: int, turn: int) -> None:
        import grpc

        while True:
            try:
                await session.write_by(node % len(self._clients), turn, _RETRY_S)
                return
            except grpc.aio.AioRpcError:
                node += 1
                await asyncio.sleep(0.02)

    def stop(self) -> None:
        """End all nodes."""
        for one in self._running:
            one.terminate()
        for one in self._running:
            one.wait()


def _read(port: int) -> bytes:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2.0) as answer:
        found: bytes = answer.read()
        return found


@asynccontextmanager
async def etcd(count: int) -> AsyncIterator[Etcd]:
    """Nodes that run, and end with the block."""
    with tempfile.TemporaryDirectory(prefix="dtf-etcd-") as folder:
        made = Etcd(Path(folder), count)
        made.start()
        try:
            await made.leader()
            session = EtcdSession(made.target)
            await asyncio.gather(*map(session.write, range(_KEYS)))
            await session.close()
            yield made
        finally:
            made.stop()

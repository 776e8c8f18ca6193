"""Schedulers that lead a cluster: here, or each in a process that may be killed.

Run as a program it is the nursery: it has imported everything, and forks a scheduler
for each line that it reads, so that a standby begins to listen within milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import dask
from distributed import Scheduler, Security
from free_contact import LOOPBACK

from dtf_dask.comm.address import Contact, parse_contact
from dtf_dask.comm.backend import announce
from dtf_dask.comm.greeting import Greeting
from dtf_dask.ha.handshake import NodeName
from dtf_dask.ha.raft.messages import NodeId

QUIET: dict[str, Any] = {"dashboard": False, "dashboard_address": f"{LOOPBACK}:0"}
_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def greeting(node: int = 1, cluster: str = "lab", term: int = 1) -> Greeting:
    return Greeting(NodeName(cluster, NodeId(node)), term)


@contextlib.asynccontextmanager
async def leading(
    contact: Contact, node: int, security: Security | None = None, **who: Any
) -> AsyncIterator[Scheduler]:
    """A scheduler in this process that leads as a coordinator: they count from 1."""
    own = contact.coordinators[node - 1]
    announce(str(own), contact, greeting(node, **who))
    async with Scheduler(
        host=own.host, port=own.port, protocol="dtf", security=security, **QUIET
    ) as scheduler:
        yield scheduler


class _Stamped(Scheduler):
    """Says on stdout when it begins to listen."""

    async def listen(self, *args: Any, **kwargs: Any) -> None:
        await super().listen(*args, **kwargs)
        print(json.dumps({"pid": os.getpid(), "listens": time.monotonic()}), flush=True)


class Nursery:
    """Starts schedulers in processes that are ready to listen at once."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("wb")
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert self._said() == {"ready": True}
        self.pids: list[int] = []

    def lead(self, contact: Contact, node: int, **who: Any) -> int:
        """Have a scheduler begin to lead; returns its process id at once."""
        self._say({"contact": str(contact), "node": node, **who})
        pid = int(self._said()["forked"])
        self.pids.append(pid)
        return pid

    def listens(self) -> float:
        """When the scheduler began to listen that was started last (monotonic)."""
        return float(self._said()["listens"])

    def close(self) -> None:
        for pid in self.pids:
            end(pid)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()

    def _say(self, words: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()

    def _said(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found


@contextlib.contextmanager
def nursery(log: Path) -> Iterator[Nursery]:
    made = Nursery(log)
    try:
        yield made
    finally:
        made.close()


def end(pid: int) -> None:
    """Kill a process that may be gone, or stopped."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody has to reap
    print(json.dumps({"ready": True}), flush=True)
    while line := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)
            asyncio.run(_lead(json.loads(line)))
            os._exit(0)
        print(json.dumps({"forked": pid}), flush=True)


async def _lead(words: dict[str, Any]) -> None:
    contact = parse_contact(words.pop("contact"))
    own = contact.coordinators[words["node"] - 1]
    announce(str(own), contact, greeting(**words))
    async with _Stamped(host=own.host, port=own.port, protocol="dtf", **QUIET) as it:
        await it.finished()


if __name__ == "__main__":
    dask.config.set({"distributed.admin.system-monitor.gil.enabled": False})
    _main()

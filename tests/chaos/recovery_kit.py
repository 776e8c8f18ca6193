"""A cluster for drills: coordinators that can be parted, with clients on either side.

Coordinators reach each other by proxies, and so does who is on an `island`. What is in
the way of whom is set in `Drill.net`; `dtf status` reaches all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

_CHAOS = Path(__file__).parent
_TASKS = _CHAOS.parent / "survival"
for _path in (_CHAOS, _TASKS, _CHAOS.parents[1] / "benchmarks"):
    if str(_path) not in sys.path:
        sys.path.append(str(_path))

import survival_tasks as tasks  # noqa: E402, F401
from chaos.group import _own_hosts  # noqa: E402
from chaos.proxies import Net, Proxy, owner_of_port  # noqa: E402
from click.testing import CliRunner  # noqa: E402
from failover_cluster import Coordinator, FailoverCluster  # noqa: E402

import dtf_dask  # noqa: E402
from dtf_dask.cli.main import dtf  # noqa: E402
from dtf_dask.ha.coordinators import CLIENTS_ABOVE, PEERS_ABOVE  # noqa: E402

ISLAND = "island"
"""Where clients are that can be parted from coordinators."""
CRASHES = "crashes"
"""A file in the cluster's folder: while it is there, no scheduler lives."""
WAIT_S = 90.0
PORTS = (20_000, 20_010, 20_020)


class Drill:
    """The cluster, and what drills do with it.

    Parameters
    ----------
    folder
        For all that it keeps; tasks share it with the test.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.net = Net()
        self.said, self._real = _own_hosts()
        self.island = self.said.replace("127.78", "127.79")
        here = os.pathsep.join([str(_CHAOS), str(_TASKS)])
        hook = str(_CHAOS / "node_hook")
        self.cluster = FailoverCluster(
            folder,
            tls=False,
            environment={"PYTHONPATH": here},
            coordinators_environment={
                "PYTHONPATH": os.pathsep.join([hook, here]),
                "DTF_CHAOS_HOSTS": f"{self.said} {self._real}",
                "DTF_DRILL": str(folder),
            },
            host=self.said,
            ports=PORTS,
            asked_at=self._real,
            preload=["recovery_preload"],
        )
        self._proxies: list[Proxy] = []

    @contextlib.asynccontextmanager
    async def running(self, workers: int) -> AsyncIterator[Drill]:
        """With so many workers, of two threads each."""
        for node, port in zip(self.cluster.coordinators, PORTS, strict=True):
            for above, who in (
                (PEERS_ABOVE, self._node_at),
                (CLIENTS_ABOVE, lambda _: "status"),
            ):
                proxy = Proxy(self.net, node, (self._real, port + above), who)
                await proxy.start((self.said, port + above))
                self._proxies.append(proxy)
            proxy = Proxy(self.net, node, (self.said, port), lambda _: ISLAND)
            await proxy.start((self.island, port))
            self._proxies.append(proxy)
        try:
            async with self.cluster:
                for number in range(workers):
                    self.cluster.start_worker(f"w{number}", 2)
                yield self
        finally:
            for proxy in self._proxies:
                await proxy.close()

    def _node_at(self, port: int) -> int | None:
        pids = {
            one.process.pid: node
            for node, one in self.cluster.coordinators.items()
            if one.process is not None
        }
        found = owner_of_port(port, pids)
        return found if isinstance(found, int) else None

    @contextlib.asynccontextmanager
    async def client(self, *, on_island: bool = False) -> AsyncIterator[Any]:
        """One that workers have come for."""
        contact = self.cluster.contact
        if on_island:
            contact = contact.replace(self.said, self.island)
        async with dtf_dask.Client(
            contact, asynchronous=True, timeout=WAIT_S, set_as_default=False
        ) as client:
            await client.wait_for_workers(len(self.cluster.workers), timeout=WAIT_S)
            yield client

    def part(self, minority: set[Any]) -> None:
        """Let nothing pass between these and all other coordinators, as by a network
        that loses it."""
        others = [node for node in self.cluster.coordinators if node not in minority]
        for one in minority:
            for other in others:
                self.net.way(one, other).disturb(held=True)
                self.net.way(other, one).disturb(held=True)

    async def status(self, of: Coordinator) -> str:
        """What `dtf status` shows, asked at a coordinator's folder."""
        done = await self._command("status", of.config.folder)
        return str(done.output)

    async def until_said(self, of: Coordinator, words: str) -> str:
        """Wait until `dtf status` shows some words."""
        while words not in (shown := await self.status(of)):
            await asyncio.sleep(0.1)
        return shown

    async def said_by(self, *words: object) -> str:
        """What a command of dtf prints, which has to do what it was told."""
        done = await self._command(*words)
        assert done.exit_code == 0, (done.output, done.exception)
        return str(done.output)

    async def _command(self, *words: object) -> Any:
        runner = CliRunner(env={"COLUMNS": "200"})
        return await asyncio.to_thread(runner.invoke, dtf, [str(one) for one in words])

    def runs(self, name: str) -> int:
        """How often a task was begun."""
        file = self.folder / f"{name}.runs"
        return len(file.read_text().splitlines()) if file.exists() else 0

    async def begun(self, name: str, times: int = 1) -> None:
        """Wait until a task was begun so often."""
        while self.runs(name) < times:
            await asyncio.sleep(0.02)

    def open(self, name: str) -> None:
        """Let gated tasks go on."""
        (self.folder / f"{name}.open").touch()

"""What is done to coordinators and workers, and that all is well again afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import psutil
from chaos.proxies import Net
from failover_cluster import Coordinator, FailoverCluster

from failover import tasks
from failover.ledger import Ledger

KINDS = (
    *("kill", "kill-scheduler", "kill-node", "stop", "hang", "part", "twice"),
    *("transfer", "kill-worker"),
)
"""The leader is killed; only one of its processes is; it is stopped; its scheduler is;
it is parted from the other coordinators; it is killed, and so is who takes over; it
hands over; a worker is killed."""

WHOLE_S = 240.0
_ENDS_S = 5.0


class Faults:
    """One at a time, as a seed has it.

    Parameters
    ----------
    net
        The ways between coordinators.
    says
        Hears what is done.
    """

    def __init__(
        self,
        made: FailoverCluster,
        net: Net,
        ledger: Ledger,
        seed: int,
        says: Callable[[str], None],
    ) -> None:
        self._made, self._net, self._ledger = made, net, ledger
        self._random = random.Random(seed)
        self._says = says
        self.done: Counter[str] = Counter()

    async def inject(self, kind: str) -> None:
        """Do it, mend it, and wait until all is well."""
        acts: dict[str, Callable[[Coordinator], Awaitable[None]]] = {
            "kill": self._kill,
            "kill-scheduler": self._kill_scheduler,
            "kill-node": self._kill_node,
            "stop": self._stop,
            "hang": self._hang,
            "part": self._part,
            "twice": self._twice,
            "transfer": self._transfer,
            "kill-worker": self._kill_worker,
        }
        before = await self.whole()
        leader = await self._made.leader(WHOLE_S)
        began = time.monotonic()
        await acts[kind](leader)
        after = await self.whole()
        self.done[kind] += 1
        seconds = time.monotonic() - began
        self._says(
            f"{kind}: term {before} to {after}, {seconds:.1f} s until all is well"
        )

    def takeovers(self) -> int:
        """In how many terms a scheduler took over from another one."""
        try:
            led = (self._ledger.folder / tasks.LED).read_text().split()
        except FileNotFoundError:
            return 0
        return max(0, len(set(led)) - 1)

    async def whole(self) -> int:
        """All coordinators are there again; the term."""
        standing = await self._made.whole(WHOLE_S)
        return int(standing["term"])

    async def _other_leads(self, than: Coordinator) -> Coordinator:
        async with asyncio.timeout(WHOLE_S):
            while True:
                leader = await self._made.leader(WHOLE_S)
                if leader is not than:
                    return leader
                await asyncio.sleep(0.02)

    async def _kill(self, leader: Coordinator) -> None:
        leader.kill()
        await asyncio.sleep(self._random.choice((0.0, 0.3, 2.0)))
        leader.start()

    async def _kill_scheduler(self, leader: Coordinator) -> None:
        killed = _scheduler(leader)
        for one in killed:
            one.kill()
        pids = {one.pid for one in killed}
        async with asyncio.timeout(WHOLE_S):
            while True:  # until its node has noticed
                said = (await self._made.standing()).get(leader.node)
                if said is None or said["scheduler"]["pid"] not in pids:
                    return
                await asyncio.sleep(0.02)

    async def _kill_node(self, leader: Coordinator) -> None:
        """Its scheduler ends with it."""
        left = _scheduler(leader)
        leader.signal_node(signal.SIGKILL)
        ends = time.monotonic() + _ENDS_S
        while any(map(_lives, left)):
            if time.monotonic() > ends:
                self._ledger.broken.append("a scheduler outlives its node")
                break
            await asyncio.sleep(0.02)
        leader.kill()
        leader.start()

    async def _stop(self, leader: Coordinator) -> None:
        stopped = leader.processes()
        leader.signal(signal.SIGSTOP)
        await self._other_leads(leader)
        await asyncio.sleep(self._random.random() * 2)
        for one in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.resume()

    async def _hang(self, leader: Coordinator) -> None:
        hung = _scheduler(leader)
        for one in hung:
            one.suspend()
        async with asyncio.timeout(WHOLE_S):
            while any(map(_lives, hung)):  # it is killed by its node
                await asyncio.sleep(0.05)

    async def _part(self, leader: Coordinator) -> None:
        others = [node for node in self._made.coordinators if node != leader.node]
        cut = self._random.random() < 0.5
        for node in others:
            for way in (
                self._net.way(leader.node, node),
                self._net.way(node, leader.node),
            ):
                way.disturb(cut=cut, held=not cut)
        await self._other_leads(leader)
        await asyncio.sleep(self._random.random() * 3)
        self._net.heal()

    async def _twice(self, leader: Coordinator) -> None:
        """Who takes over is killed while it does, or as it has just begun to lead."""
        leader.kill()
        leader.start()
        async with asyncio.timeout(WHOLE_S):
            while True:
                for node, said in (await self._made.standing()).items():
                    role = said["scheduler"]["role"]
                    if node != leader.node and role in ("taking over", "leads"):
                        await asyncio.sleep(self._random.choice((0.0, 0.05, 0.3, 1.0)))
                        for one in _scheduler(self._made.coordinators[node]):
                            one.kill()
                        return
                await asyncio.sleep(0.005)

    async def _transfer(self, leader: Coordinator) -> None:
        """Ended kindly, as for an upgrade."""
        leader.signal_node(signal.SIGTERM)
        async with asyncio.timeout(WHOLE_S):
            while leader.lives:
                await asyncio.sleep(0.02)
        leader.kill()
        leader.start()

    async def _kill_worker(self, leader: Coordinator) -> None:
        # The first one lives through all, so that it can be seen whether it grows.
        name = self._random.choice(sorted(self._made.workers)[1:])
        pid = self._made.workers[name].pid
        self._ledger.deaths.append((time.monotonic(), pid))
        self._made.kill_worker(name)
        self._ledger.deaths.append((time.monotonic(), pid))
        self._made.start_worker(name, 2)


def _scheduler(of: Coordinator) -> list[psutil.Process]:
    """The scheduler's process of a coordinator."""
    found = []
    for one in of.processes():
        with contextlib.suppress(psutil.Error):
            if "dtf_dask.standby.process" in one.cmdline():
                found.append(one)
    return found


def _lives(one: psutil.Process) -> bool:
    try:
        return one.is_running() and one.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

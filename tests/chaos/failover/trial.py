"""A trial: a cluster, clients that work, faults, and checks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from chaos.group import _own_hosts
from chaos.proxies import Net, Proxy, owner_of_port
from failover_cluster import FailoverCluster

import dtf_dask
from dtf_dask.errors import FailoverError
from dtf_dask.ha.coordinators import PEERS_ABOVE
from failover import tasks
from failover.faults import KINDS, Faults
from failover.growth import Growth, Sample
from failover.ledger import Ledger
from failover.runs import Runs
from failover.workloads import Workload

_PORT = 20_000
_APART = 10
_CALM_S = 200.0  # clients that were not heard of for a minute are forgotten
_CLIENTS_LEFT = 2  # who looks, and the one of Dask's for results that nobody holds
_JOURNAL_MAX = 50
_GONE_S = 20.0
_HERE = Path(__file__).parents[1]
_ROOT = _HERE.parents[1]
_CODE = os.pathsep.join(map(str, (_HERE, _ROOT / "benchmarks", _ROOT)))
"""What is tried is what lies beside this."""
_GRACES = {
    "DASK_DTF__HA__TAKEOVER_GRACE": "10 s",
    "DASK_DTF__HA__RECONNECT_GRACE": "15 s",
}
"""A worker that the machine left without time for seconds has not died."""
_LOGS = {
    "DASK_DISTRIBUTED__ADMIN__LOG_LENGTH": "200",
    "DASK_DISTRIBUTED__ADMIN__LOW_LEVEL_LOG_LENGTH": "200",
}
"""What Dask keeps of its logs is full before it is looked whether anything grows."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is tried.

    Parameters
    ----------
    seconds, takeovers
        It ends when either is reached, the second one not before each kind of fault.
    pause_s
        Between two faults, at most.
    """

    seconds: float
    takeovers: int
    seed: int
    kinds: tuple[str, ...] = KINDS
    workers: int = 3
    clients: int = 4
    pause_s: float = 4.0
    tls: bool = True
    runs: bool = True


@dataclass(slots=True)
class Summary:
    """What came of it."""

    seed: int
    seconds: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)
    takeovers: int = 0
    """Terms in which a scheduler took over wholly; others were killed meanwhile."""
    done: dict[str, int] = field(default_factory=dict)
    tasks_checked: int = 0
    reruns: list[str] = field(default_factory=list)
    excused: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    checks: int = 0
    growth: dict[str, tuple[int, Sample, Sample]] = field(default_factory=dict)
    """Of processes that lived long: samples, what they had early, and at the end."""

    @property
    def failed(self) -> bool:
        """Whether a rule broke."""
        return bool(self.broken or self.reruns)


class Trial:
    """One, of a plan."""

    def __init__(self, plan: Plan, says: Callable[[str], None]) -> None:
        self._plan, self._says = plan, says
        self._summary = Summary(plan.seed)
        self._growth = Growth()
        self._told: set[str] = set()
        self._net = Net()
        self._proxies: list[Proxy] = []
        self._made: FailoverCluster
        self._faults: Faults
        self._ledger: Ledger
        self.stop = asyncio.Event()
        """Set it, and the trial ends early, with all its checks."""

    async def run(self, folder: Path) -> Summary:
        """Try it, in an empty folder."""
        began = time.monotonic()
        attempts = folder / "attempts"
        attempts.mkdir()
        self._ledger = Ledger(attempts)
        try:
            await self._prepare(folder, attempts)
            async with self._made:
                await self._tried()
        except Exception as error:
            self._ledger.broken.append(f"{type(error).__name__}: {error}")
            self._says(self._made.logged())
        for proxy in self._proxies:
            await proxy.close()
        await self._check_processes(attempts)
        return self._summed(began)

    async def _prepare(self, folder: Path, attempts: Path) -> None:
        """A cluster whose coordinators reach each other by proxies."""
        said, real = _own_hosts()
        hook = str(_HERE / "node_hook")
        plan = self._plan
        ports = [_PORT + _APART * number for number in range(3)]
        self._made = made = FailoverCluster(
            folder,
            tls=plan.tls,
            environment={"PYTHONPATH": _CODE, tasks.FOLDER: str(attempts), **_LOGS},
            coordinators_environment={
                "PYTHONPATH": os.pathsep.join([hook, _CODE]),
                "DTF_CHAOS_HOSTS": f"{said} {real}",
                tasks.FOLDER: str(attempts),
                "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1000",
                **_GRACES,
                **_LOGS,
            },
            host=said,
            ports=ports,
            asked_at=real,
            preload=["failover.checks"],
        )

        def who(port: int) -> int | None:
            pids = {
                one.process.pid: node
                for node, one in made.coordinators.items()
                if one.process is not None
            }
            found = owner_of_port(port, pids)
            return found if isinstance(found, int) else None

        for node, port in zip(made.coordinators, ports, strict=True):
            at = port + PEERS_ABOVE
            proxy = Proxy(self._net, node, (real, at), who)
            await proxy.start((said, at))
            self._proxies.append(proxy)

    async def connect(self) -> Any:
        """A client."""
        made = self._made
        return await dtf_dask.Client(
            made.contact,
            asynchronous=True,
            security=made.security,
            set_as_default=False,
        )

    def _environment(self) -> dict[str, str]:
        """Of commands that are clients."""
        own = {"PYTHONPATH": _CODE, tasks.FOLDER: str(self._ledger.folder)}
        if self._plan.tls:
            keys = self._made.folder / "clients"
            tls = "DASK_DISTRIBUTED__COMM__TLS__"
            own |= {
                "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true",
                f"{tls}CA_FILE": str(keys / "authority.pem"),
                f"{tls}CLIENT__CERT": str(keys / "certificate.pem"),
                f"{tls}CLIENT__KEY": str(keys / "certificate.key"),
            }
        return own

    async def _tried(self) -> None:
        plan, made = self._plan, self._made
        names = [f"w{number}" for number in range(plan.workers)]
        for name in names:
            made.start_worker(name, 2)
        self._faults = Faults(made, self._net, self._ledger, plan.seed, self._says)
        looks = await self.connect()
        await looks.wait_for_workers(plan.workers)
        working = [
            asyncio.create_task(
                Workload(f"c{n}", plan.seed, self.connect, self._ledger).run(self.stop)
            )
            for n in range(plan.clients)
        ]
        if plan.runs:
            runs = Runs(
                made.folder / "suites", made.contact, self._environment(), self._ledger
            )
            working.append(asyncio.create_task(runs.run(self.stop)))
        try:
            try:
                await self._disturb(looks)
            finally:
                self.stop.set()
                await asyncio.gather(*working)
            await self._check_end(looks)
        finally:
            await looks.close()

    async def _disturb(self, looks: Any) -> None:
        """Fault after fault, until it is time."""
        plan, faults = self._plan, self._faults
        chosen = random.Random(plan.seed)
        ends = time.monotonic() + plan.seconds
        rest = list(plan.kinds)
        chosen.shuffle(rest)
        while not self.stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), chosen.random() * plan.pause_s)
            if time.monotonic() > ends:
                return
            if not rest and faults.takeovers() >= plan.takeovers:
                return
            # Each kind once, and then any.
            await faults.inject(rest.pop() if rest else chosen.choice(plan.kinds))
            await self._check(looks)
            self._note_growth()
            self._say_broken()

    def _say_broken(self) -> None:
        """What was found since this was asked last."""
        for found in (self._ledger.broken, self._ledger.reruns):
            for one in found:
                if one not in self._told:
                    self._says(f"BROKEN: {one[:3000]}")
                    self._told.add(one)

    # -- checks ----------------------------------------------------------------------

    async def _check(self, looks: Any) -> dict[str, Any]:
        """Ask who leads whether all holds that must; its word."""
        async with asyncio.timeout(_CALM_S):
            while True:
                with contextlib.suppress(OSError, FailoverError):  # it may die now
                    found: dict[str, Any] = await looks.scheduler.dtf_check()
                    if found["settled"]:
                        break
                await asyncio.sleep(0.1)
        self._summary.checks += 1
        self._ledger.broken += found["broken"][:20]
        return found

    async def _check_end(self, looks: Any) -> None:
        """Nothing is left of work that nobody wants."""
        await self._faults.whole()
        found: dict[str, Any] = {}
        empty = {"tasks": 0, "governed": 0, "running": 0, "waiting": 0}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CALM_S):
                while True:
                    found = await self._check(looks)
                    if (
                        empty.items() <= found.items()
                        and found["journal"] < _JOURNAL_MAX
                        and not any((await looks.run(tasks.kept)).values())
                    ):
                        return
                    await asyncio.sleep(0.5)
        self._ledger.broken.append(f"all is over, and there is {found}")

    def _note_growth(self) -> None:
        """Of all that lives now."""
        self._growth.note("clients", os.getpid())
        for name, worker in self._made.workers.items():
            self._growth.note(f"worker {name}", worker.pid)
        for node, one in self._made.coordinators.items():
            for process in one.processes():
                ours = one.process is not None and process.pid == one.process.pid
                self._growth.note(
                    f"{'node' if ours else 'scheduler'} {node}", process.pid
                )

    async def _check_processes(self, attempts: Path) -> None:
        """None is left of coordinators and workers that were killed, or ended."""
        left = _marked(attempts)
        ends = time.monotonic() + _GONE_S
        while left and time.monotonic() < ends:
            await asyncio.sleep(0.2)
            left = _marked(attempts)
        for process in left:
            with contextlib.suppress(psutil.Error):
                words = " ".join(process.cmdline())
                self._ledger.broken.append(f"a process is left: {process.pid} {words}")
                process.kill()

    def _summed(self, began: float) -> Summary:
        found, ledger = self._summary, self._ledger
        found.growth = self._growth.changes()
        ledger.broken += self._growth.broken()
        found.seconds = round(time.monotonic() - began, 1)
        if hasattr(self, "_faults"):
            found.faults = dict(self._faults.done)
            found.takeovers = self._faults.takeovers()
        found.done = dict(ledger.done)
        found.tasks_checked, found.excused = ledger.checked, dict(ledger.excused)
        found.reruns, found.broken = ledger.reruns, ledger.broken
        return found


def _marked(attempts: Path) -> list[psutil.Process]:
    """All that live of a trial: each has in its environment where attempts are."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            ours = process.environ().get(tasks.FOLDER) == str(attempts)
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found

"""The process beside pytest that speaks Dask, so that the suite's own need not.

It is told what to do by frames on its standard input and answers on its standard
output; the end of input ends it. For a local run it is also the cluster: a scheduler
and one worker a core in one process, which is safe because no test ever runs in it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before anything else of Dask: it configures `distributed` for a private cluster.
from dtf_dask.runs.private_cluster import PrivateCluster  # isort: skip

import distributed
from distributed.comm import CommClosedError

from dtf_dask import config
from dtf_dask.comm.address import PREFIX as COORDINATORS
from dtf_dask.environment_facts import facts
from dtf_dask.errors import ClusterUnreachableError, DtfError
from dtf_dask.frames import FrameBuffer, pack
from dtf_dask.model import CaseId, Run, RunId
from dtf_dask.runs.adoption import AdoptionPort
from dtf_dask.runs.batch import PlannedCase
from dtf_dask.runs.driver import RunDriver
from dtf_dask.runs.driver_options import DrivenCase
from dtf_dask.runs.leaders import no_leader_text
from dtf_dask.runs.results.feed import HURRIED_S
from dtf_dask.runs.workers import Travel
from dtf_dask.scheduler_plugins.topics import TopicPlugin
from dtf_dask.settings import Settings
from dtf_dask.worker_plugins.runner.plugin import RunnerPlugin
from dtf_dask.worker_plugins.runner.process import forget_runners

if TYPE_CHECKING:
    from dtf_dask.runs.opened_run import OpenedRun
    from dtf_dask.runs.planning import RunPlanner

_AGAIN_S = 0.1
_LONG_S = 3.0  # without a cluster: somebody may want to know
_END_WAIT_S = 5.0  # to end a run, beside what it may wait for
_HISTORY_WAIT_S = 0.1  # what comes later is learned from then on
_UNREAD_BYTES_MAX = 32 * 2**20  # reports that the controller has not read yet


class DriverProcess:
    """Serves one controller: opens a cluster, drives one run, leaves."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader, self._writer = reader, writer
        self._frames = FrameBuffer()
        self._gathered = bytearray()
        self._waiting: list[dict[str, Any]] = []
        self._closers: list[Any] = []
        self._port: AdoptionPort | None = None  # for runners of a private cluster
        self._cluster: PrivateCluster | None = None
        self._settings: Settings
        self._client: distributed.Client

    async def serve(self) -> None:
        try:
            opening = await self._receive()
            if opening is None:
                return
            try:
                await self._open(opening)
                asking = await self._receive()
                if asking is not None:
                    await self._run(asking)
            except DtfError as error:
                self._send({"op": "error", **_told(error)})
                await self._sent()
        finally:
            for close in reversed(self._closers):
                try:
                    await asyncio.wait_for(close(), 2.0)
                except Exception as error:
                    logging.getLogger(__name__).debug("closing: %r", error)

    # -- the cluster ------------------------------------

    async def _open(self, opening: dict[str, Any]) -> None:
        self._settings = config.load(opening["overrides"])
        address = opening["address"]
        if address:
            workers = await self._connect(address)
        else:
            await self._start_private()
            workers = await self._workers()
        count = sum(worker["nthreads"] for worker in workers.values())
        runs = self._settings.runs
        self._send(
            {
                "op": "ready",
                "slots": [f"gw{number}" for number in range(count)],
                "local": not address,
                "socket": self._port.path if self._port else "",
                "token": self._port.token if self._port else "",
                "dist": runs.dist,
                "isolate": runs.isolate,
                "traces": runs.traces,
                "retries": runs.retries,
                "timeout_s": runs.timeout_s,
                "end_wait_s": runs.cancel_grace_s + HURRIED_S + _END_WAIT_S,
                "inline_limit": self._settings.results.inline_limit_bytes,
            }
        )
        # While the controller collects: what a run needs besides is slow to load.
        asyncio.get_running_loop().run_in_executor(None, _load_the_rest)

    async def _connect(self, address: str) -> dict[str, Any]:
        """Become a client of a cluster; its workers."""
        timeout_s = self._settings.driver.connect_timeout_s
        command = "dtf scheduler"
        saying = None
        if address.startswith(COORDINATORS):  # whose leader may die: outlive it
            from dtf_dask.durable.client_preload import configure

            configure()
            command = "dtf coordinator"
            saying = asyncio.get_running_loop().call_later(
                _LONG_S, self._say, no_leader_text(address)
            )
        try:
            self._client = await self._let_in(address, timeout_s)
            self._closers.append(self._client.close)
            await self._client.register_plugin(RunnerPlugin())
            await self._client.register_plugin(TopicPlugin())
            return await self._workers()
        except (OSError, TimeoutError, ValueError) as error:
            raise ClusterUnreachableError(
                f"no scheduler answers at {address} (waited {timeout_s:g} s: {error});"
                f" start one with `{command}`, or leave the address out to run here"
            ) from error
        finally:
            if saying is not None:
                saying.cancel()

    async def _let_in(self, address: str, timeout_s: float) -> Any:
        """A client; who leads may die as he lets it in."""

        async def come() -> Any:
            return await distributed.Client(
                address, asynchronous=True, timeout=timeout_s, set_as_default=False
            )

        return await _patiently(come, CommClosedError, timeout_s)

    async def _workers(self) -> dict[str, Any]:
        """Those that are there; who leads may die as he is asked."""
        line: Any = self._client.scheduler
        timeout_s = self._settings.driver.connect_timeout_s
        return dict((await _patiently(line.identity, OSError, timeout_s))["workers"])

    async def _start_private(self) -> None:
        count = self._settings.runs.workers
        if count == "auto":
            count = len(os.sched_getaffinity(0))
        cluster, self._port = PrivateCluster(), AdoptionPort()
        self._cluster = cluster
        self._closers += [cluster.close, self._port.close]
        self._client = await cluster.start(int(count))
        await self._port.listen()

    # -- the run ------------------------------------

    async def _run(self, asking: dict[str, Any]) -> None:
        # Imported here: what keeps results is not needed while the suite is collected.
        from dtf_dask.runs.opened_run import OpenedRun, asked_of_all, run_planner

        names = asking["cases"]
        ids = [CaseId(case["id"]) for case in names]
        run = Run(
            id=RunId(asking["run"]),
            started_at=time.time(),
            command=tuple(asking["command"]),
            suite=asking["suite"],
            rootdir=asking["rootdir"],
            cases_planned=len(ids),
            policy={**asking["policy"], **asked_of_all(self._settings)},
            environment=asking["environment"],
        )
        asked = [case.get("asked", {}) for case in names]
        planner = run_planner(self._settings, run, ids, _planned(asking), asked)
        opened = OpenedRun(self._settings, run, ids, Path(asking["state_folder"]))
        if planner.asks and self._cluster is not None:
            await self._cluster.heed_hardware(self._settings.scheduling)
        driver = opened.driver(
            self._client,
            [
                DrivenCase(i, tuple(c["entry"]), c.get("asked", {}).get("retries"))
                for i, c in zip(ids, names, strict=True)
            ],
            planner,
            asking["spec"],
            sink=self._send,
            keep=opened.recorder.put,
            travel=await self._travel(opened, asking),
            may_go_on=self._controller_keeps_up,
            closed=self._cluster is not None,
        )
        numbers = {name: number for number, name in enumerate(ids)}
        learning = asyncio.ensure_future(self._learn(opened, planner, numbers))
        # Where no store is yet, this is the first run.
        if "://" in opened.url or Path(opened.url).exists():
            await asyncio.wait([learning], timeout=_HISTORY_WAIT_S)
        if self._port is not None:
            await self._port.expect(asking["adopt"])
        listening = asyncio.ensure_future(self._listen_to_controller(driver))
        end = await driver.drive()
        for link in forget_runners(run.id):
            await link.close()
        learning.cancel()
        listening.cancel()
        stored = await opened.close(end, self._notice)
        self._send(
            {
                "op": "end",
                "interrupted": end.interrupted,
                "outcomes": dict(end.outcomes),
                "flaky": end.flaky,
                "error": _told(end.error) if end.error else None,
                "stored": stored.stored,
                "spooled": stored.spooled,
                "spool_path": str(stored.spool_path),
                "results_error": stored.error,
                "results_code": stored.exit_code,
                "results_url": opened.url,
            }
        )
        await self._sent()

    async def _travel(self, opened: OpenedRun, asking: dict[str, Any]) -> Travel | None:
        """The code and facts to send; None for workers that run where the suite is."""
        if self._port is not None:
            return None
        root = Path(asking["rootdir"])
        snapshot = await opened.snapshot(
            root,
            cache_path=root / ".dtf" / "hashes",
            also=asking["module_files"],
        )
        for note in snapshot.notes:
            self._notice(note)
        check = self._settings.environment.check
        here = {}
        if check != "off":
            here = await asyncio.to_thread(facts, asking["modules"], snapshot.root)
        return Travel(snapshot, here, check)

    async def _learn(
        self, opened: OpenedRun, planner: RunPlanner, numbers: dict[CaseId, int]
    ) -> None:
        """Tell the planner what earlier runs took, when the store is open."""
        history = await asyncio.to_thread(opened.recorder.history, 30.0)
        known = {numbers[i]: s for i, s in history.items() if i in numbers}
        planner.learn(known)

    async def _listen_to_controller(self, driver: RunDriver) -> None:
        while True:
            frame = await self._receive()
            if frame is None or frame["op"] == "stop":
                driver.stop(interrupted=frame is None or frame["interrupted"])
                return

    # -- frames ------------------------------------

    def _send(self, frame: dict[str, Any]) -> None:
        """Queue a frame; what gathers in one turn of the loop is one write."""
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._flush)
        self._gathered += pack(frame)

    def _notice(self, text: str) -> None:
        self._send({"op": "notice", "text": text})

    def _say(self, text: str) -> None:
        """To be read now, not when the run is over."""
        self._send({"op": "leader", "text": text})

    def _flush(self) -> None:
        self._writer.write(bytes(self._gathered))
        self._gathered.clear()

    async def _sent(self) -> None:
        """Everything is on its way."""
        await asyncio.sleep(0)
        await self._writer.drain()

    def _controller_keeps_up(self) -> bool:
        return self._writer.transport.get_write_buffer_size() < _UNREAD_BYTES_MAX

    async def _receive(self) -> dict[str, Any] | None:
        while not self._waiting:
            chunk = await self._reader.read(2**18)
            if not chunk:
                return None
            self._waiting = list(self._frames.feed(chunk))
        return self._waiting.pop(0)


def _planned(asking: dict[str, Any]) -> list[PlannedCase]:
    fixtures = asking["fixtures"]
    return [
        PlannedCase(
            index=number,
            file=case["file"],
            scope=case["scope"],
            group=case["group"],
            estimate_s=None,
            shared=tuple(fixtures[f] for f in case["shared"]),
        )
        for number, case in enumerate(asking["cases"])
    ]


def _told(error: DtfError) -> dict[str, Any]:
    return {"code": error.exit_code, "text": str(error)}


def _load_the_rest() -> None:
    import dtf_dask.runs.opened_run
    import dtf_dask.runs.results.store  # noqa: F401


async def _main() -> None:
    loop = asyncio.get_running_loop()
    answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not get between the frames
    reader = asyncio.StreamReader(limit=2**22)
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(0), "rb")
    )
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(answers, "wb")
    )
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    await DriverProcess(reader, writer).serve()
    writer.close()


def main() -> None:
    """Run until the controller hangs up or the run is over."""
    logging.getLogger("distributed").setLevel(logging.ERROR)
    asyncio.run(_main())


async def _patiently(
    ask: Callable[[], Awaitable[Any]], broken: type[OSError], timeout_s: float
) -> Any:
    """Ask whoever leads, and the next one if he dies meanwhile."""
    until = time.monotonic() + timeout_s
    while True:
        try:
            return await ask()
        except broken:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(_AGAIN_S)

"""The private names of Dask's scheduler by which a worker's connection may break.

Dask removes a worker whose connection breaks, and takes none that it has. Here the
methods that do so are replaced on one scheduler, and ask somebody else; see `Heard`.
`broken` says what an installed version of Dask no longer has of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from inspect import getsource, isawaitable, unwrap
from typing import Any, Protocol

from distributed import Scheduler
from distributed.batched import BatchedSend
from distributed.comm import CommClosedError, normalize_address
from distributed.core import Status
from distributed.scheduler import WorkerState, heartbeat_interval

_BROKE = ("handle-worker-cleanup-", "worker-send-comm-fail-", "send-all-comm-fail-")
_TOO_OLD = "check-worker-ttl-"
_LEAVES = frozenset({Status.closing, Status.closing_gracefully, Status.closed})
_ASKED = (
    *("gather", "who_has", "has_what", "nbytes", "get_task_status", "processing"),
    *("scatter", "broadcast", "replicate", "rebalance", "retire_workers", "restart"),
    *("restart_workers", "ncores", "ncores_running"),
)
"""Questions that cannot be answered before it is settled what workers have."""
_SILENT: dict[str, Any] = {
    "bandwidth": {"total": 100e6, "workers": {}, "types": {}},
    "digests_total_since_heartbeat": {},
    "memory": 0,
    "spilled_bytes": {"memory": 0, "disk": 0},
}

_UNKNOWN: dict[str, Any] = {
    "metrics": _SILENT,
    "resolve_address": False,
    "services": {},
    "versions": {},
    "extra": {},
    "stimulus_id": "dtf-absent",
}
"""Of a worker that has not come yet."""

_REPLACED = ("handle_worker", "remove_worker", "restart_workers")
_HANDLERS = (*("register-worker", "heartbeat_worker", "unregister"), *_ASKED)
_STATE = (
    *("workers", "stream_comms", "aliases", "worker_plugins", "extensions", "loop"),
    *("handle_stream", "handle_worker_status_change", "coerce_address", "handlers"),
    *("transitions", "release_worker_data", "add_worker", "heartbeat_worker"),
)
# A word that Dask says where it removes a worker: else it would be removed at once.
_WORDS = (
    (Scheduler.handle_worker, _BROKE[0]),
    (Scheduler.worker_send, _BROKE[1]),
    (Scheduler.send_all, _BROKE[2]),
    (Scheduler.check_worker_ttl, _TOO_OLD),
    (Scheduler.add_worker, "self.handle_worker("),
)


def broken(scheduler: Scheduler) -> tuple[str, ...]:
    """Say what is missing of what is used here; empty if all is there."""
    missing = [
        f"Scheduler.{name}"
        for name in (*_REPLACED, *_STATE)
        if not hasattr(scheduler, name)
    ]
    handlers = getattr(scheduler, "handlers", {})
    missing += [f"handler {op}" for op in _HANDLERS if op not in handlers]
    missing += [
        f"{word} in {caller.__qualname__}"
        for caller, word in _WORDS
        if word not in getsource(unwrap(caller))
    ]
    if not callable(getattr(BatchedSend, "abort", None)):
        missing.append("BatchedSend.abort")
    if not hasattr(scheduler, "__dict__"):
        missing.append("methods of one scheduler that can be replaced")
    return tuple(missing)


class Heard(Protocol):
    """Decides what becomes of workers."""

    async def registering(self, comm: Any, address: str, info: dict[str, Any]) -> None:
        """A worker wants to be one of the scheduler's."""

    def here(self, address: str) -> None:
        """A worker was answered, and may be sent messages."""

    async def may_speak(self) -> None:
        """Returns when messages of workers may be acted on."""

    def begins(self, address: str) -> bool:
        """A worker's messages are read from now on; False if it is not to be heard."""

    def lost(self, address: str) -> bool:
        """A connection broke; whether it is taken care of."""

    def beats(self, address: str) -> None:
        """A worker lives, and says what it is at."""

    def may_return(self, address: str) -> bool:
        """Whether one that is not known may yet register."""

    def leaving(self, addresses: Iterable[str], leave: bool) -> None:
        """Workers are made to end, or that is over."""

    def is_away(self, address: str) -> bool:
        """Whether its connection is broken, and it may come back."""

    def forget(self, address: str) -> None:
        """A worker is removed, for whatever reason."""


class _Parked:
    """In place of the link to a worker that is away: what it is sent is dropped.

    It need not be kept: who comes back says what it has.
    """

    comm = None
    buffer: tuple[()] = ()

    def send(self, *messages: Any) -> None:
        """It is dropped."""

    def closed(self) -> bool:
        """It does not count as broken once more."""
        return False

    def abort(self) -> None:
        """Nothing is there."""

    async def close(self, timeout: float | None = None) -> None:
        """Nothing is there."""


class _Nobody:
    """The connection of a worker that has not come yet."""

    name = ""

    async def write(self, message: object) -> None:
        """It is not heard."""


class Links:
    """The workers' connections of one scheduler."""

    def __init__(self, scheduler: Scheduler, heard: Heard) -> None:
        self._scheduler, self._heard = scheduler, heard
        self._remove = scheduler.remove_worker
        self._restart = scheduler.restart_workers

    def begin(self) -> None:
        """Replace the methods, before anybody can have connected."""
        scheduler: Any = self._scheduler
        scheduler.handlers["register-worker"] = self._register
        scheduler.handlers["heartbeat_worker"] = self._heartbeat
        scheduler.handlers["restart_workers"] = self._restarting
        scheduler.handlers["unregister"] = self._removing
        for op in _ASKED:
            scheduler.handlers[op] = self._when_settled(scheduler.handlers[op])
        scheduler.handle_worker = self._serve
        scheduler.remove_worker = self._removing
        scheduler.restart_workers = self._restarting

    def _when_settled(self, answer: Callable[..., Any]) -> Callable[..., Any]:
        async def asked(**words: Any) -> Any:
            await self._heard.may_speak()
            answered = answer(**words)
            return await answered if isawaitable(answered) else answered

        return asked

    # -- what Dask calls ---------------------------------------------------------------

    async def _register(self, comm: Any, **info: Any) -> None:
        resolve = info.get("resolve_address", True)
        address = self._scheduler.coerce_address(info["address"], resolve)
        await self._heard.registering(comm, normalize_address(address), info)

    def _heartbeat(self, **info: Any) -> dict[str, Any]:
        scheduler = self._scheduler
        resolve = info.get("resolve_address", True)
        address = normalize_address(scheduler.coerce_address(info["address"], resolve))
        if address not in scheduler.workers and self._heard.may_return(address):
            return {
                "status": "OK",
                "time": time.time(),
                "heartbeat-interval": heartbeat_interval(len(scheduler.workers)),
            }
        if info.get("extensions"):
            info["extensions"] = self._of_known(info["extensions"])
        answer = scheduler.heartbeat_worker(**info)
        if address in scheduler.workers:
            self._heard.beats(address)
        return answer

    def _of_known(self, extensions: dict[str, Any]) -> dict[str, Any]:
        """Without words on what began under another scheduler: they close a worker."""
        known = self._scheduler.extensions
        said = {name: value for name, value in extensions.items() if name in known}
        spans = getattr(known.get("spans"), "spans", None)
        if isinstance(spans, dict) and isinstance(said.get("spans"), dict):
            said["spans"] = {
                row: value for row, value in said["spans"].items() if row[1] in spans
            }
        return said

    async def _serve(self, comm: Any, worker: str) -> None:
        """As Dask's ``handle_worker``, for as long as this is the worker's link."""
        scheduler = self._scheduler
        link = scheduler.stream_comms[worker]
        if isinstance(comm, _Nobody):
            return
        comm.name = "Scheduler connection to worker"
        link.start(comm)
        self._heard.here(worker)
        try:
            await self._heard.may_speak()
            current = scheduler.stream_comms.get(worker) is link
            if current and self._heard.begins(worker):
                await scheduler.handle_stream(comm=comm, extra={"worker": worker})
        finally:
            if scheduler.stream_comms.get(worker) is link:
                link.abort()
                await self._removing(worker, stimulus_id=f"{_BROKE[0]}{time.time()}")
            elif not comm.closed():
                comm.abort()

    async def _removing(
        self,
        address: str,
        *,
        stimulus_id: str,
        expected: bool = False,
        close: bool = True,
    ) -> str:
        address = self._scheduler.coerce_address(address)
        broke = stimulus_id.startswith(_BROKE) and not self._is_ending()
        if broke and address in self._scheduler.workers:
            link = self._scheduler.stream_comms.get(address)
            comm = getattr(link, "comm", None)
            if isinstance(link, _Parked) or (comm is not None and not comm.closed()):
                return "already-removed"  # it has another by now
            if self._heard.lost(address):
                return "OK"
        return await self._end(address, stimulus_id, expected=expected, close=close)

    def _is_ending(self) -> bool:
        return self._scheduler.status in (Status.closing, Status.closed)

    async def _restarting(
        self, workers: list[str] | None = None, *, stimulus_id: str, **more: Any
    ) -> Any:
        chosen = list(self._scheduler.workers) if workers is None else list(workers)
        away = [one for one in chosen if self._heard.is_away(one)]
        if stimulus_id.startswith(_TOO_OLD):
            chosen = [one for one in chosen if one not in away]
            away = []
        for one in away:
            await self.remove(one, "restarted")
        self._heard.leaving(chosen, True)
        try:
            return await self._restart(chosen, stimulus_id=stimulus_id, **more)
        finally:
            self._heard.leaving(chosen, False)

    # -- what is done to workers -------------------------------------------------------

    async def add(self, comm: Any, info: dict[str, Any]) -> None:
        """Take a worker, and hear it for as long as its connection lasts."""
        address = info["address"]
        try:
            await self._scheduler.add_worker(comm, **info)
        except (CommClosedError, OSError):
            link = self._scheduler.stream_comms.get(address)
            if link is not None and link.comm is None and not isinstance(link, _Parked):
                self._heard.lost(address)  # it was never answered

    async def add_absent(self, info: dict[str, Any]) -> None:
        """Know a worker that has not come back yet, as one that is away."""
        await self._scheduler.add_worker(
            _Nobody(),  # type: ignore[arg-type]
            **{**_UNKNOWN, "now": time.time(), **info, "status": "paused"},
        )
        self._park(info["address"])

    async def remove(self, address: str, why: str) -> None:
        """Remove a worker, whatever it runs."""
        await self._end(address, f"dtf-{why}-{time.time()}", close=False)

    async def _end(self, address: str, why: str, **how: bool) -> str:
        self._heard.forget(address)  # another may take its place while this is done
        return await self._remove(address, stimulus_id=why, **how)

    async def take_back(self, comm: Any, ws: WorkerState, info: dict[str, Any]) -> None:
        """Give a worker that was away another link, and hear it from now on."""
        scheduler, address = self._scheduler, ws.address
        scheduler.stream_comms[address].abort()
        link = BatchedSend(interval="5ms", loop=scheduler.loop)
        scheduler.stream_comms[address] = link
        ws.extra, ws.pid, ws.services = info["extra"], info["pid"], info["services"]
        ws.versions, ws.nanny = info["versions"], info["nanny"]
        scheduler.heartbeat_worker(
            address=address,
            resolve_address=False,
            now=info["now"],
            metrics=info["metrics"],
        )
        try:
            await comm.write(
                {
                    "status": "OK",
                    "time": time.time(),
                    "heartbeat-interval": heartbeat_interval(len(scheduler.workers)),
                    "worker-plugins": scheduler.worker_plugins,
                }
            )
        except (CommClosedError, OSError):
            if scheduler.stream_comms.get(address) is link:
                self._heard.lost(address)
            return
        if scheduler.stream_comms.get(address) is link:
            await self._serve(comm, address)

    def put_away(self, address: str) -> None:
        """Leave a worker with what it has, and give it nothing more."""
        self._park(address)
        self.set_status(address, "paused")

    def _park(self, address: str) -> None:
        comms: dict[str, Any] = self._scheduler.stream_comms  # type: ignore[assignment]
        link, comms[address] = comms[address], _Parked()
        link.abort()

    def set_status(self, address: str, status: str) -> None:
        """A worker takes tasks, or does not."""
        self._scheduler.handle_worker_status_change(
            status, address, f"dtf-away-{time.time()}"
        )


async def refuse(comm: Any, message: str, **more: Any) -> None:
    """Tell a worker that it is not taken."""
    said = {"status": "error", "message": message, "time": time.time(), **more}
    await comm.write(said)


def registered(ws: WorkerState) -> dict[str, Any]:
    """What a worker registered with, as far as it is needed to know it again."""
    return {
        "name": ws.name,
        "nthreads": ws.nthreads,
        "memory_limit": ws.memory_limit,
        "resources": dict(ws.resources),
        "nanny": ws.nanny or "",
        "local_directory": ws.local_directory,
    }


def says_goodbye(ws: WorkerState) -> bool:
    """Whether a worker has said that it is about to end."""
    return ws.status in _LEAVES


def running_for(ws: WorkerState, now: float) -> dict[Any, float]:
    """For how long its tasks have run, as far as it has said."""
    since = max(0.0, now - ws.last_seen)
    return {
        ts.key: ran + since for ts, ran in ws.executing.items() if ts in ws.processing
    }


def keep_only(scheduler: Scheduler, address: str, keys: Iterable[Any]) -> None:
    """Have others do what a worker was to do, but for some tasks that it is at."""
    ws, kept = scheduler.workers[address], set(keys)
    stimulus = f"dtf-away-{time.time()}"
    needed = {
        dts for ts in ws.processing if ts.key in kept for dts in ts.dependencies
    } | ws.actors
    release: Any = {ts.key: "released" for ts in ws.processing if ts.key not in kept}
    scheduler.transitions(release, stimulus)
    for ts in list(ws.has_what):
        if ts not in needed:
            scheduler.release_worker_data(ts.key, address, stimulus)


def release(scheduler: Scheduler, address: str, key: Any) -> None:
    """Have others do a task that a worker is at."""
    ts = scheduler.tasks.get(key)
    on = ts.processing_on if ts is not None else None
    if on is not None and on.address == address:
        wish: Any = {key: "released"}
        scheduler.transitions(wish, f"dtf-lease-{time.time()}")

"""What a worker that outlives its scheduler leans on in Dask, with `dask_holdings`.

`broken` names what an installed version of Dask no longer has; a contract test keeps
it empty, and the plugin asks before it changes anything.
"""

from __future__ import annotations

import inspect
import os
import uuid
import weakref
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic, sleep
from typing import Any

from dask.utils import parse_timedelta
from distributed import Client, Status, Worker
from distributed.batched import BatchedSend
from distributed.comm import connect
from distributed.comm.core import Comm, CommClosedError
from distributed.metrics import time
from distributed.versions import get_versions
from distributed.worker import _force_close, get_client

from dtf_dask.comm.address import Coordinator, parse_contact
from dtf_dask.comm.backend import heard_of_leader
from dtf_dask.durable import dask_asking
from dtf_dask.worker_plugins import dask_holdings

_INTERVAL = "2ms"
_AGAIN_S = 0.05

# Which function of Dask leans on which name: what nobody calls any more would be
# replaced without effect.
_CALL_SITES: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (Worker._register_with_scheduler, ("handle_scheduler", "batched_stream", "start")),
    (Worker._register_with_scheduler, ("plugin_add", "get_startup_information")),
    (Worker.heartbeat, ("heartbeat_worker", "close")),
    (Worker.handle_stream, ("read", "stream_handlers", "close")),
    (Worker.log_event, ("batched_send",)),
    (Worker._send_worker_status_change, ("batched_send",)),
    (Worker.close, ("batched_stream", "plugin_remove")),
    (get_client, ("_get_client",)),
    (Worker._get_client, ("_client", "status", "running")),
    (Worker.get_metrics, ("digests_total_since_heartbeat",)),
    (BatchedSend._background_send, ("buffer", "abort")),
)
_REGISTRATION = (
    *("register-worker", "worker-plugins", "status"),
    *("worker-heartbeat-missing", "worker-heartbeat-error"),
)


def broken(worker: Worker) -> tuple[str, ...]:
    """Say what is missing of what the functions below use; empty if all is there."""
    missing = [
        f"{called} in {caller.__qualname__}"
        for caller, names in _CALL_SITES
        for called in names
        if called not in _names_of(caller)
    ]
    said = _names_of(Worker._register_with_scheduler) | _names_of(Worker.heartbeat)
    missing += [
        f"{word!r} as a worker says it" for word in _REGISTRATION if word not in said
    ]
    missing += dask_holdings.broken()
    if not hasattr(worker, "__dict__"):
        missing.append("a Worker whose methods can be replaced")
    missing += [
        f"Worker.stream_handlers[{op!r}]"
        for op in ("compute-task", "free-keys", "steal-request")
        if op not in getattr(worker, "stream_handlers", {})
    ]
    heartbeat = getattr(worker, "periodic_callbacks", {}).get("heartbeat")
    if not hasattr(heartbeat, "callback"):
        missing.append("Worker.periodic_callbacks['heartbeat'].callback")
    missing += [
        f"Worker.{name}"
        for name in (
            "contact_address",
            "connection_args",
            "rpc",
            "nanny",
            "id",
            "metrics",
        )
        if not hasattr(worker, name)
    ]
    made = list(inspect.signature(BatchedSend.__init__).parameters)
    if made[:3] != ["self", "interval", "loop"]:
        missing.append(f"BatchedSend(interval, loop): {made}")
    return tuple(missing)


def _names_of(function: Any) -> set[str]:
    """Names and words of a function, and of those within it."""
    found: set[str] = set()
    codes = [inspect.unwrap(function).__code__]
    while codes:
        code = codes.pop()
        found.update(code.co_names, code.co_varnames)
        for one in code.co_consts:
            if isinstance(one, str):
                found.add(one)
            elif isinstance(one, tuple):
                found.update(word for word in one if isinstance(word, str))
            elif inspect.iscode(one):
                codes.append(one)
    return found


# What is replaced on one worker.


def replace(
    worker: Worker,
    *,
    handle_scheduler: Callable[[Comm], Awaitable[None]],
    batched_send: Callable[[dict[str, Any]], None],
    close: Callable[..., Awaitable[Any]],
    heartbeat: Callable[[], Awaitable[None]],
    get_client: Callable[..., Client],
) -> None:
    """Have Dask call these instead of the worker's own methods."""
    vars(worker).update(
        handle_scheduler=handle_scheduler,
        batched_send=batched_send,
        close=close,
        _get_client=get_client,
    )
    worker.periodic_callbacks["heartbeat"].callback = heartbeat


def own(worker: Worker, name: str) -> Callable[..., Any]:
    """The worker's own method, as its class has it, whatever was put before it."""
    found: Callable[..., Any] = getattr(type(worker), name).__get__(worker)
    return found


def client_for_tasks(worker: Worker, timeout: float | str) -> Client:
    """The client that tasks of this worker share, made now if there is none.

    Dask would have none that lost its scheduler as soon as it had connected, or before.
    """
    ends_at = monotonic() + parse_timedelta(timeout)
    while True:
        try:
            found: Client = own(worker, "_get_client")(timeout=timeout)
        except AssertionError:
            made = worker._client
            if made is None or made.status not in ("running", "connecting"):
                raise
            return made
        except CommClosedError:
            # Who led died as it let the client in.
            if monotonic() >= ends_at:
                raise
            sleep(_AGAIN_S)
        else:
            return found


# The stream.


def is_open(worker: Worker) -> bool:
    """Whether what the worker says now may reach its scheduler."""
    comm = worker.batched_stream.comm
    return comm is not None and not comm.closed()


async def obey(worker: Worker, comm: Comm, is_obeyed: Callable[[], bool]) -> None:
    """Do what the scheduler says, until the stream ends or it is obeyed no more.

    What was read, but not done yet, as it lost its authority is not done.
    """
    read = comm.read

    async def heard(deserializers: Any = None) -> Any:
        messages = await read(deserializers)
        if not is_obeyed():
            raise CommClosedError("who said this leads no more")
        return messages

    vars(comm)["read"] = heard
    try:
        await worker.handle_stream(comm)
    finally:
        vars(comm).pop("read", None)


def watch_stream(worker: Worker, unsent: Callable[[list[Any]], None]) -> None:
    """Have what the stream still holds as it breaks given to ``unsent``."""
    stream = worker.batched_stream
    abort = stream.abort

    def hand_over() -> None:
        messages, stream.buffer = stream.buffer, []
        unsent(messages)
        abort()

    vars(stream)["abort"] = hand_over


def leave(worker: Worker) -> None:
    """End the stream now; what is said from now on has none to go into."""
    stream = worker.batched_stream
    worker.batched_stream = BatchedSend(interval=_INTERVAL, loop=worker.loop)
    stream.abort()


def enter(worker: Worker, comm: Comm, messages: Iterable[Any]) -> None:
    """Begin a stream with these messages."""
    stream = BatchedSend(interval=_INTERVAL, loop=worker.loop)
    stream.start(comm)
    worker.batched_stream = stream
    stream.send(*messages)


def end_old_calls(worker: Worker, term: int) -> None:
    """Break what the worker asks leaders of older terms."""
    dask_asking.end_old_calls(worker.rpc, worker.scheduler.address, term)


# Registering.


async def connected(worker: Worker, timeout_s: float) -> Comm:
    """A connection to whoever leads.

    Raises
    ------
    OSError
        Nobody does in that time.
    """
    comm = await connect(
        worker.scheduler.address, timeout=timeout_s, **worker.connection_args
    )
    comm.name = "Worker->Scheduler"
    comm._server = weakref.ref(worker)
    return comm


async def registration(worker: Worker) -> dict[str, Any]:
    """What Dask's own worker says as it registers."""
    metrics = await _metrics(worker)
    extra = await worker.get_startup_information()
    now = time()
    return {
        "op": "register-worker",
        "reply": False,
        "address": worker.contact_address,
        "status": worker.status.name,
        "nthreads": worker.state.nthreads,
        "name": worker.name,
        "now": now,
        "resources": worker.state.total_resources,
        "memory_limit": worker.memory_manager.memory_limit,
        "local_directory": worker.local_directory,
        "services": worker.service_ports,
        "nanny": worker.nanny,
        "pid": os.getpid(),
        "versions": get_versions(),
        "metrics": metrics,
        "extra": extra,
        "stimulus_id": f"worker-rejoin-{now}",
        "server_id": worker.id,
    }


async def _metrics(worker: Worker) -> dict[str, Any]:
    """Metrics for a registration: what tasks cost is left to the next heartbeat.

    The worker's extension for spans takes that from here, and must have given it to a
    heartbeat before it may take any again.
    """
    costs = worker.digests_total_since_heartbeat
    worker.digests_total_since_heartbeat = defaultdict(int)
    try:
        found: dict[str, Any] = await worker.get_metrics()
    finally:
        for name, cost in costs.items():
            worker.digests_total_since_heartbeat[name] += cost
    return found


async def ask(comm: Comm, message: dict[str, Any]) -> dict[str, Any]:
    """Register, and hear the answer."""
    await comm.write(message, serializers=["msgpack"])
    answer: dict[str, Any] = await comm.read(deserializers=["msgpack"])
    return answer


def note_clock(worker: Worker, asked_at: float, answer: dict[str, Any]) -> None:
    """Take over the scheduler's clock, as Dask does at registration."""
    now = time()
    if isinstance(said := answer.get("time"), int | float):
        worker.scheduler_delay = said - (asked_at + now) / 2


def now_s() -> float:
    """The clock that Dask's workers use."""
    found: float = time()
    return found


def is_running(worker: Worker) -> bool:
    """Whether it is neither closing nor closed."""
    return worker.status in (
        Status.running,
        Status.paused,
        Status.closing_gracefully,
    )


def is_retiring(worker: Worker) -> bool:
    """Whether the scheduler has asked it to work no more, and to go."""
    return bool(worker.status == Status.closing_gracefully)


async def force_close(worker: Worker) -> None:
    """End a worker whose state is broken, and its process if that fails."""
    await _force_close(worker, "dtf-rejoin-fail-hard")


def be_another(worker: Worker) -> None:
    """Give it a new name: to schedulers it is another worker then."""
    worker.id = f"{type(worker).__name__}-{uuid.uuid4()}"


def point_to_leader(worker: Worker, address: str, term: int) -> None:
    """Have connections look for a leader of this term, first at this coordinator."""
    contact = parse_contact(worker.scheduler.address)
    named = [one for one in contact.coordinators if str(one) == address]
    leader: Coordinator | None = named[0] if named else None
    heard_of_leader(contact, leader, term)


def stay(worker: Worker) -> bool:
    """If the worker was retiring, be as if it were not; whether it was.

    The next scheduler knows nothing of it: it is to be asked anew.
    """
    if not is_retiring(worker):
        return False
    worker.status = Status.running
    return True


def leave_gracefully(worker: Worker) -> None:
    """Have the scheduler retire the worker, which then closes."""
    worker.loop.add_callback(
        worker.close_gracefully, reason="worker-close-gracefully-resumed"
    )

"""The private names of Dask's client that its durable half leans on, all in here.

`broken` names what an installed version of Dask no longer has; a contract test keeps it
empty, and no half is attached to a client of another make. (`client_methods` overrides
methods of Dask's, whose names are checked here, too.)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import dask
from dask.core import validate_key
from distributed import Client, Future, fire_and_forget
from distributed.batched import BatchedSend
from distributed.client import FutureState
from distributed.comm.core import CommClosedError, connect
from distributed.scheduler import _task_to_report_msg
from distributed.utils import thread_state

from dtf_dask.durable import dask_streams

VERSIONS = ("2026.3", "2026.8")
"""The oldest and the newest release of distributed that the tests were run with."""

RELEASES, DESIRES = "client-releases-keys", "client-desires-keys"
CANCELS, GRAPH = "cancel-keys", "update-graph"
"""Messages of Dask's client that become operations."""

_COORDINATOR = "dtf"  # as `dtf_dask.comm.greeting.KEY`, in the handshake of a comm
_GRAPH_PARAMETERS = (
    *("self", "expr", "keys", "span_metadata", "workers", "allow_other_workers"),
    *("internal_priority", "user_priority", "resources", "retries", "fifo_timeout"),
    *("actors",),
)
# Which method of the client says, or does, what is overridden or taken.
_SAID: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "_graph_to_futures",
        (
            '"op": "update-graph"',
            '"expr_ser": expr_ser',
            '"keys": set(keys)',
            '"submitting_task": getattr(thread_state, "key", None)',
            '"annotations": ToPickle(annotations)',
            '"code": ToPickle(computations)',
            '"span_metadata": ToPickle(span_metadata)',
            "self._send_to_scheduler(",
        ),
    ),
    ("_send_to_scheduler", ("add_callback(self._send_to_scheduler_safe, msg)",)),
    ("_send_to_scheduler_safe", ("self._pending_msg_buffer.append(msg)",)),
    ("_release_key", ('"op": "client-releases-keys", "keys": [key]',)),
    ("_cancel", ('"op": "cancel-keys"', '"force": force', '"reason": reason')),
    ("_start", ("self._ensure_connected(", "self._handle_report()")),
    ("_reconnect", ("self._ensure_connected(", "st.cancel(", "self._close()")),
    (
        "_ensure_connected",
        (
            "self.scheduler_comm = bcomm",
            'self.status = "running"',
            'msg[0]["op"] == "stream-start"',
            "self._connecting_to_scheduler",
        ),
    ),
    (
        "_handle_report",
        (
            "self.scheduler_comm.comm.read()",
            "await self._reconnect()",
            "self._stream_handlers[op]",
            "handler(**msg)",
        ),
    ),
    ("_retry", ("self.scheduler.retry(keys=keys, client=self.id)",)),
    ("_close", ('"op": "close-client"', "self._release_key(key=key)")),
    ("start", ("self._start(**kwargs)",)),
    ("unsubscribe_topic", ('"op": "unsubscribe-topic"',)),
    ("_handle_event", ("handler = self._event_handlers[topic]",)),
)


_GATHERED_S = 0.002
_ON_ITS_WAY_S = 60.0  # events of a topic that the scheduler is told to send no more of

FORGOTTEN = "already forgotten"
"""Why Dask's scheduler cancels what it cannot have any more, though clients want it."""


def broken() -> tuple[str, ...]:
    """Say what is missing of what the durable half uses; empty if all is there."""
    missing = []
    for name, texts in _SAID:
        source = _source(getattr(Client, name, None))
        missing += [f"{text} in Client.{name}" for text in texts if text not in source]
    if f'"reason": "{FORGOTTEN}"' not in inspect.getsource(_task_to_report_msg):
        missing.append(f"the reason {FORGOTTEN!r} in _task_to_report_msg")
    if f'"op": "{DESIRES}"' not in inspect.getsource(fire_and_forget):
        missing.append(f"{DESIRES} in fire_and_forget")
    made = tuple(inspect.signature(Client._graph_to_futures).parameters)
    if made != _GRAPH_PARAMETERS:
        missing.append(f"Client._graph_to_futures{made}")
    erred = list(inspect.signature(Client._handle_task_erred).parameters)
    if erred != ["self", "key", "exception", "traceback"]:
        missing.append(f"Client._handle_task_erred{tuple(erred)}")
    made_of = inspect.getsource(Client.__init__)
    missing += [
        f"{name} of a client"
        for name in (
            *("self.futures = dict()", "self._event_handlers = {}"),
            *("self._stream_handlers = {", "self._refcount_lock = threading.RLock()"),
            *("self._pending_msg_buffer = []", "self.preloads = "),
        )
        if name not in made_of
    ]
    if "buffer" not in inspect.getsource(BatchedSend.send):
        missing.append("BatchedSend.send")
    missing += dask_streams.broken()
    missing += [
        f"FutureState.{name}"
        for name in ("cancel", "retry", "set_error")
        if not callable(getattr(FutureState, name, None))
    ]
    return tuple(missing)


def _source(method: Any) -> str:
    return inspect.getsource(method) if callable(method) else ""


# -- the stream between a client and its scheduler ------------------------------------


def stream_of(client: Any) -> BatchedSend | None:
    """The client's stream to the scheduler, if it has one."""
    found: BatchedSend | None = client.scheduler_comm
    return found


def is_coordinator(stream: BatchedSend) -> bool:
    """Whether who is at the other end greeted as a coordinator of a cluster."""
    return bool(greeting_of(stream))


def greeting_of(stream: BatchedSend) -> Mapping[str, Any]:
    """What a coordinator said of itself in the handshake; empty if it is none."""
    info = getattr(stream.comm, "remote_info", None)
    found = info.get(_COORDINATOR) if isinstance(info, Mapping) else None
    return found if isinstance(found, Mapping) else {}


async def heard(stream: BatchedSend) -> list[dict[str, Any]]:
    """The next messages of the scheduler."""
    comm: Any = stream.comm
    found = await comm.read()
    return list(found) if isinstance(found, list | tuple) else [found]


def say(stream: BatchedSend | None, message: Mapping[str, Any]) -> bool:
    """Send a message; False if the stream is closed."""
    if stream is None:
        return False
    try:
        stream.send(message)
    except CommClosedError:
        return False
    return True


def hurry(client: Any) -> None:
    """Have all that was said sent now, if there is a scheduler: it is waited for."""
    stream = stream_of(client)
    if stream is not None:
        dask_streams.hurry(stream)


def say_first(stream: BatchedSend, message: Mapping[str, Any]) -> None:
    """Send the first message; from now on none waits long for those that follow it.

    Dask gathers them for 10 ms: as long as it takes until the ledger has a submission.
    """
    dask_streams.gather_for(stream, _GATHERED_S)
    say(stream, message)


def drop_stream(client: Any) -> None:
    """The client has no scheduler any more, and looks for one."""
    stream = client.scheduler_comm
    client.scheduler_comm = None
    if stream is not None:
        stream.abort()
    if client.status == "running":
        client.status = "connecting"


def break_stream(client: Any) -> None:
    """Have the client notice that its scheduler is gone."""
    stream = client.scheduler_comm
    if stream is not None and stream.comm is not None:
        stream.comm.abort()


async def term_of_leader(client: Any, timeout_s: float) -> int | None:
    """The term of whoever lets clients in now; None if nobody does in time."""
    try:
        comm = await connect(
            client.scheduler.address, timeout=timeout_s, **client.connection_args
        )
    except OSError:
        return None
    found = comm.remote_info.get(_COORDINATOR)
    comm.abort()
    return found.get("term") if isinstance(found, Mapping) else None


def keep_for_later(client: Any, message: Mapping[str, Any]) -> None:
    """Have Dask's client send a message once it is connected."""
    client._pending_msg_buffer.append(message)


def kept_for_later(client: Any) -> list[Mapping[str, Any]]:
    """What was kept for later is to be sent now."""
    found = list(client._pending_msg_buffer)
    client._pending_msg_buffer.clear()
    return found


def topics(client: Any) -> list[str]:
    """Topics whose events the client hears."""
    hearing = list(client._event_handlers.items())
    return [topic for topic, hears in hearing if hears is not _nobody]


def unsubscribe(client: Any, topic: str) -> None:
    """Hear no more of a topic; on the client's loop.

    Dask's client would keep who has heard of it, and all that belongs to him, for ever.
    """
    if client.status in ("closing", "closed"):
        return
    client.unsubscribe_topic(topic)
    handlers = client._event_handlers
    handlers[topic] = _nobody  # of what is on its way still

    def forget() -> None:
        if handlers.get(topic) is _nobody:
            del handlers[topic]

    client.loop.call_later(_ON_ITS_WAY_S, forget)


def _nobody(event: Any) -> None:
    """Hear an event of a topic that nobody wants to hear of any more."""


def handlers(client: Any) -> dict[str, Callable[..., Any]]:
    """What the client does with a message, by its ``op``; to be added to."""
    found: dict[str, Callable[..., Any]] = client._stream_handlers
    return found


# -- futures ----------------------------------------------------------------------


def make_futures(client: Any, keys: Iterable[Hashable]) -> dict[Hashable, Any]:
    """Futures of keys, checked as Dask's client does."""
    with client._refcount_lock:
        for key in keys:
            validate_key(key)
        return {key: Future(key, client) for key in keys}  # type: ignore[arg-type]


def unfinished(client: Any) -> list[Hashable]:
    """Keys of futures of which nothing final is known."""
    return [
        key
        for key, state in list(client.futures.items())  # threads add to it
        if state.status in ("pending", "lost")
    ]


def fail(client: Any, key: Hashable, error: BaseException) -> None:
    """Let the future of a key fail."""
    client._handle_task_erred(key=key, exception=error)


def cancel_all(client: Any, reason: str, why: str) -> None:
    """Cancel all futures, as Dask's client does when it loses its scheduler."""
    for state in list(client.futures.values()):
        state.cancel(reason=reason, msg=why)
    client.futures.clear()


def retried(client: Any, key: Hashable) -> bool:
    """A future is pending again; False if it has not failed."""
    state = client.futures.get(key)
    if state is None or state.status != "error":
        return False
    state.retry()
    return True


def show_durable(durable: Callable[[Any], bool]) -> None:
    """Give all futures a property ``durable``."""
    Future.durable = property(  # type: ignore[attr-defined]
        durable, doc="Whether what makes its value is in the ledger of the cluster."
    )


# -- what is submitted ------------------------------------------------------------


def annotations_of(
    workers: Any,
    allow_other_workers: Any,
    user_priority: Any,
    resources: Any,
    retries: Any,
) -> dict[str, Any]:
    """What is annotated, the arguments of a submission among it."""
    if allow_other_workers not in (True, False, None):
        raise TypeError("allow_other_workers= must be True, False, or None")
    if workers and not isinstance(workers, list | tuple | set):
        workers = [workers]
    said = {
        "priority": user_priority,
        "workers": workers,
        "retries": retries,
        "allow_other_workers": allow_other_workers,
        "resources": resources,
    }
    return {
        **dask.get_annotations(),
        **{name: value for name, value in said.items() if value},
    }


def submitting_task() -> Hashable | None:
    """The key of the task in whose thread this is."""
    found: Hashable | None = getattr(thread_state, "key", None)
    return found


def code_of(client: Any) -> tuple[Any, ...]:
    """The lines that submit, as far as they are to be shown."""
    frames = dask.config.get("distributed.diagnostics.computations.nframes")
    found: tuple[Any, ...] = client._get_computation_code(nframes=frames)
    return found


def actors_of(client: Any, actors: Any) -> Any:
    """Which tasks make actors: all, none, or their keys."""
    if actors is None or actors is True or actors is False:
        return actors
    return list(client._expand_key(actors))

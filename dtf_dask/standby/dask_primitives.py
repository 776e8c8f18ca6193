"""What dtf leans on of Dask's primitives of coordination, all in this module.

`broken` names what an installed version of Dask no longer has; a contract test keeps
it empty, and who takes these over asks before it touches anything.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgpack
from distributed import Scheduler
from distributed.event import EventExtension
from distributed.lock import Lock
from distributed.metrics import time
from distributed.multi_lock import MultiLockExtension
from distributed.protocol.core import dumps, loads
from distributed.publish import PublishExtension
from distributed.queues import QueueExtension
from distributed.semaphore import Semaphore, SemaphoreExtension
from distributed.utils import Deadline, wait_for
from distributed.variable import VariableExtension

VERSIONS = ("2026.3", "2026.8")
"""The oldest and the newest release of distributed that the tests were run with."""

Handler = Callable[..., Any]

_EXTENSIONS: Mapping[str, type] = {
    "variables": VariableExtension,
    "queues": QueueExtension,
    "events": EventExtension,
    "semaphores": SemaphoreExtension,
    "multi_locks": MultiLockExtension,
    "publish": PublishExtension,
}

# Of an instance of each extension: an attribute, and what it is.
_STATE: tuple[tuple[str, str, type], ...] = (
    *(("variables", name, dict) for name in ("variables", "waiting")),
    *(("queues", name, dict) for name in ("queues", "client_refcount")),
    ("queues", "future_refcount", dict),
    *(("events", name, dict) for name in ("_events", "_waiter_count")),
    *(("semaphores", name, dict) for name in ("events", "max_leases", "leases")),
    *(("semaphores", "lease_timeouts", dict), ("semaphores", "metrics", dict)),
    *(("multi_locks", name, dict) for name in ("locks", "requests", "requests_left")),
    ("publish", "datasets", dict),
)

# Which function leans on which name: what nobody calls any more would be ignored.
_CALL_SITES: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (VariableExtension.set, ("client_desires_keys", "variables", "release")),
    (VariableExtension.release, ("waiting", "client_releases_keys")),
    (VariableExtension.get, ("variables", "started", "waiting")),
    (VariableExtension.delete, ("release", "variables", "remove_client")),
    (VariableExtension.future_received_confirm, ("client_desires_keys",)),
    (QueueExtension.get, ("queues", "get")),
    (EventExtension.event_wait, ("_events", "_waiter_count")),
    (SemaphoreExtension.acquire, ("_get_lease", "events")),
    (SemaphoreExtension.release, ("_release_value",)),
    (SemaphoreExtension._check_lease_timeout, ("_release_value", "leases")),
    (SemaphoreExtension._get_lease, ("leases", "max_leases")),
    (MultiLockExtension.acquire, ("_request_locks", "_retain_locks", "requests_left")),
    (MultiLockExtension.release, ("_retain_locks", "requests")),
    (PublishExtension.put, ("_sync_batched_send", "datasets")),
    (Scheduler.set_metadata, ("task_metadata",)),
    (Scheduler.register_worker_plugin, ("worker_plugins", "broadcast")),
    (Scheduler.register_nanny_plugin, ("nanny_plugins", "broadcast")),
    (Scheduler.register_scheduler_plugin, ("add_plugin",)),
)

_ARGUMENTS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (VariableExtension.set, ("name", "key", "data", "client", "timeout")),
    (VariableExtension.get, ("name", "client", "timeout")),
    (QueueExtension.put, ("name", "key", "data", "client", "timeout")),
    (QueueExtension.get, ("name", "client", "timeout", "batch")),
    (SemaphoreExtension.acquire, ("name", "timeout", "lease_id")),
    (SemaphoreExtension.refresh_leases, ("name", "lease_ids")),
    (MultiLockExtension.acquire, ("locks", "id", "timeout", "num_locks")),
    (
        PublishExtension.put,
        ("names", "keys", "data", "override", "client", "uid"),
    ),
    (PublishExtension.delete, ("names", "client", "uid")),
)


def broken(scheduler: Scheduler) -> tuple[str, ...]:
    """Say what is missing of what is used; empty if all is there."""
    missing = [
        f"the extension {name}"
        for name, made in _EXTENSIONS.items()
        if not isinstance(scheduler.extensions.get(name), made)
    ]
    missing += [
        f"{extension}.{name}"
        for extension, name, made in _STATE
        if not isinstance(
            getattr(scheduler.extensions.get(extension), name, None), made
        )
    ]
    missing += [
        f"{called} in {caller.__qualname__}"
        for caller, names in _CALL_SITES
        for called in names
        if called not in inspect.unwrap(caller).__code__.co_names
    ]
    missing += [
        f"{called.__qualname__}{names}"
        for called, names in _ARGUMENTS
        if tuple(inspect.signature(called).parameters)[1:] != names
    ]
    missing += [
        f"asyncio.Queue.{name}"
        for name in ("_put", "_get", "_queue")
        if not hasattr(asyncio.Queue(), name)
    ]
    if not issubclass(Lock, Semaphore):
        missing.append("a Lock that is a Semaphore")
    for name in ("task_metadata", "worker_plugins", "nanny_plugins", "plugins"):
        if not isinstance(getattr(scheduler, name, None), dict):
            missing.append(f"Scheduler.{name}")
    return tuple(missing)


def packed(value: Any) -> bytes:
    """A value that came by a comm, as bytes; what is serialized in it stays closed."""
    frames = [bytes(frame) for frame in dumps(value)]
    made: bytes = msgpack.packb(frames)
    return made


def unpacked(value: bytes) -> Any:
    """What `packed` made; what is serialized in it stays closed."""
    return loads(msgpack.unpackb(value), deserialize=False)


class KeptQueue(asyncio.Queue[Any]):
    """A queue that says what is put into it, and taken: each item has a number."""

    def __init__(
        self,
        maxsize: int,
        first: int,
        changed: Callable[[int, Any], None],
    ) -> None:
        self._next = first
        self._numbers: list[int] = []
        self._taken = 0
        self._changed = changed
        super().__init__(maxsize)

    def restore(self, number: int, item: Any) -> None:
        """An item that is in the ledger already; they come in their order."""
        self._next = max(self._next, number + 1)
        self._numbers.append(number)
        self._queue.append(item)  # type: ignore[attr-defined]

    def items(self) -> list[tuple[int, Any]]:
        """All that is in it."""
        waiting: Iterable[Any] = self._queue  # type: ignore[attr-defined]
        return list(zip(self._numbers[self._taken :], waiting, strict=True))

    def _put(self, item: Any) -> None:
        super()._put(item)  # type: ignore[misc]
        self._numbers.append(self._next)
        self._changed(self._next, item)
        self._next += 1

    def _get(self) -> Any:
        item = super()._get()  # type: ignore[misc]
        self._changed(self._numbers[self._taken], None)
        self._taken += 1
        if 2 * self._taken > len(self._numbers):
            del self._numbers[: self._taken]
            self._taken = 0
        return item


class Wishes:
    """Stands between an extension and its scheduler: who wants which keys is said.

    Dask's extensions wish for keys at once. Here that goes the way of all wishes, in
    the order of the journal, so that a successor comes to the same.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        desired: Callable[[Iterable[Any], str], None],
        released: Callable[[Iterable[Any], str], None],
        gone: Callable[[str], None],
    ) -> None:
        self._scheduler = scheduler
        self._desired, self._released, self._gone = desired, released, gone

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)

    def client_desires_keys(self, keys: Iterable[Any], client: str) -> None:
        """Called by Dask's extensions."""
        self._desired(keys, client)

    def client_releases_keys(
        self, keys: Iterable[Any], client: str, stimulus_id: str | None = None
    ) -> None:
        """Called by Dask's extensions."""
        self._released(keys, client)

    def remove_client(self, client: str, stimulus_id: str | None = None) -> None:
        """Called by Dask's extensions."""
        self._gone(client)


def wants(scheduler: Scheduler, client: str) -> set[Any]:
    """The keys that a client wants, or what stands for one."""
    found = scheduler.clients.get(client)
    return set() if found is None else {task.key for task in found.wants_what}


def on_lease(
    semaphores: SemaphoreExtension,
    given: Callable[[Any, str], None],
    ended: Callable[[Any, str], None],
) -> None:
    """Be told of each lease that is given, and of each that ends for any reason."""
    give, end = semaphores._get_lease, semaphores._release_value

    def get_lease(name: Any, lease_id: str) -> bool:
        got: bool = give(name, lease_id)
        if got:
            given(name, lease_id)
        return got

    def release_value(name: Any, lease_id: str) -> None:
        end(name, lease_id)
        ended(name, lease_id)

    vars(semaphores).update(_get_lease=get_lease, _release_value=release_value)


def restore_lease(semaphores: SemaphoreExtension, name: Any, lease_id: str) -> None:
    """A lease of before: it has all its time again."""
    semaphores.leases[name][lease_id] = time()


def restore_event(events: EventExtension, name: Any) -> None:
    """An event that was set."""
    events._events[name].set()


async def put_in_time(queue: asyncio.Queue[Any], item: Any, deadline: Deadline) -> None:
    """Put an item into a queue when it has room.

    Raises
    ------
    TimeoutError
        It has none in time.
    """
    left: Any = deadline.remaining  # None for no end, which Dask's hints do not know
    await wait_for(queue.put(item), timeout=left)


async def flushed(publish: PublishExtension, client: str, uid: Any) -> None:
    """Wait until a client's stream has come as far as its call.

    Raises
    ------
    TimeoutError
        The client is gone.
    """
    await publish._sync_batched_send(client, uid)

"""The workers as the engine knows them, and how many of their threads others take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from distributed import Scheduler
from distributed.scheduler import TaskState, WorkerState

from dtf_dask.scheduler_plugins.adapter import dask_grants
from dtf_dask.scheduler_plugins.adapter.governed import Key
from dtf_dask.scheduler_plugins.adapter.offers import offer, unhealthy
from dtf_dask.scheduler_plugins.engine.terms import Offer

EXTRA = "dtf_hardware"
"""The key of a worker's first advert in ``WorkerState.extra``."""


class _Told(Protocol):
    def worker_joined(self, name: str, offer: Offer, now: float) -> None: ...
    def worker_changed(self, name: str, offer: Offer, now: float) -> None: ...
    def worker_left(self, name: str, now: float) -> object: ...
    def worker_load(self, name: str, foreign: int, now: float) -> None: ...
    def worker_health(self, name: str, ok: bool, reason: str, now: float) -> None: ...
    def worker_paused(self, name: str, paused: bool, now: float) -> None: ...


class Post:
    """One worker.

    ``own`` counts the governed tasks that take, or wait for, one of its threads.
    """

    __slots__ = (
        *("advert", "name", "offer", "own", "paused", "problems", "taken"),
        *("unhealthy", "ws"),
    )

    def __init__(self, name: str, ws: WorkerState) -> None:
        self.name, self.ws = name, ws
        self.advert: Any = ws.extra.get(EXTRA)
        self.own = 0
        self.taken = 0
        self.paused = False
        self.unhealthy = ""
        self.offer, self.problems = self.offered()

    @property
    def runs(self) -> bool:
        """Whether it takes new tasks."""
        return dask_grants.is_running(self.ws)

    def offered(self) -> tuple[Offer, tuple[str, ...]]:
        """What it has, by what it and Dask say now."""
        ws = self.ws
        return offer(
            self.advert,
            threads=ws.nthreads,
            memory=ws.memory_limit,
            resources=ws.resources,
        )

    def foreign(self) -> int:
        """Tasks that are not the engine's and take, or wait for, one of its threads."""
        return len(self.ws.processing) - len(self.ws.long_running) - self.own

    def has_free_thread(self) -> bool:
        """Whether what it is given now begins now."""
        return len(self.ws.processing) - len(self.ws.long_running) < self.ws.nthreads


class Posts:
    """All workers, by the name that the engine knows them by."""

    def __init__(self, engine: _Told, scheduler: Scheduler) -> None:
        self._engine, self._scheduler = engine, scheduler
        self._by_name: dict[str, Post] = {}
        self._by_address: dict[str, Post] = {}
        # Dicts, for an order that does not hang on hashes.
        self._touched: dict[str, None] = {}
        self._changed: dict[str, None] = {}

    def get(self, name: str) -> Post | None:
        """The worker of this name."""
        return self._by_name.get(name)

    def at(self, address: str) -> Post | None:
        """The worker at this address."""
        return self._by_address.get(address)

    def all(self) -> Iterable[Post]:
        """All of them, in the order in which they came."""
        return self._by_name.values()

    def joined(self, address: str, now: float) -> None:
        """A worker came."""
        ws = self._scheduler.workers[address]
        name = str(ws.name)
        post = Post(address if name in self._by_name else name, ws)
        self._by_name[post.name] = self._by_address[address] = post
        self._engine.worker_joined(post.name, post.offer, now)
        self._check_health(post, now)
        self._touched[address] = None

    def left(self, address: str, now: float) -> None:
        """A worker went."""
        post = self._by_address.pop(address, None)
        self._touched.pop(address, None)
        self._changed.pop(address, None)
        if post is not None:
            del self._by_name[post.name]
            self._engine.worker_left(post.name, now)

    def touched(self, address: str) -> bool:
        """Something about a worker may be otherwise; whether it is one of ours."""
        if address not in self._by_address:
            return False
        self._touched[address] = None
        return True

    def told(self, address: str, advert: Any = None) -> bool:
        """A worker says something new of itself, or its resources were changed."""
        post = self._by_address.get(address)
        if post is None:
            return False
        if advert is not None:
            post.advert = advert
        self._changed[address] = None
        return self.touched(address)

    def foreign_moved(self, key: Key, worker: str | None) -> None:
        """A task that is not the engine's came to a worker, or left one."""
        ts = self._scheduler.tasks.get(key)
        if ts is not None and ts.processing_on is not None:
            worker = ts.processing_on.address
        if worker is not None:
            self.touched(worker)
        else:  # nobody says where it was
            self._touched.update(dict.fromkeys(self._by_address))

    def recount(self) -> None:
        """No task is anywhere any more."""
        for post in self._by_name.values():
            post.own = 0
        self._touched.update(dict.fromkeys(self._by_address))

    def refresh(self, now: float) -> list[Post]:
        """Tell the engine what changed since it was last told.

        Returns
        -------
        list
            Workers that have stopped to take tasks.
        """
        stopped = []
        changed, self._changed = self._changed, {}
        for address in changed:
            post = self._by_address[address]
            post.offer, post.problems = post.offered()
            self._engine.worker_changed(post.name, post.offer, now)
            self._check_health(post, now)
        touched, self._touched = self._touched, {}
        for address in touched:
            post = self._by_address[address]
            if post.paused == post.runs:
                post.paused = not post.runs
                self._engine.worker_paused(post.name, post.paused, now)
                if post.paused:
                    stopped.append(post)
            if (foreign := post.foreign()) != post.taken:
                post.taken = foreign
                self._engine.worker_load(post.name, foreign, now)
        return stopped

    def _check_health(self, post: Post, now: float) -> None:
        why = unhealthy(post.advert)
        if why != post.unhealthy:
            post.unhealthy = why
            self._engine.worker_health(post.name, not why, why, now)

    def names(
        self, addresses: Iterable[str] | None, hosts: Iterable[str] | None
    ) -> frozenset[str]:
        """The workers that Dask's restrictions allow. Some may not be there yet."""
        found = set()
        for address in addresses or ():
            post = self._by_address.get(address)
            found.add(post.name if post is not None else address)
        for host in hosts or ():
            for address in dask_grants.addresses_at(self._scheduler, host):
                if address in self._by_address:
                    found.add(self._by_address[address].name)
        return frozenset(found)

    def holders(self, ts: TaskState, inputs_max: int) -> dict[str, float]:
        """How many bytes of a task's inputs each worker holds."""
        held: dict[str, float] = {}
        for number, dts in enumerate(ts.dependencies):
            if number == inputs_max:
                break
            for ws in dts.who_has or ():
                post = self._by_address.get(ws.address)
                if post is not None:
                    held[post.name] = held.get(post.name, 0.0) + dts.get_nbytes()
        return dict(sorted(held.items()))

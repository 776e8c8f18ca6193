"""Plugins, metadata and restrictions: what clients tell a scheduler to keep.

Plugins are bytes here. Workers and nannies open theirs; a scheduler opens its own when
it leads, unless its configuration forbids that clients register any.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from distributed import Scheduler, SchedulerPlugin

from dtf_dask.standby.dask_primitives import Handler, packed, unpacked
from dtf_dask.standby.primitives_keeper import Keeper

logger = logging.getLogger(__name__)

_REGISTER_OWN = "register_scheduler_plugin"


class Plugins:
    """What clients registered on workers, nannies and the scheduler."""

    def __init__(self, scheduler: Scheduler, keeper: Keeper) -> None:
        self._scheduler, self._keeper = scheduler, keeper
        self._found: dict[str, tuple[str, bytes]] = {}
        self.changes: Mapping[str, Handler] = {
            _REGISTER_OWN: self.register,
            "unregister_scheduler_plugin": self.unregister,
            "register_worker_plugin": self.register_on_workers,
            "unregister_worker_plugin": self.unregister_on_workers,
            "register_nanny_plugin": self.register_on_nannies,
            "unregister_nanny_plugin": self.unregister_on_nannies,
        }
        self.looks: Mapping[str, Handler] = {}

    def restore_on_workers(self, name: str, number: int, plugin: bytes) -> None:
        """Of before; those come in the order in which they were registered."""
        self._scheduler.worker_plugins[name] = plugin

    def restore_on_nannies(self, name: str, number: int, plugin: bytes) -> None:
        """Of before."""
        self._scheduler.nanny_plugins[name] = plugin

    def restore(self, name: str, number: int, plugin: bytes) -> None:
        """Of before: `restored` opens it."""
        self._found[name] = ("", plugin)

    async def restored(self) -> None:
        """Start the scheduler's own, one after the other."""
        for name, (_, plugin) in self._found.items():
            if _REGISTER_OWN in self._scheduler.blocked_handlers:
                logger.warning("The plugin %r is not started: plugins are barred", name)
                continue
            try:
                await self._scheduler.register_scheduler_plugin(
                    plugin, name, idempotent=True
                )
            except Exception:
                logger.exception("The plugin %r does not start any more", name)
        self._found.clear()

    async def register(
        self, plugin: bytes, name: str | None = None, *, idempotent: bool
    ) -> None:
        """As Dask's."""
        before = dict(self._scheduler.plugins)
        await self._scheduler.register_scheduler_plugin(
            plugin, name, idempotent=idempotent
        )
        for added, found in self._scheduler.plugins.items():
            if before.get(added) is not found and name in (added, None):
                self._put("scheduler-plugin", added, plugin)

    async def unregister(self, name: str) -> None:
        """As Dask's."""
        await self._scheduler.unregister_scheduler_plugin(name)
        self._keeper.drop("scheduler-plugin", name)

    async def register_on_workers(
        self, plugin: bytes, name: str, *, idempotent: bool
    ) -> Any:
        """As Dask's, but it is kept before workers hear of it."""
        if name not in self._scheduler.worker_plugins or not idempotent:
            self._put("worker-plugin", name, plugin)
            await self._keeper.committed()
        return await self._scheduler.register_worker_plugin(
            comm=None, plugin=plugin, name=name, idempotent=idempotent
        )

    async def unregister_on_workers(self, name: str) -> Any:
        """As Dask's."""
        self._keeper.drop("worker-plugin", name)
        return await self._scheduler.unregister_worker_plugin(comm=None, name=name)

    async def register_on_nannies(
        self, plugin: bytes, name: str, *, idempotent: bool
    ) -> Any:
        """As Dask's, but it is kept before nannies hear of it."""
        if name not in self._scheduler.nanny_plugins or not idempotent:
            self._put("nanny-plugin", name, plugin)
            await self._keeper.committed()
        return await self._scheduler.register_nanny_plugin(
            comm=None, plugin=plugin, name=name, idempotent=idempotent
        )

    async def unregister_on_nannies(self, name: str) -> Any:
        """As Dask's."""
        self._keeper.drop("nanny-plugin", name)
        return await self._scheduler.unregister_nanny_plugin(comm=None, name=name)

    def _put(self, kind: str, name: str, plugin: bytes) -> None:
        self._keeper.put(kind, name, self._keeper.number(), bytes(plugin))


class Metadata:
    """What clients set by a path, and where they want tasks to run.

    Dask drops both with the task of that key; so are their records.
    """

    def __init__(self, scheduler: Scheduler, keeper: Keeper) -> None:
        self._scheduler, self._keeper = scheduler, keeper
        self._paths: dict[Any, set[tuple[Any, ...]]] = {}
        self._restricted: set[Any] = set()
        self.changes: Mapping[str, Handler] = {
            "set_metadata": self.set,
            "set_restrictions": self.restrict,
        }
        self.looks: Mapping[str, Handler] = {"get_metadata": scheduler.get_metadata}

    def restore(self, path: tuple[Any, ...], number: int, value: bytes) -> None:
        """Of before; those come in the order in which they were set."""
        self._scheduler.set_metadata(list(path), unpacked(value))
        self._paths.setdefault(path[0], set()).add(path)
        self._watch()

    def restore_restrictions(self, key: Any, workers: tuple[str, ...]) -> None:
        """Where a task may run."""
        if key not in self._scheduler.tasks:
            self._keeper.drop("restrictions", key)
            return
        self._scheduler.set_restrictions({key: workers})
        self._restricted.add(key)
        self._watch()

    def set(self, keys: Sequence[Any], value: Any = None) -> None:
        """As Dask's."""
        path = tuple(keys)
        self._keeper.put("metadata", path, self._keeper.number(), packed(value))
        paths = self._paths.setdefault(path[0], set())
        for below in [one for one in paths if one[: len(path)] == path and one != path]:
            self._keeper.drop("metadata", below)
            paths.discard(below)
        paths.add(path)
        self._scheduler.set_metadata(list(keys), value)
        self._watch()

    def restrict(self, worker: Mapping[Any, Collection[str] | str | None]) -> None:
        """As Dask's."""
        self._scheduler.set_restrictions(dict(worker))
        for key, named in worker.items():
            workers = (named,) if isinstance(named, str) else tuple(named or ())
            self._keeper.put("restrictions", key, workers)
            self._restricted.add(key)
        self._watch()

    def forgotten(self, key: Any) -> None:
        """A task is forgotten."""
        for path in self._paths.pop(key, ()):
            self._keeper.drop("metadata", path)
        if key in self._restricted:
            self._restricted.discard(key)
            self._keeper.drop("restrictions", key)
        self._keeper.soon()

    def cleared(self) -> None:
        """The cluster was restarted: Dask forgets all of it."""
        for key in {*self._paths, *self._restricted}:
            self.forgotten(key)

    def concerns(self, key: Any) -> bool:
        """Whether anything is kept of a task."""
        return key in self._paths or key in self._restricted

    def _watch(self) -> None:
        # Only when there is anything to watch for: it is called at each transition.
        if _Forgotten.name not in self._scheduler.plugins:
            self._scheduler.add_plugin(_Forgotten(self), name=_Forgotten.name)


class _Forgotten(SchedulerPlugin):
    """Tells of tasks that Dask forgets."""

    name = "dtf-forgotten"

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    def transition(
        self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any
    ) -> None:
        """Called by Dask."""
        if finish == "forgotten" and self._metadata.concerns(key):
            self._metadata.forgotten(key)

    def restart(self, scheduler: Scheduler) -> None:
        """Called by Dask."""
        self._metadata.cleared()

"""Scattered values, actors, and the restart of a cluster: what no graph makes.

A value, or an actor, is in the memory of workers only. The journal has its key, so that
it is known after a takeover that it was there; if its workers are gone, it is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from distributed import Scheduler
from distributed.protocol import to_serialize

from dtf_dask.errors import TaskLostError
from dtf_dask.standby.dask_primitives import Handler
from dtf_dask.standby.primitives_keeper import Keeper


class Scattered:
    """Dask's scatter, in the journal; and restart."""

    def __init__(self, scheduler: Scheduler, keeper: Keeper) -> None:
        self._scheduler, self._keeper = scheduler, keeper
        self.changes: Mapping[str, Handler] = {
            "scatter": self.scatter,
            "update_data": self.update,
            "restart": self.restart,
        }
        self.looks: Mapping[str, Handler] = {"proxy": self.proxy}
        self.streams: Mapping[str, Handler] = {"update-data": self.update}

    async def scatter(self, client: str, **arguments: Any) -> Any:
        """As Dask's."""
        keys = await self._scheduler.scatter(client=client, **arguments)
        self._said(client, keys)
        return keys

    def update(self, client: str | None = None, **arguments: Any) -> None:
        """As Dask's: a client put values into workers itself."""
        self._scheduler.update_data(client=client, **arguments)
        self._said(client, arguments["who_has"])

    async def restart(self, client: str | None = None, **arguments: Any) -> None:
        """As Dask's, once a successor would know of it."""
        self._keeper.restart(client or "")
        await self._keeper.committed()
        await self._scheduler.restart(client=client, **arguments)

    async def proxy(
        self, msg: Mapping[str, Any], worker: str, serializers: Any = None
    ) -> Any:
        """As Dask's; but a worker that is gone for good is not waited for."""
        if worker not in self._scheduler.workers and "actor" in msg:
            lost = TaskLostError(
                f"the actor {msg['actor']!r} is lost with its worker {worker}"
            )
            return {"status": "error", "exception": to_serialize(lost)}
        return await self._scheduler.proxy(
            msg=dict(msg), worker=worker, serializers=serializers
        )

    def _said(self, client: str | None, keys: Iterable[Any]) -> None:
        tasks = self._scheduler.tasks
        sizes = {key: max(tasks[key].nbytes, 0) for key in keys if key in tasks}
        if client is not None and sizes:
            self._keeper.scattered(client, sizes)

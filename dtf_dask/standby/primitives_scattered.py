"""Scattered values, actors, and the restart of a cluster: what no graph makes.

A value, or an actor, is in the memory of workers only. The journal has its key, so that
it is known after a takeover that it was there; if its workers are gone, it is lost.
What is known stays what it was, whatever is scattered under its name: or else workers
would have different values of one key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from distributed import Scheduler
from distributed.protocol import to_serialize

from dtf_dask.errors import TaskLostError
from dtf_dask.standby.dask_adopting import free
from dtf_dask.standby.dask_primitives import Handler
from dtf_dask.standby.primitives_keeper import Keeper

_NAMES_ITS_VALUE = re.compile(r"-[0-9a-f]{32}\Z")
"""How a name ends that Dask's clients make: another value has another one."""


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

    async def scatter(
        self, client: str, data: Mapping[Any, Any], **arguments: Any
    ) -> Any:
        """As Dask's."""
        known = self._known(data)
        # From now on it stays, whoever lets go of it meanwhile.
        self._scheduler.client_desires_keys(keys=list(known), client=client)
        new = {key: value for key, value in data.items() if key not in known}
        if new:
            await self._scheduler.scatter(client=client, data=new, **arguments)
        self._said(client, data)
        return list(data)

    def update(
        self,
        who_has: Mapping[Any, list[str]],
        client: str | None = None,
        **arguments: Any,
    ) -> None:
        """As Dask's: a client put values into workers itself."""
        scheduler, known = self._scheduler, self._known(who_has)
        if client is not None:
            scheduler.client_desires_keys(keys=list(known), client=client)
        for key in known:
            holders = scheduler.tasks[key].who_has or ()
            for address in map(scheduler.coerce_address, who_has[key]):
                if scheduler.workers.get(address) not in holders:
                    free(scheduler, address, [key])
        new = {key: where for key, where in who_has.items() if key not in known}
        scheduler.update_data(who_has=new, client=client, **arguments)
        self._said(client, who_has)

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

    def _known(self, keys: Iterable[Any]) -> dict[Any, None]:
        """Those that workers have, unless what they are named by is the value."""
        tasks = self._scheduler.tasks
        return dict.fromkeys(
            key
            for key in keys
            if key in tasks
            and tasks[key].who_has
            and not (isinstance(key, str) and _NAMES_ITS_VALUE.search(key))
        )

    def _said(self, client: str | None, keys: Iterable[Any]) -> None:
        tasks = self._scheduler.tasks
        sizes = {key: max(tasks[key].nbytes, 0) for key in keys if key in tasks}
        if client is not None and sizes:
            self._keeper.scattered(client, sizes)

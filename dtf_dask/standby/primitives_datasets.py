"""What is published: datasets under a name, whose keys are wanted as long as it has it.

A dataset stays closed: it is opened by clients that get it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dask.utils import stringify
from distributed import Scheduler

from dtf_dask.standby.dask_primitives import Handler, flushed, packed, unpacked
from dtf_dask.standby.primitives_holders import Holders
from dtf_dask.standby.primitives_keeper import Keeper


class Datasets:
    """What is published, kept."""

    def __init__(self, scheduler: Scheduler, keeper: Keeper) -> None:
        self._scheduler, self._keeper = scheduler, keeper
        self._holders = Holders(scheduler, keeper)
        self._own = scheduler.extensions["publish"]
        self.changes: Mapping[str, Handler] = {
            "publish_put": self.put,
            "publish_delete": self.delete,
        }
        self.looks: Mapping[str, Handler] = {
            "publish_list": self._own.list,
            "publish_get": self._own.get,
        }
        self.streams: Mapping[str, Handler] = {}
        self.sayings: Mapping[str, Handler] = {}

    def restore(self, name: Any, keys: tuple[Any, ...], value: bytes) -> None:
        """A dataset of before."""
        self._own.datasets[name] = {"data": unpacked(value), "keys": keys}

    def restored(self) -> None:
        """All are there."""
        held = {_published(name): one["keys"] for name, one in self._all().items()}
        for client in self._holders.all_of("published-"):
            self._holders.give_up_all_but(client, held.get(client, ()))

    async def put(
        self,
        names: Sequence[Any],
        keys: Sequence[Sequence[Any]],
        data: Sequence[Any],
        override: bool,
        client: str,
        uid: Any,
    ) -> None:
        """As Dask's, but all of it or nothing; ``uid`` None: the client is in time."""
        if uid is not None:
            await flushed(self._own, client, uid)
        async with self._holders.turn(""):
            if not override:
                for name in names:
                    if name in self._own.datasets:
                        raise KeyError(f"Dataset {name} already exists")
            found = list(zip(names, map(tuple, keys), data, strict=True))
            for name, wanted, _ in found:
                known = [key for key in wanted if key in self._scheduler.tasks]
                if known:
                    self._keeper.desire(_published(name), known)
            await self._keeper.committed()
            for name, wanted, value in found:
                self._keeper.put("dataset", name, wanted, packed(value))
                self._own.datasets[name] = {"data": value, "keys": wanted}
                self._holders.give_up_all_but(_published(name), wanted)

    async def delete(self, names: Sequence[Any], client: str, uid: Any) -> None:
        """As Dask's."""
        if uid is not None:
            await flushed(self._own, client, uid)
        async with self._holders.turn(""):
            for name in names:
                if self._own.datasets.pop(name, None) is not None:
                    self._keeper.drop("dataset", name)
                    self._holders.gone(_published(name))

    def _all(self) -> dict[Any, Any]:
        found: dict[Any, Any] = self._own.datasets
        return found


def _published(name: Any) -> str:
    return f"published-{stringify(name)}"

"""Variables and queues: what clients share values by, and futures."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from dask.utils import parse_timedelta
from distributed import Scheduler
from distributed.utils import Deadline

from dtf_dask.standby.dask_primitives import (
    Handler,
    KeptQueue,
    Wishes,
    packed,
    put_in_time,
    unpacked,
    wants,
)
from dtf_dask.standby.primitives_holders import Holders, in_background
from dtf_dask.standby.primitives_keeper import Keeper
from dtf_dask.standby.primitives_records import encode_record


class Variables:
    """Dask's variables, kept."""

    def __init__(self, scheduler: Scheduler, keeper: Keeper) -> None:
        self._scheduler, self._keeper = scheduler, keeper
        self._holders = Holders(scheduler, keeper)
        self._own = scheduler.extensions["variables"]
        self._own.scheduler = Wishes(
            scheduler, self._holders.desired, self._released, self._holders.gone
        )
        self.changes: Mapping[str, Handler] = {"variable_set": self.set}
        self.looks: Mapping[str, Handler] = {"variable_get": self.get}
        self.streams: Mapping[str, Handler] = {
            "variable-future-received-confirm": self.confirm
        }
        self.sayings: Mapping[str, Handler] = {"variable_delete": self.delete}

    def restore(self, name: Any, holding: tuple[str, Any]) -> None:
        """A variable of before."""
        kind, value = holding
        if kind == "msgpack":
            value = unpacked(value)
        self._own.variables[name] = {"type": kind, "value": value}

    def restored(self) -> None:
        """All are there."""
        for client in self._holders.all_of("variable-"):
            held = self._own.variables.get(client.removeprefix("variable-"), {})
            keys = [held["value"]] if held.get("type") == "Future" else []
            self._holders.give_up_all_but(client, keys)

    async def set(
        self,
        name: str,
        key: Any = None,
        data: Any = None,
        client: str | None = None,
        timeout: float | str | None = None,
    ) -> None:
        """As Dask's."""
        holding = ("Future", key) if key is not None else ("msgpack", packed(data))
        deadline = Deadline.after(parse_timedelta(timeout))
        async with self._holders.turn(name):
            if key is not None:
                await self._holders.wish(f"variable-{name}", key, deadline)
            self._keeper.put("variable", name, holding)
            # Dask's own takes no turn of the loop any more: the key is known.
            await self._own.set(name=name, key=key, data=data, timeout=timeout)

    async def get(
        self, name: str, client: str | None = None, timeout: float | None = None
    ) -> Any:
        """As Dask's; who gets a future wants its key at once."""
        found = await self._own.get(name=name, client=client, timeout=timeout)
        if found["type"] == "Future" and await self._holders.hand_over(
            client, [found["value"]]
        ):
            self._received(name, found["value"], found["token"])
        return found

    def confirm(
        self, name: str, key: Any, token: str, client: str | None = None
    ) -> None:
        """A client has the future that it was given."""
        if client is not None:
            self._holders.desired([key], client)
        self._received(name, key, token)

    async def delete(self, name: str, client: str | None = None) -> None:
        """As Dask's."""
        async with self._holders.turn(name):
            self._keeper.drop("variable", name)
            await self._own.delete(name=name)

    def _received(self, name: str, key: Any, token: str) -> None:
        """Nobody waits for this client: it may be of a leader before, and not known."""
        waiting = self._own.waiting.get((key, name))
        if waiting is None:
            return
        waiting.discard(token)
        if not waiting and name in self._own.waiting_conditions:
            in_background(self._notify(self._own.waiting_conditions[name]))

    async def _notify(self, condition: asyncio.Condition) -> None:
        async with condition:
            condition.notify_all()

    def _released(self, keys: Iterable[Any], holder: str) -> None:
        """Dask lets go of what a variable held, some time after it holds another."""
        held = self._own.variables.get(holder.removeprefix("variable-"), {})
        still = held.get("value") if held.get("type") == "Future" else None
        over = [key for key in keys if key != still]
        if over and holder in self._scheduler.clients:
            self._keeper.release(holder, over)
            self._keeper.soon()


class Queues:
    """Dask's queues, kept: a record for each item, so that long ones are no dearer."""

    def __init__(self, scheduler: Scheduler, keeper: Keeper) -> None:
        self._scheduler, self._keeper = scheduler, keeper
        self._holders = Holders(scheduler, keeper)
        self._own = scheduler.extensions["queues"]
        # Of what clients got who did not say who they are, until they say so.
        self._under_way: defaultdict[tuple[str, Any], int] = defaultdict(int)
        self.changes: Mapping[str, Handler] = {
            "queue_create": self.create,
            "queue_put": self.put,
            "queue_get": self.get,
        }
        self.looks: Mapping[str, Handler] = {"queue_qsize": self._own.qsize}
        self.streams: Mapping[str, Handler] = {"queue-future-release": self.confirm}
        self.sayings: Mapping[str, Handler] = {"queue_release": self.release}

    def restore(self, name: Any, maxsize: int, users: int) -> None:
        """A queue of before, empty."""
        self._own.queues[name] = self._made(name, maxsize)
        self._own.client_refcount[name] = users

    def restore_item(self, name: Any, number: int, holding: tuple[str, Any]) -> None:
        """An item of a queue; they come in their order."""
        queue = self._own.queues.get(name)
        if queue is None:
            self._keeper.drop("queue-item", name, number)
            return
        kind, value = holding
        if kind == "msgpack":
            value = unpacked(value)
        else:
            self._own.future_refcount[name, value] += 1
        queue.restore(number, {"type": kind, "value": value})

    def restored(self) -> None:
        """All are there."""
        for client in self._holders.all_of("queue-"):
            name = client.removeprefix("queue-")
            queue = self._own.queues.get(name)
            items = queue.items() if queue is not None else []
            held = [one["value"] for _, one in items if one["type"] == "Future"]
            self._holders.give_up_all_but(client, held)

    def create(self, name: str, client: str | None = None, maxsize: int = 0) -> None:
        """As Dask's."""
        if name not in self._own.queues:
            self._own.queues[name] = self._made(name, maxsize)
            self._own.client_refcount[name] = 0
        self._own.client_refcount[name] += 1
        self._keep(name)

    def release(self, name: str, client: str | None = None) -> None:
        """As Dask's: the last who closes a queue deletes it."""
        queue = self._own.queues.get(name)
        if queue is None:
            return
        self._own.client_refcount[name] -= 1
        if self._own.client_refcount[name] > 0:
            self._keep(name)
            return
        del self._own.client_refcount[name], self._own.queues[name]
        self._keeper.drop("queue", name)
        for number, item in queue.items():
            self._keeper.drop("queue-item", name, number)
            if item["type"] == "Future":
                self._less(name, item["value"])

    async def put(
        self,
        name: str,
        key: Any = None,
        data: Any = None,
        client: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """As Dask's."""
        deadline = Deadline.after(timeout)
        queue = self._own.queues[name]
        if key is None:
            item = {"type": "msgpack", "value": data}
            # What cannot be kept is refused here, before it is in the queue.
            encode_record("queue-item", name, 0, ("msgpack", packed(data)))
            await put_in_time(queue, item, deadline)
            return
        self._own.future_refcount[name, key] += 1
        try:
            await self._holders.wish(f"queue-{name}", key, deadline)
            item = {"type": "Future", "value": key}
            await put_in_time(queue, item, deadline)
        except BaseException:
            self._less(name, key)
            raise

    async def get(
        self,
        name: str,
        client: str | None = None,
        timeout: float | None = None,
        batch: bool | int = False,
    ) -> Any:
        """As Dask's; who gets futures wants their keys at once."""
        found = await self._own.get(name=name, timeout=timeout, batch=batch)
        items = found if batch else [found]
        keys = [item["value"] for item in items if item["type"] == "Future"]
        known = await self._holders.hand_over(client, keys)
        for key in keys:
            if known:
                self._less(name, key)
            else:
                self._under_way[name, key] += 1
        return found

    def confirm(self, name: str, key: Any, client: str | None = None) -> None:
        """A client has the future that it was given."""
        if client is not None:
            self._holders.desired([key], client)
        if self._under_way[name, key] > 0:
            self._under_way[name, key] -= 1
            self._less(name, key)
        if not self._under_way[name, key]:
            del self._under_way[name, key]

    def _made(self, name: str, maxsize: int) -> KeptQueue:
        def changed(number: int, item: Any) -> None:
            if item is None:
                self._keeper.drop("queue-item", name, number)
                return
            kind, value = item["type"], item["value"]
            holding = (kind, packed(value) if kind == "msgpack" else value)
            self._keeper.put("queue-item", name, number, holding)

        return KeptQueue(maxsize, self._keeper.number(), changed)

    def _keep(self, name: str) -> None:
        users = self._own.client_refcount[name]
        self._keeper.put("queue", name, self._own.queues[name].maxsize, users)

    def _less(self, name: str, key: Any) -> None:
        """A queue holds a key one time less."""
        self._own.future_refcount[name, key] -= 1
        if self._own.future_refcount[name, key] <= 0:
            del self._own.future_refcount[name, key]
            if key in wants(self._scheduler, f"queue-{name}"):
                self._keeper.release(f"queue-{name}", [key])
                self._keeper.soon()

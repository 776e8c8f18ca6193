"""What the scheduler answers about tasks, workers and the queue: plain values, bounded.

Each is a message to the scheduler of its own, ``dtf_explain`` and so on, as Dask's
``client.scheduler`` sends them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from distributed import Scheduler

from dtf_dask.annotations import validate
from dtf_dask.errors import UsageError
from dtf_dask.scheduler_plugins.adapter.rooms import OPEN

if TYPE_CHECKING:
    from dtf_dask.scheduler_plugins.adapter.governed import Governed, Key
    from dtf_dask.scheduler_plugins.adapter.keeper import Keeper
    from dtf_dask.scheduler_plugins.adapter.plugin import SchedulingPlugin

KEYS_MAX = 1000
ROWS_MAX = 1000
_STAGES = {
    "backoff": "it failed and is tried again in a moment",
    "parting": "its last attempt is still ending on {worker}",
    "after": "it runs after tasks that are not over",
    "known": "its inputs are not there yet",
}


class Inquiries:
    """The answers of one scheduler's plugin."""

    def __init__(self, plugin: SchedulingPlugin, scheduler: Scheduler) -> None:
        self._plugin = plugin
        self._scheduler = scheduler

    def answer(self) -> None:
        """Have the scheduler answer from now on."""
        self._scheduler.handlers.update(
            dtf_explain=self.explain,
            dtf_queue=self.queue,
            dtf_workers=self.workers,
            dtf_reprioritize=self.reprioritize,
            dtf_room=self.room,
        )

    def explain(self, keys: Sequence[Key]) -> list[dict[str, Any]]:
        """Why tasks wait, or why they ran where they did."""
        return [self._explained(_key(key)) for key in islice(keys, KEYS_MAX)]

    def queue(self) -> dict[str, Any]:
        """How much waits, and why scheduling does not work if it does not."""
        keeper = self._plugin.keeper
        answer: dict[str, Any] = {"failure": self._plugin.failure, "rows": []}
        if keeper is not None:
            now, engine = keeper.holding.clock(), keeper.holding.engine
            answer["rows"] = _plain(engine.queue_rows(now))
            answer["summary"] = _plain(engine.summary(now))
            if self._plugin.remembering is not None:
                answer["summary"]["memory"] = self._plugin.remembering.status()
        return answer

    async def room(self, **asked: Any) -> dict[str, Any]:
        """Room for tasks that a client wants to submit; see `Rooms.ask`."""
        keeper = self._plugin.keeper
        return OPEN if keeper is None else await keeper.rooms.ask(**asked)

    def workers(self) -> dict[str, Any]:
        """The workers with their groups and what is taken of them."""
        keeper = self._plugin.keeper
        answer: dict[str, Any] = {"failure": self._plugin.failure, "rows": []}
        if keeper is not None:
            now, engine = keeper.holding.clock(), keeper.holding.engine
            answer["rows"] = _plain(engine.worker_rows(now))
            answer["adverts"] = [
                {
                    "name": post.name,
                    "address": post.ws.address,
                    "problems": list(post.problems),
                }
                for post in islice(keeper.holding.posts.all(), ROWS_MAX)
            ]
        return answer

    async def reprioritize(
        self,
        keys: Sequence[Key],
        priority_class: str | None = None,
        priority: float | None = None,
        deadline: float | str | None = None,
    ) -> dict[str, Any]:
        """Change the urgency of tasks that wait; how many were changed.

        Raises
        ------
        UsageError
            If a wish makes no sense.
        """
        keeper = self._plugin.keeper
        if keeper is None:
            return {"changed": 0, "failure": self._plugin.failure}
        if len(keys) > KEYS_MAX:
            raise UsageError(f"{len(keys)} tasks are over the limit of {KEYS_MAX}")
        wishes = {"priority_class": priority_class, "deadline": deadline}
        changes: dict[str, Any] = validate(wishes)
        if priority is not None:
            changes["priority"] = float(priority)
        own = [_key(key) for key in keys]
        return {"changed": await keeper.reprioritize(own, changes)}

    def _explained(self, key: Key) -> dict[str, Any]:
        keeper = self._plugin.keeper
        ts = self._scheduler.tasks.get(key)
        if ts is None:
            return {"key": key, "state": "unknown", "why": "no such task is known"}
        answer: dict[str, Any] = {"key": key, "state": ts.state, "why": ""}
        if ts.processing_on is not None:
            answer["worker"] = str(ts.processing_on.name)
        task = None if keeper is None else keeper.holding.tasks.get(key)
        if keeper is None or task is None:
            answer["why"] = "Dask itself places this task"
            if ts.actor:
                answer["why"] = "Dask itself places actors: hardware is heeded"
            if keeper is not None and ts.actor:
                answer["needs"] = keeper.intake.actors.needs(key)
            if self._plugin.failure:
                answer["why"] = f"{answer['why']}: {self._plugin.failure}"
            return answer
        answer |= self._of_governed(keeper, task)
        if ts.state in ("memory", "erred"):  # the engine tells of its last attempt
            answer["state"] = ts.state
        return answer

    def _of_governed(self, keeper: Keeper, task: Governed) -> dict[str, Any]:
        answer: dict[str, Any] = {"warning": task.note, "error": task.error}
        if task.refused is not None:
            return answer | {"why": str(task.refused)}
        found = keeper.holding.engine.explain(task.key, keeper.holding.clock())
        if found is not None:
            return dict(_plain(found) | answer)
        if task.stage in ("backoff", "parting", "after"):
            answer["state"] = "held"
        if task.stage == "over":
            answer["worker"] = task.worker
        return answer | {"why": _STAGES.get(task.stage, "").format(worker=task.worker)}


def _key(key: Any) -> Key:
    """A key as it was before it travelled: tuples come as lists."""
    return tuple(_key(part) for part in key) if isinstance(key, list) else key


def _plain(value: Any) -> Any:
    """Dataclasses as mappings, tuples as lists, no more rows than anybody reads."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in islice(value.items(), ROWS_MAX)}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in islice(value, ROWS_MAX)]
    return value

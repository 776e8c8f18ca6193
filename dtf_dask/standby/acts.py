"""What a scheduler that leads does when it is asked to: see `dtf_dask.view.actions`."""

from __future__ import annotations

import ast
import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgpack
from distributed import Scheduler

from dtf_dask.errors import UsageError
from dtf_dask.explanation import counted
from dtf_dask.scheduler_plugins.adapter.observing import Observer
from dtf_dask.scheduler_plugins.adapter.plugin import NAME as SCHEDULING
from dtf_dask.standby.actions import UNKNOWN, Act, ActRefusedError, Ledger
from dtf_dask.view.actions import Asked
from dtf_dask.view.records import record_key
from dtf_dask.worker_plugins.runner.topics import stop_topic

if TYPE_CHECKING:
    from dtf_dask.scheduler_plugins.adapter.keeper import Keeper

QUARANTINES = "x/quarantine/"
QUARANTINES_MAX = 1_000
_AGAIN_S = 1.0
_STOP_S = 60.0
_KNOWN_S = 5.0
"""So long one that has just begun may not have been told of."""


class Hands(Ledger, Protocol):
    """What differs between a coordinator's scheduler and one that is alone."""

    async def cancel(self, keys: Sequence[Any], reason: str) -> None:
        """Cancel tasks, whoever wants them."""

    async def retry(self, keys: Sequence[Any]) -> None:
        """Try tasks again that failed."""

    async def transfer(self, asked: Asked) -> str:
        """Have another coordinator lead."""


class Acts:
    """Of one scheduler.

    Parameters
    ----------
    hands
        What it is done with.
    """

    def __init__(self, scheduler: Scheduler, hands: Hands) -> None:
        self._scheduler, self._hands = scheduler, hands

    def by_name(self) -> Mapping[str, Act]:
        """What does each action."""
        return {
            "cancel": self._cancel,
            "rerun": self._rerun,
            "stop-run": self._stop_run,
            "retire-worker": self._retire,
            "quarantine": self._quarantine,
            "release": self._release,
            "reprioritize": self._reprioritize,
            "transfer-leadership": self._hands.transfer,
        }

    def recall(self) -> None:
        """Workers that were quarantined are, whoever leads."""
        keeper = self._keeper()
        for _, value in self._hands.records(QUARANTINES):
            worker, reason = msgpack.unpackb(value)
            if keeper is not None:
                engine = keeper.holding.engine
                engine.quarantine(worker, reason, keeper.holding.clock())

    # Tasks.

    async def _cancel(self, asked: Asked) -> str:
        found, unknown = self._tasks(asked)
        reason = f"cancelled by {asked.by}"
        if more := asked.fields.get("reason"):
            reason = f"{reason}: {more}"
        await self._hands.cancel(found, reason)
        return f"{counted(len(found), 'task')} cancelled{unknown}"

    async def _rerun(self, asked: Asked) -> str:
        found, unknown = self._tasks(asked)
        tasks = self._scheduler.tasks
        failed = [key for key in found if tasks[key].state == "erred"]
        if not failed:
            raise ActRefusedError(f"none of them has failed{unknown}")
        # What failed with others is tried again with those.
        blamed = [tasks[key].exception_blame for key in failed]
        keys = dict.fromkeys(one.key for one in blamed if one is not None)
        await self._hands.retry(tuple(keys))
        return f"{counted(len(failed), 'task')} tried again{unknown}"

    async def _reprioritize(self, asked: Asked) -> str:
        found, unknown = self._tasks(asked)
        wishes = {k: v for k, v in asked.fields.items() if k != "keys"}
        if not wishes:
            raise ActRefusedError("say a priority_class, a priority or a deadline")
        self._schedules()
        handler: Any = self._scheduler.handlers["dtf_reprioritize"]
        try:
            told = await handler(keys=found, **wishes)
        except (UsageError, ValueError) as error:
            raise ActRefusedError(str(error)) from None
        if told.get("failure"):
            raise ActRefusedError(f"Dask alone schedules: {told['failure']}")
        return f"{counted(told['changed'], 'task')} changed{unknown}"

    def _tasks(self, asked: Asked) -> tuple[list[Any], str]:
        """Keys of those that are there, and in words how many are not."""
        tasks = self._scheduler.tasks
        said = [_key(text, tasks) for text in asked.fields["keys"]]
        found = list(dict.fromkeys(key for key in said if key in tasks))
        if not found:
            raise ActRefusedError(
                f"no such task is known: {asked.fields['keys'][0]:.200}", UNKNOWN
            )
        lacks = sum(key not in tasks for key in said)
        return found, f"; {lacks} of {len(said)} are not known" if lacks else ""

    # Runs.

    async def _stop_run(self, asked: Asked) -> str:
        """Tell its driver until it is over: what is told may be lost."""
        run = asked.fields["run"]
        board = Observer.install(self._scheduler)
        known_by = time.monotonic() + _KNOWN_S
        try:
            async with asyncio.timeout(_STOP_S):
                while True:
                    seen = board.seen("run", run)
                    if seen is not None and seen["status"] != "running":
                        return f"it is {seen['status']}"
                    if seen is not None:
                        self._scheduler.log_event(stop_topic(run), {"by": asked.by})
                    elif time.monotonic() > known_by:
                        raise ActRefusedError(f"no run {run:.100} is known", UNKNOWN)
                    await asyncio.sleep(_AGAIN_S)
        except TimeoutError:
            raise ActRefusedError(
                "its driver does not end it: it may be gone"
            ) from None

    # Workers.

    async def _retire(self, asked: Asked) -> str:
        address = self._worker(asked)
        told = await self._scheduler.retire_workers(
            workers=[address], close_workers=True, remove=True
        )
        if address not in told:
            raise ActRefusedError("what it holds has nowhere to go: it stays")
        return "it has handed over what it held, and ends"

    async def _quarantine(self, asked: Asked) -> str:
        name = asked.fields["worker"]
        self._worker(asked)
        if len(self._hands.records(QUARANTINES)) >= QUARANTINES_MAX:
            raise ActRefusedError(f"{QUARANTINES_MAX} workers are quarantined already")
        reason = asked.fields.get("reason", "") or f"as {asked.by} asked for"
        keeper = self._schedules()
        await self._hands.keep({_quarantine(name): msgpack.packb((name, reason))})
        engine = keeper.holding.engine
        engine.quarantine(name, reason, keeper.holding.clock())
        keeper.holding.wake()
        return "it gets nothing until it is released"

    async def _release(self, asked: Asked) -> str:
        name, key = asked.fields["worker"], _quarantine(asked.fields["worker"])
        if not self._hands.records(key):
            raise ActRefusedError(f"no worker {name:.100} is quarantined", UNKNOWN)
        keeper = self._schedules()
        await self._hands.keep({key: None})
        keeper.holding.engine.quarantine(name, "", keeper.holding.clock())
        keeper.holding.wake()
        return "it gets work again"

    def _worker(self, asked: Asked) -> str:
        """The address of one that is there."""
        name, keeper = asked.fields["worker"], self._keeper()
        for ws in self._scheduler.workers.values():
            post = None if keeper is None else keeper.holding.posts.at(ws.address)
            if name in (str(ws.name) if post is None else post.name, ws.address):
                return str(ws.address)
        raise ActRefusedError(f"no worker {name:.100} is there", UNKNOWN)

    def _schedules(self) -> Keeper:
        keeper = self._keeper()
        if keeper is None:
            raise ActRefusedError("Dask alone schedules here")
        return keeper

    def _keeper(self) -> Keeper | None:
        plugin: Any = self._scheduler.plugins.get(SCHEDULING)
        return getattr(plugin, "keeper", None)


def _quarantine(worker: str) -> str:
    name = record_key("worker", worker).removeprefix("worker/")
    return f"{QUARANTINES}{name}"


def _key(text: str, tasks: Mapping[Any, Any]) -> Any:
    """A key as it was before it was shown: tuples are shown as texts."""
    if text not in tasks and text.startswith("("):
        try:
            found = ast.literal_eval(text)
            hash(found)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return text
        return found
    return text

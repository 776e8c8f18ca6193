"""Actions that somebody asks of a scheduler that leads: each is done once, and written.

That one has begun is in the ledger before it is, and what came of it before it is
answered. So who asks again, with the same id, hears the same of any leader.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgpack

from dtf_dask.view.actions import Asked, State, read_asked
from dtf_dask.view.records import record_key

logger = logging.getLogger(__name__)

PREFIX = "x/action/"
KEPT_MAX = 500
"""Those that were asked for first are forgotten beyond it: their ids are new again."""
UNDER_WAY_MAX = 32
ANSWER_S = 8.0
"""What takes longer is answered as begun."""
_RESULT_CHARS_MAX = 1_000

OK, BEGUN, UNKNOWN, CONFLICT, BUSY = 200, 202, 404, 409, 503
"""How an action is answered, as HTTP has it."""


class ActRefusedError(Exception):
    """Nothing was done: why, and `UNKNOWN` if there is no such thing."""

    def __init__(self, why: str, status: int = CONFLICT) -> None:
        super().__init__(why, status)
        self.why, self.status = why, status


class Ledger(Protocol):
    """Where it is written; see `dtf_dask.standby.durability.Durability`."""

    async def keep(self, records: Mapping[str, bytes | None]) -> None:
        """Write records, or delete those of None; returns when that is committed."""

    def records(self, prefix: str) -> list[tuple[str, bytes]]:
        """Those whose keys begin so."""


Act = Callable[[Asked], Awaitable[str]]
"""Does one thing, which may have been done before: what came of it, in words."""
Show = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Kept:
    """An action as it is written.

    Parameters
    ----------
    asked
        The digest of what was asked.
    status
        How it is answered.
    """

    id: str
    action: str
    by: str
    subject: str
    asked: bytes
    at: float
    state: State = "begun"
    status: int = BEGUN
    result: str = ""
    finished_at: float | None = None

    def packed(self) -> bytes:
        """As the ledger has it."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        packed: bytes = msgpack.packb(fields)
        return packed

    def seen(self) -> dict[str, Any]:
        """As it is to be seen."""
        names = ("id", "action", "by", "state", "subject", "result")
        seen = {name: getattr(self, name) for name in (*names, "at", "finished_at")}
        return seen | {"asked": self.asked.hex()}


class Actions:
    """Those of a scheduler that leads.

    Parameters
    ----------
    acts
        What does each of them, by name.
    show
        Told each action as it is to be seen.
    """

    def __init__(
        self,
        ledger: Ledger,
        acts: Mapping[str, Act],
        show: Show = lambda id, seen: None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._ledger, self._acts, self._show, self._wall = ledger, acts, show, wall
        self._kept: dict[str, Kept] = {}
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def lead(self, leads: str) -> None:
        """Go on from what is written; ``leads`` is the name of who leads now."""
        for key, value in self._ledger.records(PREFIX):
            try:
                one = Kept(**msgpack.unpackb(value))
            except (TypeError, ValueError, msgpack.UnpackException):
                logger.warning("%s is no action that is known here", key)
                await self._ledger.keep({key: None})
                continue
            self._kept[one.id] = one
        self._kept = dict(sorted(self._kept.items(), key=lambda item: item[1].at))
        for one in list(self._kept.values()):
            if one.state == "begun":
                # Who led then is gone: that is what this one wanted.
                done = one.action == "transfer-leadership"
                result = (
                    f"{leads} leads" if done else "who led ended before it was done"
                )
                await self._finish(one, "done" if done else "unknown", OK, result)
            else:
                self._show(one.id, one.seen())

    async def ask(self, asked: Any) -> dict[str, Any]:
        """Do it, unless that was done: ``status``, ``detail``, and the ``record``."""
        try:
            wanted = read_asked(asked)
        except ValueError as error:
            return _answer(CONFLICT, str(error), None)
        one = self._kept.get(wanted.id)
        if one is not None and one.asked != wanted.digest:
            why = f"the id {wanted.id!r} is that of another action: {one.action}"
            return _answer(CONFLICT, why, None)
        running = self._under_way.get(wanted.id)
        if running is None and (one is None or one.state == "unknown"):
            if len(self._under_way) >= UNDER_WAY_MAX:
                why = f"{UNDER_WAY_MAX} actions are under way: ask again"
                return _answer(BUSY, why, None)
            running = asyncio.create_task(self._run(wanted))
            self._under_way[wanted.id] = running
            running.add_done_callback(lambda _: self._under_way.pop(wanted.id, None))
        if running is not None:
            await asyncio.wait([running], timeout=ANSWER_S)
        one = self._kept.get(wanted.id)
        if one is None:  # it has yet to be written that it begins
            return _answer(BUSY, "the ledger does not take it now: ask again", None)
        return _answer(one.status, one.result, one.seen())

    async def _run(self, wanted: Asked) -> None:
        one = Kept(
            *(wanted.id, wanted.action, wanted.by[:200], wanted.subject[:1_000]),
            *(wanted.digest, self._wall()),
        )
        await self._keep(one)
        try:
            result = await self._acts[wanted.action](wanted)
        except ActRefusedError as error:
            await self._finish(one, "refused", error.status, error.why)
        except Exception as error:
            logger.exception("an action (%s) failed", wanted.action)
            why = f"it failed: {type(error).__name__}: {error}"
            await self._finish(one, "unknown", CONFLICT, why)
        else:
            await self._finish(one, "done", OK, result)

    async def _finish(self, one: Kept, state: State, status: int, result: str) -> None:
        done = replace(
            *(one,),
            state=state,
            status=status,
            result=result[:_RESULT_CHARS_MAX],
            finished_at=self._wall(),
        )
        await self._keep(done)

    async def _keep(self, one: Kept) -> None:
        records: dict[str, bytes | None] = {_key(one.id): one.packed()}
        known = [id for id in self._kept if id not in (one.id, *self._under_way)]
        over = len(self._kept.keys() | {one.id}) - KEPT_MAX
        for id in known[: max(0, over)]:
            del self._kept[id]
            records[_key(id)] = None
        await self._ledger.keep(records)
        self._kept[one.id] = one
        self._show(one.id, one.seen())


def _answer(status: int, detail: str, record: dict[str, Any] | None) -> dict[str, Any]:
    return {"status": status, "detail": detail, "record": record}


def _key(id: str) -> str:
    return f"x/{record_key('action', id)}"

"""Gives clients room in the queue before they send tasks, and says how full it is.

The message ``dtf_room`` asks for room and is answered when there is some, or after a
while without. Clients of Dask's own do not ask; what they send too much is shed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from dtf_dask.pressure import Pressure
from dtf_dask.scheduler_plugins.adapter.holding import Holding
from dtf_dask.scheduler_plugins.policies.room import Level, Room

_COUNT_MAX = 1_000_000_000
_WAIT_S_MAX = 60.0
_AGAIN_S = 0.5  # what was granted and not used is free again without an event
OPEN: dict[str, Any] = {"open": True}
"""Nobody looks at the queue: send what you like."""


class Rooms:
    """The clients of one scheduler that submit tasks.

    Parameters
    ----------
    announce
        Hears of each new state.
    default_class
        Classes before this one are urgent: some room is kept for them.
    """

    def __init__(
        self,
        holding: Holding,
        announce: Callable[[Pressure], None],
        default_class: str,
    ) -> None:
        self._holding, self._announce = holding, announce
        self._default_class = default_class
        self._room = Room()
        self._answers: dict[int, asyncio.Future[int]] = {}

    def decided(self, changed: Pressure | None, now: float) -> None:
        """The engine has placed what it could."""
        if changed is not None:
            self._announce(changed)
        if self._room.asking:
            self._serve(now)

    def came(self, client: str | None, count: int) -> None:
        """A client has sent so many tasks."""
        if client and self._room.leased:
            self._room.came(client, count)

    def left(self, client: str) -> None:
        """A client is gone."""
        self._room.left(client)
        self._holding.wake()

    def close(self) -> None:
        """Nobody looks at the queue any more."""
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            answer.cancel()

    async def ask(
        self,
        client: str,
        want: int = 1,
        least: int = 1,
        wait_s: float = 0.0,
        priority_class: str | None = None,
    ) -> dict[str, Any]:
        """Room for at most about ``want`` tasks, and not less than ``least`` of them.

        Returns ``granted``, which is 0 if there was no room for as long as the client
        waits, for how long that holds (``lease_s``), and how full the queue is; or
        `OPEN`.
        """
        holding, room = self._holding, self._room
        want, least = (min(max(1, int(one)), _COUNT_MAX) for one in (want, least))
        clock = holding.clock
        end = clock() + min(max(0.0, float(wait_s)), _WAIT_S_MAX)
        granted = 0
        urgent = self._is_urgent(priority_class)
        number = room.ask(str(client), want, least, urgent=urgent)
        if number is not None:
            answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._answers[number] = answer
            try:
                self._serve(clock())
                while not answer.done() and (left_s := end - clock()) > 0:
                    await asyncio.wait([answer], timeout=min(left_s, _AGAIN_S))
                    self._serve(clock())
                if answer.cancelled():
                    return OPEN
                granted = answer.result() if answer.done() else 0
            finally:
                self._answers.pop(number, None)
                room.withdraw(number)
        told = holding.engine.pressure(clock()).message()
        return {"granted": granted, "lease_s": room.lease_s, **told}

    def _is_urgent(self, priority_class: str | None) -> bool:
        names = [one.name for one in self._holding.engine.settings.classes]
        if priority_class not in names:
            return False
        return names.index(priority_class) < names.index(self._default_class)

    def _serve(self, now: float) -> None:
        holding = self._holding
        told = holding.engine.pressure(now)
        coming = len(holding.arrived) + len(holding.unready)
        level = Level(
            told.waiting + coming,
            told.bound,
            told.pressed_at,
            told.state == "shedding",
        )
        for asking, count in self._room.serve(level, now):
            answer = self._answers.get(asking.number)
            if answer is not None:
                with contextlib.suppress(asyncio.InvalidStateError):
                    answer.set_result(count)

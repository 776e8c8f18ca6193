"""Commands of a session with those who wait for them, and the ends of their times."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from dtf_dask.errors import UsageError
from dtf_dask.ha.ledger.outcomes import Outcome
from dtf_dask.ha.ledger.window import Asked

_TICKS_A_SECOND = 50


class Call(Asked):
    """A command, and who waits for it."""

    __slots__ = ("future", "room", "together")

    def __init__(
        self, kind: int, arguments: tuple[Any, ...], future: asyncio.Future[Outcome]
    ) -> None:
        super().__init__(kind, arguments)
        self.future = future
        self.room: asyncio.Future[None] | None = None
        """Of who waits until there is room for it."""
        self.together: dict[Call, None] = {}
        """Those whose time ends with its own, in the order in which they came."""

    @property
    def given_up(self) -> bool:
        """Whether its time is over, or who waited was cancelled."""
        return self.future.done()

    def end(self, result: Outcome | UsageError) -> None:
        """Tell it to who waits."""
        self.together.pop(self, None)
        self.enter()
        if self.future.done():
            return
        if isinstance(result, Outcome):
            self.future.set_result(result)
        else:
            self.future.set_exception(result)

    def enter(self) -> None:
        """It does not wait for room any more."""
        if self.room is not None and not self.room.done():
            self.room.set_result(None)

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self.together.pop(self, None)
        self.future.cancel()


class Deadlines:
    """Ends of the times of calls: up to 20 ms late, and for little.

    A timer of asyncio for each costs several times as much, and most are cancelled.

    Parameters
    ----------
    over
        Called with each call whose time is over.
    """

    def __init__(self, over: Callable[[Call], None]) -> None:
        self._over = over
        self._by_tick: dict[int, dict[Call, None]] = {}

    def add(self, call: Call, limit_s: float) -> None:
        """A call has so long, from now on."""
        loop = asyncio.get_running_loop()
        tick = int((loop.time() + limit_s) * _TICKS_A_SECOND) + 1
        together = self._by_tick.get(tick)
        if together is None:
            together = self._by_tick[tick] = {}
            loop.call_at(tick / _TICKS_A_SECOND, self._end, tick)
        together[call] = None
        call.together = together

    def _end(self, tick: int) -> None:
        for call in [*self._by_tick.pop(tick)]:
            self._over(call)

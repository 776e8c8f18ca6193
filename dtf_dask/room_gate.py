"""Room for what a client submits, asked of the scheduler before it is sent: `RoomGate`.

The scheduler's queue is bounded, and what it cannot keep is shed. A client that asks
first waits instead. Room for many tasks is had with one question, so that asking costs
little; where the scheduler knows nothing of it, nobody waits.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import distributed

from dtf_dask import config
from dtf_dask.errors import OverloadedError
from dtf_dask.pressure import TOPIC, Pressure
from dtf_dask.quantities import format_duration

logger = logging.getLogger(__name__)

_ASK_S = 5.0  # one question; then it is asked again, so that no lost answer blocks
_ANSWER_S = 10.0  # beyond that, for an answer to arrive
_PAUSE_S = 0.2  # after a question that went wrong
_SAY_AFTER_S, _SAY_AGAIN_S = 1.0, 30.0
_UNHEARD = "no scheduler answers"


class RoomGate:
    """Lets a client submit as much as the scheduler's queue has room for.

    Parameters
    ----------
    client
        Whose room it is.

    Attributes
    ----------
    pressure
        How full the queue is, as far as the scheduler has told; None if it tells
        nothing.
    looked
        Whether it has been asked at all.
    """

    def __init__(self, client: distributed.Client) -> None:
        self._client = client
        self.pressure: Pressure | None = None
        self._mutex = threading.Lock()
        self._turn = asyncio.Lock()
        self.looked = False
        self._room = self._paid = 0
        self._room_until = 0.0
        self._said_at = float("-inf")
        self._unheard = False

    # -- from any thread -----------------------------------------------------------

    @property
    def open(self) -> bool:
        """Whether nobody has to ask: the scheduler does not look at what waits."""
        return self.looked and self.pressure is None

    @property
    def patience_s(self) -> float:
        """How long a submission waits for room, as it is configured now."""
        return config.load().scheduling.submit_wait_s

    def take(self, count: int) -> bool:
        """Use room for so many tasks, if it is there."""
        if self.open:
            return True
        with self._mutex:
            if count > self._left():
                return False
            self._room -= count
            return True

    def give_back(self, count: int) -> None:
        """What was obtained is used a little later."""
        with self._mutex:
            if time.monotonic() < self._room_until:
                self._room += count

    def pay(self, count: int) -> None:
        """What is sent next has had its room; see `take_paid`."""
        with self._mutex:
            self._paid += 0 if self.open else count

    def take_paid(self, count: int) -> bool:
        """Whether somebody has paid for so many tasks, or there is room for them."""
        with self._mutex:
            if self._paid >= count:
                self._paid -= count
                return True
        return self.take(count)

    def left(self) -> int:
        """For how many tasks there is room that was granted and not used."""
        with self._mutex:
            return self._left()

    def _left(self) -> int:
        return self._room if time.monotonic() < self._room_until else 0

    # -- on the client's loop --------------------------------------------------------

    async def look(self) -> None:
        """Find out whether the scheduler looks at what waits, and how much does."""
        scheduler: Any = self._client.scheduler
        self._room, self.pressure = 0, None
        try:
            # A message that every scheduler of Dask knows, whatever runs on it.
            events = await asyncio.wait_for(scheduler.events(topic=TOPIC), _ANSWER_S)
            self.pressure = Pressure.of(events[-1][1]) if events else None
        except (OSError, TimeoutError, LookupError, TypeError) as error:
            logger.debug("nothing is known of the queue: %s", error)
        self.looked = True
        if self.pressure is not None:
            self._client.subscribe_topic(TOPIC, self._hear)

    def _hear(self, event: tuple[float, Any]) -> None:
        told = Pressure.of(event[1])
        if told is not None and not self.open:
            self.pressure = told
            if told.state == "shedding":  # what was granted before is worth no more
                with self._mutex:
                    self._room = 0

    async def obtain(
        self,
        count: int,
        patience_s: float | None = None,
        *,
        least: int | None = None,
        priority_class: str | None = None,
        say: Callable[[str], None] = logger.warning,
    ) -> int:
        """Wait for room and use it; how many tasks it is for.

        Parameters
        ----------
        count
            As many as that, if there is no ``least``.
        patience_s
            How long to wait; by default what is configured.
        least
            Fewer will do, but not fewer than these.
        priority_class
            Of all of them, if it is not the default: urgent ones wait less.
        say
            Hears, in words, that somebody waits.

        Raises
        ------
        OverloadedError
            If there is no room for that long.
        """
        if patience_s is None:
            patience_s = self.patience_s
        begun, asked = time.monotonic(), False
        async with self._turn:
            if not self.looked:
                await self.look()
            while True:
                for some in (count, min(count, self.left())):
                    if some >= (least or count) and self.take(some):
                        return some
                now = time.monotonic()
                left_s = patience_s - (now - begun)
                if asked and left_s <= 0:
                    raise self._no_room(count, patience_s)
                if now > max(begun + _SAY_AFTER_S, self._said_at + _SAY_AGAIN_S):
                    self._said_at = now
                    say(self._waits(count, left_s))
                await self._ask(count, least or count, left_s, priority_class)
                asked = True

    async def _ask(
        self, want: int, least: int, left_s: float, priority_class: str | None
    ) -> None:
        """One question; what is granted is room from then on."""
        wait_s = min(max(left_s, 0.0), _ASK_S)
        if time.monotonic() > self._said_at + _SAY_AGAIN_S:
            wait_s = min(wait_s, _SAY_AFTER_S)  # and then it is said
        scheduler: Any = self._client.scheduler
        asked = scheduler.dtf_room(
            client=self._client.id,
            want=want,
            least=least,
            wait_s=wait_s,
            priority_class=priority_class,
        )
        try:
            answer = await asyncio.wait_for(asked, wait_s + _ANSWER_S)
        except (OSError, TimeoutError) as error:
            if self._client.status not in ("running", "connecting"):
                raise
            logger.debug("no answer about room in the queue: %s", error)
            self._unheard = True
            await asyncio.sleep(_PAUSE_S)
            return
        self._unheard = False
        told = Pressure.of(answer)
        if told is None:  # it has fallen back to Dask's own ways
            self.pressure = None
            return
        self.pressure = told
        if (granted := answer.get("granted", 0)) > 0:
            with self._mutex:
                self._room = granted  # what was left was not enough, and goes
                self._room_until = time.monotonic() + answer["lease_s"]

    # -- said ------------------------------------------------------------------------

    def _waits(self, count: int, left_s: float) -> str:
        text = f"{_tasks(count)} cannot be submitted yet: "
        if self._unheard or self.pressure is None:
            text += f"{_UNHEARD}. Waiting for it"
        else:
            text += f"{self.pressure.words} (scheduling.queue-length-max). Waiting for"
            text += " room"
        if math.isinf(left_s):
            return text
        limit = format_duration(max(1, round(left_s)))
        return f"{text}, {limit} at most (scheduling.submit-wait)"

    def _no_room(self, count: int, patience_s: float) -> OverloadedError:
        within = f"{_tasks(count)} within {format_duration(patience_s)}"
        if self._unheard or self.pressure is None:
            return OverloadedError(
                f"no room for {within}: {_UNHEARD}. See why nobody leads, or wait"
                " longer (scheduling.submit-wait)."
            )
        return OverloadedError(
            f"no room for {within}: {self.pressure.words}."
            " Submit later or less, add workers, wait longer (scheduling.submit-wait),"
            " or let the scheduler keep more (its scheduling.queue-length-max)."
        )


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count:,} tasks"

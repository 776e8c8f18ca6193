"""Hears the workers of a run: each event once and in order, though Dask may lose some.

Events come as Dask's, and nothing else is said while all goes well: that they have come
the workers are told with their next batch. Where one is missing, where a connection
broke, and once in a while the worker is asked what else it had to say.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from dtf_dask.runs.report_stream import ReportStream

logger = logging.getLogger(__name__)

_SILENT_S = 30.0  # then a worker is asked, though nothing is known to be missing
_PAUSE_S = 0.5  # after a question that had no answer


class Told(NamedTuple):
    """What an event carries: ``frames``, of a batch and the slot that runs it."""

    slot: str
    batch: int
    frames: bytes


class _Worker:
    def __init__(self, address: str, stream: str, now: float) -> None:
        self.address, self.stream = address, stream
        self.reports: ReportStream[Told] = ReportStream()
        self.asking = asyncio.Lock()
        self.heard_at = now
        self.in_doubt = False  # whether something that it said has not come
        self.not_before = 0.0

    def is_due(self, now: float) -> bool:
        if self.asking.locked() or now < self.not_before:
            return False
        return self.in_doubt or now > self.heard_at + _SILENT_S


class _Answer(NamedTuple):
    stream: str
    events: list[tuple[int, Told]]
    upto: int
    last: int


def _read(answer: Any) -> _Answer:
    """What a worker answered; whatever is wrong with it is an exception."""
    if not answer["stream"]:  # it knows of none
        return _Answer("", [], 0, 0)
    upto, last = answer["upto"], answer["last"]
    events = [(number, Told(*rest)) for number, *rest in answer["events"]]
    if {type(one) for one in (upto, last, *dict(events))} != {int}:
        raise TypeError("its events have no numbers")
    return _Answer(answer["stream"], events, upto, last)


class ReportLine:
    """The events of all workers of one run.

    Parameters
    ----------
    ask
        ``await ask(address, op, **arguments)``: a plain message to a worker.
    run_id
        Whose events they are.
    deliver
        Given what has come, in the order in which each worker said it.
    replaced
        Told the address of a worker that knows nothing of the run: it is another one,
        which was started there since.
    missed
        Set when a worker is to be asked; see `due`.
    clock
        Monotonic, in seconds.
    """

    def __init__(
        self,
        ask: Callable[..., Awaitable[Any]],
        run_id: str,
        deliver: Callable[[Told], None],
        replaced: Callable[[str], None],
        missed: asyncio.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask, self._run_id, self._clock = ask, run_id, clock
        self._deliver, self._replaced, self._missed = deliver, replaced, missed
        self._streams: dict[str, _Worker] = {}
        self._workers: dict[str, _Worker] = {}

    def opened(self, address: str, stream: str) -> None:
        """A worker is ready for the run, and names the stream of its events."""
        if not stream or stream in self._streams:
            return  # it does not number them
        self.lost(address)
        one = self._streams[stream] = _Worker(address, stream, self._clock())
        self._workers[address] = one

    def lost(self, address: str) -> None:
        """A worker is gone; what came of it before its turn is given out now."""
        one = self._workers.pop(address, None)
        if one is not None:
            del self._streams[one.stream]
            self._give(one.reports.last_words())

    def heard(self, address: str) -> int:
        """Up to which number all events of a worker have come: it is to be told."""
        one = self._workers.get(address)
        return one.reports.heard if one is not None else 0

    def on_event(self, event: tuple[float, Any]) -> None:
        """An event has come by Dask."""
        message = event[1]
        told = Told(message["slot"], message["batch"], message["frames"])
        stream = message.get("stream")
        if stream is None:  # it cannot be lost
            self._deliver(told)
            return
        one = self._streams.get(stream)
        if one is None:
            logger.debug("an event of a worker that is gone: %s", told.slot)
            return
        one.heard_at = self._clock()
        self._give(one.reports.hear(message["number"], told))
        if one.reports.misses:
            one.in_doubt = True
            self._missed.set()

    def due(self) -> list[str]:
        """The workers that are to be asked now; see `mend`."""
        now = self._clock()
        return [address for address, one in self._workers.items() if one.is_due(now)]

    def doubt(self) -> None:
        """Events may have been lost on the way, of any worker."""
        for one in self._workers.values():
            one.in_doubt = True

    async def mend(self, address: str) -> bool:
        """Have all that a worker had said before this was called.

        False if it does not answer, or is gone.
        """
        one = self._workers.get(address)
        if one is None:
            return False
        async with one.asking:
            while self._workers.get(address) is one:
                one.in_doubt = False  # unless something new is missed meanwhile
                answer = await self._answer(one)
                if self._workers.get(address) is not one:
                    break
                one.heard_at = self._clock()
                if answer is None:
                    one.in_doubt, one.not_before = True, one.heard_at + _PAUSE_S
                    break
                if answer.stream != one.stream:
                    self._replaced(address)
                    break
                before = one.reports.heard
                self._give(one.reports.mend(answer.events, answer.upto))
                if answer.upto >= answer.last:
                    return True
                if one.reports.heard == before:  # it says that there is more, and lies
                    one.in_doubt, one.not_before = True, one.heard_at + _PAUSE_S
                    break
        return False

    async def _answer(self, one: _Worker) -> _Answer | None:
        """What a worker has after what has come of it; None if it does not say so."""
        try:
            return _read(
                await self._ask(
                    one.address,
                    "dtf_events",
                    run=self._run_id,
                    stream=one.stream,
                    after=one.reports.heard,
                )
            )
        except Exception as error:  # it may be gone, or the line to it
            logger.debug("nothing from %s: %s", one.address, error)
            return None

    def _give(self, told: list[Told]) -> None:
        for one in told:
            self._deliver(one)

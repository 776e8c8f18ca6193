"""Keeps what the engine learns in a store, from a thread of its own.

A store may be slow, locked, missing or broken: nothing of that reaches scheduling. What
cannot be kept is kept when the store works again, as long as it is not too much. The
engine is spoken to in the scheduler's event loop only, a page of rows at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol

from dtf_dask.errors import DtfError
from dtf_dask.scheduler_plugins.engine.memory import Memory
from dtf_dask.scheduler_plugins.policies.learned import Additions, Row, sensible

logger = logging.getLogger(__name__)

PAGE_ROWS = 200
CLOSE_S = 5.0
RETRY_S = 30.0
_HEARD_S = 60.0  # longer than any event loop is busy
_WORDS_MAX = 500


class Store(Protocol):
    """Where it is kept, such as `dtf_dask.runs.results.store.ResultsStore`."""

    def remembered(self) -> Iterable[Iterable[Any]]:
        """Rows in pages: kind, name, kind of machine, numbers, when it was kept."""

    def remember(self, rows: Iterable[Any], now: float) -> None:
        """Add numbers to rows: kind, name, kind of machine, numbers, how many stay."""

    def close(self) -> None:
        """It is not used any more."""


class Remembering:
    """One scheduler's.

    Parameters
    ----------
    open_store
        Opens the store, in the thread; may take long, and may fail.
    interval_s
        How often what was learned is kept: no more than that is ever lost.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        memory: Memory,
        *,
        interval_s: float,
        loop: Any,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_store, self._memory = open_store, memory
        self._interval_s, self._loop, self._clock = interval_s, loop, clock
        self._given: SimpleQueue[Additions | None] = SimpleQueue()
        self._due_at = -math.inf
        self._timer: Any = None
        self._over = asyncio.Event()
        self._closing = False
        self._thread = threading.Thread(
            target=self._work, name="dtf-remembering", daemon=True
        )
        # Changed by the thread alone; `status` shows them.
        self._unkept = Additions()
        self._recalled: int | None = None
        self._refused = 0
        self._kept_at: float | None = None
        self._problem = ""

    def status(self) -> dict[str, Any]:
        """How it goes, as plain values.

        ``problem`` is empty while all is well; ``recalled`` is None until it was seen
        what was learned before.
        """
        return {
            "problem": self._problem,
            "recalled": self._recalled,
            "refused": self._refused,
            "lost": self._unkept.dropped,
            "kept_at": self._kept_at,
        }

    # -- in the event loop -------------------------------------------------------

    def start(self) -> None:
        """Recall what was learned before, and keep what is learned from now on."""
        self._thread.start()
        self._tick()

    async def close(self) -> None:
        """Keep what was learned last, if that does not take long."""
        if self._closing:
            return
        self._closing = True
        self._timer.cancel()
        self._give()
        self._given.put(None)
        try:
            await asyncio.wait_for(self._over.wait(), CLOSE_S)
        except TimeoutError:
            logger.warning(
                "What was learned last is not kept: the results store does not answer"
                " within %g s",
                CLOSE_S,
            )

    def _tick(self) -> None:
        now = self._clock()
        if self._problem or now >= self._due_at:
            self._due_at = now + self._interval_s
            # While the thread is still at it, what is learned stays with the engine.
            if self._given.empty():
                self._give()
        self._timer = self._loop.call_later(min(self._interval_s, RETRY_S), self._tick)

    def _give(self) -> None:
        try:
            self._given.put(self._memory.take(self._clock()))
        except Exception as error:  # scheduling goes on all the same
            self._say_problem(error)

    # -- in the thread -----------------------------------------------------------

    def _work(self) -> None:
        while (additions := self._given.get()) is not None:
            self._unkept.add(additions)
            try:
                self._exchange()
            except Exception as error:
                self._say_problem(error)
            else:
                self._say_well()
        if len(self._unkept):
            logger.warning("What was learned last is not kept: %s", self._problem)
        with contextlib.suppress(RuntimeError):  # nobody waited, and the loop is gone
            self._loop.call_soon_threadsafe(self._over.set)

    def _exchange(self) -> None:
        """Recall what was learned before, once, and keep what was learned since."""
        if len(self._unkept) or self._recalled is None or self._problem:
            # Opened anew each time: it is used for a moment in a minute, and a file
            # that was removed or replaced meanwhile would take what nobody will read.
            with contextlib.closing(self._open_store()) as store:
                if self._recalled is None:
                    self._recall(store)
                while len(self._unkept):
                    page = self._unkept.first(PAGE_ROWS)
                    store.remember(page, time.time())
                    self._unkept.drop(len(page))
        self._kept_at = time.time()

    def _recall(self, store: Store) -> None:
        # All is read before any is used: a store that fails half way is read again,
        # and nothing is to count twice.
        rows: list[Row] = []
        refused = 0
        for page in store.remembered():
            for stored in page:
                row = sensible(stored)
                if row is None:
                    refused += 1
                else:
                    rows.append(row)
        self._recalled, self._refused = 0, refused
        if refused:
            logger.warning(
                "Of what was learned before, %d of %d rows make no sense, and are left"
                " out",
                *(refused, refused + len(rows)),
            )
        for start in range(0, len(rows), PAGE_ROWS):
            some = rows[start : start + PAGE_ROWS]
            self._in_loop(partial(self._recall_page, some))
            self._recalled += len(some)

    def _recall_page(self, rows: list[Row]) -> None:
        self._memory.recall(rows, self._clock(), time.time())

    def _in_loop(self, act: Callable[[], None]) -> None:
        done: Future[None] = Future()

        def acting() -> None:
            try:
                act()
            except Exception as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self._loop.call_soon_threadsafe(acting)
        done.result(_HEARD_S)

    def _say_problem(self, error: Exception) -> None:
        words = str(error)
        if not isinstance(error, DtfError):
            words = f"{type(error).__name__}: {error}"
        was_well, self._problem = not self._problem, words[:_WORDS_MAX]
        if was_well and not self._closing:
            logger.warning(
                "What is learned of tasks is not kept for now; scheduling goes on: %s",
                self._problem,
            )

    def _say_well(self) -> None:
        if self._problem:
            self._problem = ""
            # As loud as the alarm was, or nobody would hear that it is over.
            logger.warning("What is learned of tasks is kept again")

"""Looks at a scheduler and its workers, and tells what is to be seen of them.

A look takes what is counted already: it never walks over tasks. However long looks
take, they take no more than `CPU_SHARE_MAX` of the scheduler's time: the next is later.

Who leads writes to the ledger what has changed (`Observer.lead`). Any scheduler answers
``dtf_view``; one without a ledger looks only when it is asked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from distributed import Scheduler

from dtf_dask.errors import ProtocolError
from dtf_dask.scheduler_plugins.adapter.observed import Sight
from dtf_dask.view.board import FLEETING, Board
from dtf_dask.view.records import PREFIX

logger = logging.getLogger(__name__)

OP = "dtf_view"
ATTRIBUTE = "dtf_observer"
"""Of a scheduler: its `Observer`."""
TICK_S = 1.0
TICK_S_MAX = 30.0
CPU_SHARE_MAX = 0.005
"""As much again is for writing what is told."""
ASKED_S = 0.5


class Room(Protocol):
    """Whether there is any in the ledger."""

    def none_to_submit(self, size: int) -> str:
        """Why so many bytes cannot be written; empty if they can."""


class Ledger(Protocol):
    """Where records are written; see `dtf_dask.standby.durability.Durability`."""

    term: int

    def keep_lazily(self, records: Mapping[str, bytes | None]) -> None:
        """Write them some time, or delete those of None."""

    def records(self, prefix: str) -> list[tuple[str, bytes]]:
        """Those whose keys begin so."""

    @property
    def room(self) -> Room:
        """How much there is."""


class Observer:
    """Of one scheduler.

    Attributes
    ----------
    failure
        Why it looks no more, in words.
    cpu_s, looks
        What all looks took, and how many there were.
    standing
        Says how the coordinators stand, if the scheduler is of one.
    """

    def __init__(
        self, scheduler: Scheduler, *, wall: Callable[[], float] = time.time
    ) -> None:
        self.failure = ""
        self.cpu_s = 0.0
        self.looks = 0
        self.standing: Callable[[], dict[str, Any]] = dict
        self._scheduler, self._wall = scheduler, wall
        self._started_at = wall()
        self._ledger: Ledger | None = None
        self._board = Board()
        self._sight = Sight(scheduler, self._board, self._started_at)
        self._looked_at = 0.0
        self._seen_at = 0.0  # the same by a clock that nobody sets
        self._pause_s = 0.0
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def install(cls, scheduler: Scheduler) -> Observer:
        """Have a scheduler answer what is to be seen of it; once is enough."""
        found: Observer | None = getattr(scheduler, ATTRIBUTE, None)
        if found is None:
            found = cls(scheduler)
            setattr(scheduler, ATTRIBUTE, found)
            scheduler.handlers[OP] = found.answer
        return found

    def lead(self, ledger: Ledger) -> None:
        """Write what is to be seen to the ledger from now on; go on from what is there.

        To be called when all workers are back, or given up.
        """
        self._ledger = ledger
        early = [one for kind in sorted(FLEETING) for one in self._board.of_kind(kind)]
        self._board = Board(ledger.records(PREFIX))
        for key, record in early:  # of runs that went on while it took over
            kind, _, name = key.partition("/")
            self._board.put(kind, record.get("run", name), record, self._wall())
        self._sight = Sight(
            self._scheduler, self._board, self._started_at, term=ledger.term
        )
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._watch(), name=OP)

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def put(self, kind: str, name: str, fields: Mapping[str, Any]) -> None:
        """Tell something that others see: a run, a failover."""
        if self.failure:
            return
        try:
            self._board.put(kind, name, fields, self._wall())
        except ProtocolError as error:
            logger.warning(
                "What is told of %s %.100s makes no sense: %s", kind, name, error
            )

    def seen(self, kind: str, name: str) -> Mapping[str, Any] | None:
        """What was told of something last."""
        return self._board.get(kind, name)

    def answer(self, since: str = "") -> dict[str, Any]:
        """What has changed since then, or all (Dask calls this when somebody asks).

        Parameters
        ----------
        since
            The ``id`` of the last answer.

        Returns
        -------
        dict
            ``id``; ``reset``, whether ``changes`` are all there is; ``changes``, keys
            of the ledger with values, None for what is gone; ``at``, when that was seen
            by the scheduler's clock, and ``age_s`` ago; ``trouble``, why it is old;
            ``standing``, how the coordinators stand.
        """
        if self._ledger is None and self._age_s >= max(ASKED_S, self._pause_s):
            self.look()
        # Of this life only: numbers of another mean something else.
        life = str(int(self._started_at * 1000))
        first, _, number = str(since)[:40].partition(":")
        changes = None
        if first == life and number.isascii() and number.isdecimal():
            changes = self._board.since(int(number))
        return {
            "id": f"{life}:{self._board.number}",
            "reset": changes is None,
            "changes": self._board.all() if changes is None else changes,
            "at": self._looked_at,
            "age_s": self._age_s,
            "trouble": self.failure,
            "standing": self.standing(),
        }

    def look(self) -> None:
        """Look now; what fails is said once, and ends the looking."""
        if self.failure:
            return
        began_s = time.thread_time()
        try:
            self._sight.look(self._wall(), self.standing())
            self._write()
        except Exception as error:  # a scheduler goes on, whoever looks at it
            self.failure = f"{type(error).__name__}: {error}"
            logger.exception("What this scheduler does is no longer to be seen")
            return
        self.looks += 1
        self._looked_at = self._wall()
        took_s = time.thread_time() - began_s
        self.cpu_s += took_s
        self._seen_at = time.monotonic()
        self._pause_s = min(took_s / CPU_SHARE_MAX, TICK_S_MAX)

    @property
    def _age_s(self) -> float:
        return time.monotonic() - self._seen_at

    async def _watch(self) -> None:
        while not self.failure:
            self.look()
            await asyncio.sleep(max(TICK_S, self._pause_s))

    def _write(self) -> None:
        changes = self._board.take()
        if self._ledger is None or not changes:
            return
        size = sum(len(key) + len(value or b"") for key, value in changes.items())
        if self._ledger.room.none_to_submit(size):
            # What is seen is worth less than what is asked: it is told again later.
            self._board.untake(changes)
            return
        self._ledger.keep_lazily(changes)

"""A scheduler that does what another one does, a moment later, and has nothing run.

It is fed the records of the ledger, and acts on them about a second after they came:
what was submitted and forgotten meanwhile costs it little, and what the leader says of
that moment is there (see `early`). When it is to lead it acts on all there is, and is
then what the leader was.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from dtf_dask.durable import operations
from dtf_dask.durable.operations import decode_operation
from dtf_dask.standby.applying import Applier, Slices
from dtf_dask.standby.early import Early
from dtf_dask.standby.huge import uncollected
from dtf_dask.standby.journal import (
    PREFIX,
    Batch,
    JournalReader,
    Remaining,
    batches,
    key_of,
    number_of,
)
from dtf_dask.standby.submitted import prepare

KEPT_BACK_S = 0.75
_LOOKS = 3
"""Within that time: what has come stays for up to a third longer."""
_TURN_S = 0.02
_IN_THREAD_BYTES = 256 * 1024
_DENYING = frozenset(
    (
        *(operations.RELEASE, operations.CANCEL),
        *(operations.CLIENT_GONE, operations.RESTART, operations.VOID),
    )
)


@dataclass(slots=True)
class _Waiting:
    """A record of the journal: as it came, and as it is now, if it is there still."""

    came: float
    first: bytes
    now: bytes | None


class Shadow:
    """Keeps a scheduler that was not started like the ledger has it.

    Attributes
    ----------
    records
        Those that are no journal.
    next_number
        Of the record of the journal that comes after all that were heard of.
    """

    def __init__(self, applier: Applier, kept_back_s: float = KEPT_BACK_S) -> None:
        self.applier = applier
        self.records: dict[str, bytes] = {}
        self.next_number = 1
        self._kept_back_s = kept_back_s
        self._reader = JournalReader()
        self._waiting: dict[int, _Waiting] = {}
        """Not acted on yet."""
        self._unread: deque[int] = deque()
        self._read: deque[tuple[Batch, _Waiting]] = deque()
        self._early = Early()
        self._changed: dict[int, bytes | None] = {}
        """Records that were written again, or went, since they were acted on."""
        self._day_ends = 0
        """When all before that number was acted on."""
        self._acting = asyncio.Lock()

    @property
    def unfinished(self) -> list[str]:
        """Keys of records of a batch whose end was never written."""
        return [key_of(number) for number in self._reader.unfinished]

    def change(self, changes: Iterable[tuple[str, bytes | None]]) -> None:
        """Take in what changed."""
        now = time.monotonic()
        for key, value in changes:
            if not key.startswith(PREFIX):
                if value is None:
                    self.records.pop(key, None)
                else:
                    self.records[key] = value
                continue
            number = number_of(key)
            waiting = self._waiting.get(number)
            if waiting is not None:
                waiting.now = value
                self._changed[number] = value
            elif number < self.next_number:
                self._changed[number] = value
            elif value is not None:
                self._waiting[number] = _Waiting(now, value, value)
                self._unread.append(number)
            self.next_number = max(self.next_number, number + 1)

    async def run(self) -> None:
        """Act on what has come, a while later, until cancelled."""
        while True:
            await asyncio.sleep(self._kept_back_s / _LOOKS)
            await self.catch_up(time.monotonic() - self._kept_back_s)

    async def catch_up(self, came_by: float = math.inf) -> None:
        """Act on all that has come, or had by a time of the monotonic clock."""
        async with self._acting:
            while (found := self._next(came_by)) is not None:
                await self._act(*found)
            living = self.applier.living
            coming = {*self._waiting, *(batch.number for batch, _ in self._read)}
            for number in [one for one in self._changed if one not in coming]:
                left = _remaining(number, self._changed.pop(number))
                living.written_again(number, left)
            if not self._waiting:
                self.applier.settle()
            elif min(self._waiting) >= self._day_ends:
                # What is over is gone from records because of what has come by now:
                # once that is acted on, nothing is forgotten too early any more.
                self.applier.next_day()
                self._day_ends = self.next_number

    def _next(self, came_by: float) -> tuple[Batch, _Waiting] | None:
        """Read all that has come, and answer the first that is to be acted on."""
        while self._unread:
            number = self._unread.popleft()
            waiting = self._waiting[number]
            batch = self._reader.read(number, waiting.first)
            if batch is None:
                del self._waiting[number]  # a part of one
                continue
            for operation in self._early.read(batch):
                self.applier.expect(operation)
            self._read.append((batch, waiting))
        if not self._read or self._read[0][1].came > came_by:
            return None
        return self._read.popleft()

    def _left(self, batch: Batch, waiting: _Waiting) -> Remaining:
        """Operations of a batch that its record holds still."""
        if waiting.now is waiting.first:
            return Remaining(batch.operations)
        return _remaining(batch.number, waiting.now)

    async def _act(self, batch: Batch, waiting: _Waiting) -> None:
        """Act on a batch: of what is over by now only on what denies.

        That may void a wish that was acted on long ago; the rest is forgotten by now.
        """
        left = self._left(batch, waiting)
        del self._waiting[batch.number + batch.records - 1]
        living = self.applier.living
        alone = len(batch.operations) == 1
        living.begin(batch.number, batch.records, batch.at_s, alone=alone)
        turn_ends = time.monotonic() + _TURN_S
        for place, packed in enumerate(batch.operations):
            operation = decode_operation(packed)
            at_s = batch.time_of(place)
            for early in self._early.before((batch.number, place), at_s):
                await _all(self.applier.act_early(early))
            if not left.holds(packed, at_s) and operation.kind not in _DENYING:
                continue
            if len(packed) > _IN_THREAD_BYTES:
                with uncollected(len(packed)):
                    read = await asyncio.to_thread(prepare, operation)
            else:
                read = prepare(operation)
            await _all(self.applier.act(operation, packed, at_s, read))
            if time.monotonic() > turn_ends:
                await asyncio.sleep(0)
                turn_ends = time.monotonic() + _TURN_S
        living.end()


async def _all(turns: Slices) -> None:
    for _ in turns:
        await asyncio.sleep(0)


def _remaining(number: int, value: bytes | None) -> Remaining:
    """Of a record that was written again, which is never cut into parts, or went."""
    found = () if value is None else batches([(key_of(number), value)])
    return next((Remaining(one.operations, one.times) for one in found), Remaining())

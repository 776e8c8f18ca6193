"""Writes what is asked of a scheduler to the ledger, and acts on it when it is there.

All of it stands in one line: operations of all clients, the scheduler's own, records of
others. What has come is proposed together; several proposals may be under way; what is
committed is acted on in that order, and only then acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from dtf_dask.durable.operations import ERRED, decode_operation
from dtf_dask.ha.ledger.entries import COMMAND_BYTES_MAX
from dtf_dask.standby.applying import Applier
from dtf_dask.standby.entries import Asked, Asker, Entry, Kept
from dtf_dask.standby.journal import (
    APART_S,
    BATCH_OPERATIONS_MAX,
    PART_BYTES_MAX,
    key_of,
    parts_of,
)
from dtf_dask.standby.ledger_room import LedgerRoom

logger = logging.getLogger(__name__)

PROPOSALS_MAX = 8
"""Under way at once."""
COMMANDS_MAX = 5_000
BYTES_MAX = COMMAND_BYTES_MAX - 64 * 1024
_BATCH_BYTES_MAX = PART_BYTES_MAX - 16 * 1024
LAZILY_S = _TURN_S = 0.02
TOLD_AFTER_S = 1.0
"""So long a proposal may take before clients are told that they wait."""
CUT_EVERY_S = 0.5

Propose = Callable[[Sequence[bytes]], "asyncio.Future[str]"]
"""Has commands proposed as one entry; answers why they were not, or ``""``."""


class Durability:
    """The line before the ledger, of a scheduler that leads.

    Nothing of it is proposed before `lead`.

    Parameters
    ----------
    records
        Those that are no journal; they are kept up to date here from `lead` on.
    failed
        Told why a proposal was not committed: the scheduler cannot go on.
    waiting
        Told that proposals take long, and why; or ``""``, that they do no longer.

    Attributes
    ----------
    term
        That is led; 0 before.
    order
        Held by whoever changes tasks.
    """

    def __init__(
        self,
        applier: Applier,
        propose: Propose,
        records: dict[str, bytes],
        failed: Callable[[str], None],
        waiting: Callable[[str], None] = lambda why: None,
    ) -> None:
        self.term = 0
        self.order = asyncio.Lock()
        self.applier = applier
        applier.telling.before = self._acknowledge
        self._acted: dict[Asker, int] = {}
        """Who is to hear up to which number its operations were acted on."""
        self._propose = propose
        self._records = records
        self._next_number = 0
        self._failed = failed
        self._waiting = waiting
        self._line: deque[Asked | Kept] = deque()
        self._made: deque[Entry] = deque()
        """Not yet proposed."""
        self._proposed: deque[Entry] = deque()
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._last_s = 0.0
        self._cutting: asyncio.TimerHandle | None = None
        self.room = LedgerRoom()

    def lead(self, term: int, next_number: int) -> None:
        """From now on propose, in this term, and write records from this number on."""
        self.term, self._next_number = term, next_number
        self._pump()

    async def keep(self, records: Mapping[str, bytes | None]) -> None:
        """Write records, None for those that go; returns when they are committed."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(Kept(dict(records), done))
        await done

    def keep_lazily(self, records: Mapping[str, bytes | None]) -> None:
        """Write records some time, in their order with all else."""
        rows = iter(records.items())
        while some := dict(islice(rows, 1_000)):
            self._put(Kept(some, None), lazily=True)

    def append(self, operation: bytes) -> None:
        """Add an operation of the scheduler's own to the journal, lazily."""
        decoded = decode_operation(operation)
        if decoded.kind == ERRED and self.room.none_to_keep():
            return  # the worker has the error, too, and says it to who comes next
        self._put(Asked(decoded, operation), lazily=True)

    async def settled(self) -> None:
        """Wait until all that was given before is committed, and acted on."""
        await self.keep({})

    def records(self, prefix: str) -> list[tuple[str, bytes]]:
        """What is kept under a prefix, in the order of keys."""
        return sorted(
            (key, value)
            for key, value in self._records.items()
            if key.startswith(prefix)
        )

    def ask(self, asked: Asked) -> None:
        """Add a client's operation to the line."""
        self._put(asked)

    async def run(self) -> None:
        """Act on what is committed, until cancelled."""
        try:
            while True:
                while self._proposed:
                    entry = self._proposed[0]
                    why = await self._outcome(entry)
                    if why:
                        self._failed(f"a proposal failed: {why}")
                        return
                    self._proposed.popleft()
                    self._pump()
                    async with self.order:
                        await self._committed(entry)
                self._wake.clear()
                await self._wake.wait()
        except Exception as error:
            logger.exception("the scheduler's journal cannot be followed")
            self._failed(f"{type(error).__name__}: {error}")

    # From the line to the ledger.

    def _put(self, item: Asked | Kept, *, lazily: bool = False) -> None:
        self._line.append(item)
        self.room.asked(item.size)
        if lazily and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not (lazily or self._proposed):
            self._pump()  # nothing is under way that it could wait for
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LAZILY_S if lazily else 0, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._pump()

    def _pump(self) -> None:
        """Propose what has come, unless so much is under way that it can wait."""
        if not self.term:
            return
        while len(self._proposed) < PROPOSALS_MAX and (self._made or self._line):
            if not self._made:
                if len(self._proposed) > 1 and len(self._line) < BATCH_OPERATIONS_MAX:
                    break
                self._make()
            entry = self._made.popleft()
            entry.outcome = self._propose(entry.commands) if entry.commands else _none()
            self._proposed.append(entry)
        self._wake.set()

    def _make(self) -> None:
        """Make an entry of what stands first in the line, or several if it is large."""
        # Tasks stand in the order of this time: no clock of another leader breaks it.
        self._last_s = max(self._last_s, self.applier.last_s, time.time())
        entry = Entry(at_s=self._last_s)
        seen: dict[str, bytes | None] = {}
        batch: list[bytes] = []
        size = 0
        while self._line:
            item = self._line[0]
            if isinstance(item, Kept):
                if not self._keep(entry, item):
                    break
            else:
                size += len(item.packed)
                if batch and size > _BATCH_BYTES_MAX:
                    break
                if len(batch) == BATCH_OPERATIONS_MAX or len(seen) > COMMANDS_MAX:
                    break
                if item.operation is not None:
                    batch.append(item.packed)
                if item.record is not None:
                    seen[item.record[0]] = item.record[1]
                entry.items.append(item)
                self._line.popleft()
            if max(entry.size, size) > _BATCH_BYTES_MAX:
                break
        for key, value in seen.items():
            entry.put(key, value)
        if batch:
            self._write(entry, batch)
            self._last_s += len(batch) * APART_S
        self._made.append(entry)

    def _write(self, entry: Entry, batch: list[bytes]) -> None:
        """Put a batch into the journal; the last of its parts goes with the rest."""
        parts = parts_of(entry.at_s, batch)
        entry.number, entry.count = self._next_number, len(parts)
        entry.operations = len(batch)
        self._next_number += len(parts)
        before = Entry()
        for at, part in enumerate(parts):
            last = at == len(parts) - 1
            if not last and before.size + len(part) > BYTES_MAX:
                self._made.append(before)
                before = Entry()
            (entry if last else before).put(key_of(entry.number + at), part)
        if before.commands:
            self._made.append(before)

    def _keep(self, entry: Entry, item: Kept) -> bool:
        size = sum(
            len(value or b"") + len(key) + 64 for key, value in item.records.items()
        )
        if entry.commands and (
            entry.size + size > _BATCH_BYTES_MAX
            or len(entry.commands) + len(item.records) > COMMANDS_MAX
        ):
            return False
        for key, value in item.records.items():
            entry.put(key, value)
        entry.items.append(item)
        self._line.popleft()
        return True

    # From the ledger to the scheduler.

    async def _outcome(self, entry: Entry) -> str:
        outcome = entry.outcome
        assert outcome is not None
        if not outcome.done():
            await asyncio.wait([outcome], timeout=TOLD_AFTER_S)
        if outcome.done():
            return outcome.result()
        self._waiting("most of the coordinators cannot be reached")
        why = await outcome
        self._waiting("")
        return why

    async def _committed(self, entry: Entry) -> None:
        living = self.applier.living
        if entry.number:
            alone = entry.operations == 1
            living.begin(entry.number, entry.count, entry.at_s, alone=alone)
        turn_ends = time.monotonic() + _TURN_S
        places = 0
        for item in entry.items:
            self.room.done(item.size)
            if isinstance(item, Kept):
                self._remember(item.records)
                if item.done is not None and not item.done.done():
                    item.done.set_result(None)
                continue
            if item.operation is not None:
                # Each as if it had come alone: Dask's generations go by this time.
                at_s, places = entry.at_s + places * APART_S, places + 1
                if item.asker is not None and item.seq:
                    # It may be told of what it asks for, before all is done for that.
                    self._acted[item.asker] = item.seq
                for _ in self.applier.act(item.operation, item.packed, at_s, item.read):
                    await asyncio.sleep(0)
                item.why = self.applier.failed
            if item.record is not None:
                self._remember(dict([item.record]))
            if item.asker is not None:
                self._acted[item.asker] = item.seq
                if item.why:
                    item.asker.refused(item.seq, item.why, item.keys)
            if time.monotonic() > turn_ends:
                self._acknowledge()
                await asyncio.sleep(0)
                turn_ends = time.monotonic() + _TURN_S
        if entry.number:
            living.end()
        self._acknowledge()
        if self._cutting is None:
            loop = asyncio.get_running_loop()
            self._cutting = loop.call_later(CUT_EVERY_S, self._cut)

    def _acknowledge(self) -> None:
        """Tell clients what was acted on; nothing is said before of what came of it."""
        acted, self._acted = self._acted, {}
        for asker, seq in acted.items():
            asker.done(seq)

    def _remember(self, records: Mapping[str, bytes | None]) -> None:
        for key, value in records.items():
            if value is None:
                self._records.pop(key, None)
            else:
                self._records[key] = value

    def _cut(self) -> None:
        """Have records of the journal removed that are over."""
        self._cutting = None
        self.applier.say_kept()  # before anything goes that would tell it, too
        for gone in self.applier.living.take_gone():
            keys = [key_of(gone.number + at) for at in range(gone.count)]
            records: dict[str, bytes | None] = dict.fromkeys(keys)
            if gone.rest:
                (records[keys[0]],) = parts_of(gone.at_s, gone.rest, gone.times)
            self.keep_lazily(records)


def _none() -> asyncio.Future[str]:
    """The outcome of no commands."""
    outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    outcome.set_result("")
    return outcome

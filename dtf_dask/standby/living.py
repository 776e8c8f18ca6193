"""Which operations of a journal matter still: the rest of it may go. Pure.

What is left must make the same tasks and the same wishes as the whole journal did.

- What made a task, or added a wish, matters while that task is known, or that wish is
  not denied.
- What denied wishes matters while a record holds an operation before it that would add
  one of them, even one that matters no more.
- What describes a task (its error, its counts) matters while the task is known and
  nothing newer of that kind describes it.

Operations share records. A record goes when nothing that it holds matters; one of which
much matters no more is written again with the rest. With all that a record holds in
place of what it denies, no wish stays that was denied. But a task that others wanted
meanwhile is forgotten too early when what is left is acted on: so whoever does keeps
what it forgets until it has acted on all, and revives what is mentioned again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from dtf_dask.standby.journal import Remaining
from dtf_dask.submission.table import Key

HELD_UP_MAX = 64
"""Operations that may wait for a record that could be written again."""
_ASKED_AGAIN = 8
_COMPLETES = 0
"""No kind of an operation: what made a task out of a value that was scattered."""


@dataclass(frozen=True, slots=True)
class Gone:
    """What may become of a record: those must be written in the order they come in.

    Parameters
    ----------
    number, count
        Its number, and how many records it takes.
    at_s
        When it was written.
    rest, times
        What it is to hold instead, and when each of that was written; nothing if it
        goes.
    """

    number: int
    count: int
    at_s: float
    rest: tuple[bytes, ...]
    times: tuple[float, ...] = ()


class Living:
    """Keeps what matters of a journal, while its operations are acted on."""

    def __init__(self) -> None:
        self._makers: dict[Key, _Entry] = {}
        self._wishes: dict[str, dict[Key, _Wish]] = {}
        self._described: dict[Key, dict[int, _Entry]] = {}
        self._buried: dict[Key, tuple[_Entry | None, dict[int, _Entry]]] = {}
        self._records: dict[int, _Record] = {}
        self._touched: dict[_Record, None] = {}
        self._open = _Record(0, 0, 0.0)
        self._at_s = 0.0
        self._voided: dict[tuple[str, Key], dict[_Entry, None]] = {}

    def __len__(self) -> int:
        """How many records are left, parts of one counted once."""
        return len(self._records)

    def begin(
        self, number: int, count: int, at_s: float, *, alone: bool = False
    ) -> None:
        """What comes next stands in this record; alone, if it holds nothing else."""
        self._open = self._records[number] = _Record(number, count, at_s, alone)

    def turn(self, at_s: float) -> None:
        """What comes next was written at this time."""
        self._at_s = at_s

    def end(self) -> None:
        """It holds no more."""
        self._touched[self._open] = None
        self._open = _Record(0, 0, 0.0)

    def asserted(
        self,
        operation: bytes,
        client: str,
        made: Iterable[Key] = (),
        wanted: Iterable[Key] = (),
        vain: Iterable[Key] = (),
        completed: Iterable[Key] = (),
    ) -> None:
        """An operation made these tasks, and adds these wishes of a client.

        ``vain`` are wishes for what was not there to be wanted; what is ``completed``
        was known, and can be computed from now on.
        """
        entry = self._entry(operation)
        for key in made:
            before, self._makers[key] = self._makers.get(key), entry
            entry.matters += 1
            if before is not None:
                self._matters_less(before)  # it was revived, and is made anew
        self._describe(_COMPLETES, entry, completed)
        wishes = self._wishes.setdefault(client, {})
        for key in wanted:
            wish = wishes.setdefault(key, _Wish())
            wish.add(entry)
            if wish.counting is None:
                wish.counting = entry
                entry.matters += 1
        for key in vain:
            wishes.setdefault(key, _Wish()).add(entry)
        self._look(entry)

    def denied(self, operation: bytes, wishes: Iterable[tuple[str, Key]]) -> None:
        """An operation made these wishes void, if they were there."""
        found: dict[_Entry, None] = {}
        for client, key in wishes:
            self._void(self._wishes.get(client, {}).pop(key, None), found)
        self._denies(operation, found)

    def void(self, client: str, keys: Iterable[Key], upto_s: float) -> list[Key]:
        """Wishes are void that were there at a time; answers for which keys they were.

        The operation that says so is yet to come.
        """
        wishes, void = self._wishes.get(client, {}), []
        for key in keys:
            wish = wishes.get(key)
            if wish is None or any(one.at_s > upto_s for one in wish.entries):
                continue
            del wishes[key]
            self._void(wish, self._voided.setdefault((client, key), {}))
            void.append(key)
        return void

    def denied_upto(
        self, operation: bytes, client: str, keys: Iterable[Key], at_s: float
    ) -> list[Key]:
        """Wishes are void that were there at a time; answers what is wished no more."""
        found: dict[_Entry, None] = {}
        wishes, void = self._wishes.get(client, {}), []
        for key in keys:
            before = [
                one for one in self._voided.pop((client, key), ()) if not one.gone
            ]
            found.update(dict.fromkeys(one for one in before if one.at_s <= at_s))
            later = dict.fromkeys(one for one in before if one.at_s > at_s)
            if later:  # they were void by then, and another operation says so
                self._voided[client, key] = later
            wish = wishes.get(key)
            newer = [] if wish is None else [e for e in wish.entries if e.at_s > at_s]
            if wish is None or not newer:
                self._void(wishes.pop(key, None), found)
                void.append(key)
                continue
            older = [one for one in wish.entries if one.at_s <= at_s]
            found.update(dict.fromkeys(one for one in older if not one.gone))
            wish.entries = newer
            if wish.counting in older:
                self._matters_again(newer[0])
                self._matters_less(wish.counting)
                wish.counting = newer[0]
        self._denies(operation, found)
        return void

    def left(self, operation: bytes, clients: Iterable[str]) -> None:
        """An operation made all wishes of these clients void."""
        found: dict[_Entry, None] = {}
        for client in clients:
            for wish in self._wishes.pop(client, {}).values():
                self._void(wish, found)
        self._denies(operation, found)

    def described(self, kind: int, operation: bytes, keys: Iterable[Key]) -> None:
        """An operation says something of that kind about these known tasks."""
        entry = self._entry(operation)
        self._describe(kind, entry, keys)
        self._look(entry)

    def forgotten(self, key: Key) -> None:
        """A task is known no more."""
        maker = self._makers.pop(key, None)
        kinds = self._described.pop(key, {})
        self._buried[key] = maker, kinds
        for entry in (maker, *kinds.values()):
            if entry is not None:
                self._matters_less(entry)

    def is_made(self, key: Key) -> bool:
        """Whether an operation made a task that is known."""
        return key in self._makers

    def revived(self, key: Key) -> None:
        """It had better not been: what kept it known is no longer in the journal."""
        maker, kinds = self._buried.pop(key)
        if maker is not None:
            self._makers[key] = maker
        if kinds:
            self._described[key] = kinds
        for entry in (maker, *kinds.values()):
            if entry is not None:
                self._matters_again(entry)

    def written_again(self, number: int, left: Remaining) -> None:
        """Another wrote a record again, with what is left, or removed it."""
        record = self._records.get(number)
        if record is None:
            return
        out: list[_Entry] = []
        kept: list[_Entry] = []
        for entry in record.entries:
            (kept if left.holds(entry.operation, entry.at_s) else out).append(entry)
        if not kept:
            record.gone = True
            del self._records[number]
        record.entries = kept
        over = [one for one in kept if one.over]
        record.size = sum(one.size for one in kept)
        record.over, record.over_size = len(over), sum(one.size for one in over)
        record.holds_up = sum(len(one.holds_up) for one in over)
        self._remove(out)

    def settle(self, keys: Iterable[Key] | None = None) -> None:
        """What was forgotten until now is not revived, or some of it."""
        if keys is None:
            self._buried.clear()
            return
        for key in keys:
            self._buried.pop(key, None)

    def clients(self) -> list[str]:
        """Those with wishes, or that had some."""
        return list(self._wishes)

    def wanted(self, client: str) -> Collection[Key]:
        """What a client wants, or wanted in vain."""
        return self._wishes.get(client, {}).keys()

    def wanting(self, key: Key) -> list[str]:
        """The clients that want a key, or wanted it in vain."""
        return [client for client, wishes in self._wishes.items() if key in wishes]

    def take_gone(self) -> list[Gone]:
        """Records that may go, or hold less, by now; one may come twice."""
        self.settle()
        found: list[Gone] = []
        while self._touched:
            record = next(iter(self._touched))
            del self._touched[record]
            if record.gone:
                continue
            if record.over == len(record.entries):
                record.gone = True
                del self._records[record.number]
                self._remove(record.entries)
                found.append(Gone(record.number, record.count, record.at_s, ()))
            elif record.worth_writing_again:
                out = [one for one in record.entries if one.over]
                record.entries = [one for one in record.entries if not one.over]
                record.size -= record.over_size
                record.over = record.over_size = record.holds_up = 0
                self._remove(out)
                rest = tuple(one.operation for one in record.entries)
                times = tuple(one.at_s for one in record.entries)
                gone = Gone(record.number, record.count, record.at_s, rest, times)
                found.append(gone)
        return found

    def _describe(self, kind: int, entry: _Entry, keys: Iterable[Key]) -> None:
        for key in keys:
            kinds = self._described.setdefault(key, {})
            before, kinds[kind] = kinds.get(kind), entry
            entry.matters += 1
            if before is not None:
                self._matters_less(before)

    def _void(self, wish: _Wish | None, found: dict[_Entry, None]) -> None:
        if wish is None:
            return
        found.update(dict.fromkeys(one for one in wish.entries if not one.gone))
        if wish.counting is not None:
            self._matters_less(wish.counting)

    def _denies(self, operation: bytes, found: Iterable[_Entry]) -> None:
        entry = self._entry(operation, denies=True)
        for one in found:
            one.holds_up.append(entry)
            entry.matters += 1
            if one.over:
                one.record.holds_up += 1
                self._touch(one.record)
        self._look(entry)

    def _entry(self, operation: bytes, *, denies: bool = False) -> _Entry:
        record = self._open
        # What denies is small, and waits for others: it must not keep them waiting.
        size = 0 if denies else len(operation)
        # A record of one operation goes or stays; the bytes would be kept for nothing.
        operation = b"" if record.alone else operation
        entry = _Entry(operation, size, record, self._at_s)
        record.entries.append(entry)
        record.size += entry.size
        return entry

    def _matters_less(self, entry: _Entry) -> None:
        entry.matters -= 1
        self._look(entry)

    def _matters_again(self, entry: _Entry) -> None:
        entry.matters += 1
        if entry.over and not entry.gone:
            entry.over = False
            record = entry.record
            record.over -= 1
            record.over_size -= entry.size
            record.holds_up -= len(entry.holds_up)

    def _look(self, entry: _Entry) -> None:
        if entry.matters or entry.over or entry.gone:
            return
        entry.over = True
        record = entry.record
        record.over += 1
        record.over_size += entry.size
        record.holds_up += len(entry.holds_up)
        self._touch(record)

    def _touch(self, record: _Record) -> None:
        if record is not self._open:
            self._touched[record] = None

    def _remove(self, entries: Collection[_Entry]) -> None:
        for entry in entries:
            entry.gone = True  # first: their record counts none of them any more
        for entry in entries:
            for denying in entry.holds_up:
                self._matters_less(denying)
            entry.holds_up = []


@dataclass(slots=True, eq=False)
class _Record:
    number: int
    count: int
    at_s: float
    alone: bool = False
    entries: list[_Entry] = field(default_factory=list)
    size: int = 0
    over: int = 0
    over_size: int = 0
    holds_up: int = 0
    """Operations that matter only because it holds what they deny."""
    gone: bool = False

    @property
    def worth_writing_again(self) -> bool:
        if not self.over:
            return False
        if self.over_size:
            return 2 * self.over_size >= self.size or self.holds_up >= HELD_UP_MAX
        return 2 * self.over >= len(self.entries)


@dataclass(slots=True, eq=False)
class _Entry:
    """An operation, which matters for so many reasons."""

    operation: bytes
    size: int
    record: _Record
    at_s: float
    matters: int = 0
    holds_up: list[_Entry] = field(default_factory=list)
    """What denies its wishes, and matters while a record holds it."""
    over: bool = False
    gone: bool = False


@dataclass(slots=True)
class _Wish:
    """What added one wish of a client, or would add it alone; the first one counts."""

    entries: list[_Entry] = field(default_factory=list)
    counting: _Entry | None = None

    def add(self, entry: _Entry) -> None:
        if len(self.entries) >= _ASKED_AGAIN:
            self.entries = [one for one in self.entries if not one.gone]
        self.entries.append(entry)

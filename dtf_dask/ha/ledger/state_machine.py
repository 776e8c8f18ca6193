"""The state that the log makes: the same on every node that has applied as much. Pure.

It is given entries in their order and answers outcomes. It reads no clock: its time is
what leaders wrote into entries. An entry that it does not understand stops it for good,
since what comes after would be applied to another state than elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dtf_dask.ha.ledger import snapshots
from dtf_dask.ha.ledger.entries import Command, decode_entry
from dtf_dask.ha.ledger.history import ChangeHistory
from dtf_dask.ha.ledger.kinds import KINDS, VERSION, Kind
from dtf_dask.ha.ledger.outcomes import (
    FORGOTTEN,
    NO_SESSION,
    Outcome,
    Stopped,
    Unreadable,
)
from dtf_dask.ha.ledger.queries import Answer, Get, Query, Scan
from dtf_dask.ha.ledger.records import Record, Records
from dtf_dask.ha.ledger.references import value_bytes
from dtf_dask.ha.ledger.sessions import OUTCOMES_MAX, TOO_FAR_AHEAD, Sessions

TIME_STEP_MAX_MS = 60_000
"""How far one entry may move the time: a leader with a mad clock ends no sessions."""

_ANSWER_BYTES_MAX = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Applied:
    """An entry was applied; an outcome for each of its commands, in their order."""

    index: int
    outcomes: list[Outcome]


class StateMachine:
    """What the ledger holds, as of the last entry that was applied.

    Parameters
    ----------
    kinds, version
        The commands that it knows; other than all only to test what an older node does.

    Examples
    --------
    >>> from dtf_dask.ha.ledger.entries import encode_command, encode_entry
    >>> from dtf_dask.ha.ledger.kinds import PUT
    >>> state = StateMachine()
    >>> command = encode_command(PUT, "runs", "r1", b"queued")
    >>> state.apply(1, encode_entry(0, [command])).outcomes
    [Outcome(code=<Code.OK: 0>, value=1)]
    >>> state.answer(Get("runs", "r1")).records
    (('r1', Record(value=b'queued', revision=1)),)
    """

    def __init__(
        self, kinds: Mapping[int, Kind] = KINDS, version: int = VERSION
    ) -> None:
        self.index = 0
        self.time_ms = 0
        self.records = Records()
        self.sessions = Sessions()
        self.history = ChangeHistory()
        self.stopped: Stopped | None = None
        self._kinds = kinds
        self._version = version

    def apply(self, index: int, payload: bytes) -> Applied | Stopped:
        """Apply the next entry, or say why nothing is applied any more.

        Entries that hold nothing for the ledger (configuration changes) are given as
        empty ones, since none may be left out.
        """
        if self.stopped is not None:
            return self.stopped
        if index != self.index + 1:
            raise ValueError(f"entry {index} after entry {self.index}")
        entry = decode_entry(payload, self._kinds, self._version)
        if isinstance(entry, Unreadable):
            self.stopped = Stopped(index, entry.reason)
            return self.stopped
        if entry.time_ms > self.time_ms:
            self.time_ms = min(entry.time_ms, self.time_ms + TIME_STEP_MAX_MS)
            self.sessions.expire(self.time_ms)
        perform = self._perform
        outcomes = [perform(command) for command in entry.commands]
        self.index = index
        if self.records.changes:
            self.history.add(index, self.records.changes)
            self.records.changes.clear()
        return Applied(index, outcomes)

    def _perform(self, command: Command) -> Outcome:
        """Carry out a command, unless its session says that it was done."""
        kind, session_id, number, done_below = command[:4]
        if not number:
            return self._kinds[kind].apply(self, session_id, command[4:])
        session = self.sessions.by_id.get(session_id)
        if session is None:
            return NO_SESSION
        session.expires_at_ms = self.time_ms + session.ttl_ms
        if done_below > session.first:
            session.forget_below(done_below)
        if number < session.first:
            return FORGOTTEN
        outcomes = session.outcomes
        known = outcomes.get(number)
        if known is not None:
            return known
        if number - session.first >= OUTCOMES_MAX:
            return TOO_FAR_AHEAD
        outcome = self._kinds[kind].apply(self, session_id, command[4:])
        outcomes[number] = outcome
        return outcome

    def answer(self, query: Query) -> Answer:
        """What the records say, as of `index`."""
        if isinstance(query, Get):
            record = self.records.get(query.namespace, query.key)
            found = () if record is None else ((query.key, record),)
            return Answer(self.index, self.time_ms, found, False)
        return self._scan(query)

    def _scan(self, scan: Scan) -> Answer:
        found: list[tuple[str, Record]] = []
        room = _ANSWER_BYTES_MAX
        for key, record in self.records.walk(scan.namespace, scan.prefix, scan.after):
            room -= len(key) + value_bytes(record.value)
            if len(found) == scan.limit or (room < 0 and found):
                return Answer(self.index, self.time_ms, tuple(found), True)
            found.append((key, record))
        return Answer(self.index, self.time_ms, tuple(found), False)

    def freeze(self) -> snapshots.Frozen:
        """The state as it is now, to be written while this one goes on."""
        return snapshots.Frozen(
            self.index,
            self.time_ms,
            self.records.revision,
            self.records.copied(),
            self.sessions.copied(),
        )

    def snapshot(self) -> Iterator[bytes]:
        """The state as bytes: equal on all nodes that have applied as much."""
        return self.freeze().chunks()

    def state_hash(self) -> str:
        """What two nodes compare, as of the same `index`."""
        return self.freeze().hash()


def restored(
    chunks: Iterable[bytes],
    kinds: Mapping[int, Kind] = KINDS,
    version: int = VERSION,
) -> StateMachine | Unreadable:
    """The state that a snapshot holds, or why it cannot be had."""
    state = StateMachine(kinds, version)
    wrong = snapshots.load(chunks, state, version)
    if wrong is not None:
        return wrong
    state.history = ChangeHistory(floor=state.index)
    return state

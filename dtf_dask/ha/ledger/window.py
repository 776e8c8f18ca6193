"""What a client of a session sends next, again, or not any more. Pure.

One batch is under way at a time, and it is sent as it is until its outcomes are there
or nobody waits for them: so commands are done in the order in which they were asked
for. A batch that is given up may still arrive late; what is sent after it says that its
outcomes are not wanted any more, so that then it is done no more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from dtf_dask.errors import UsageError
from dtf_dask.ha.ledger.kinds import SESSION_RENEW
from dtf_dask.ha.ledger.numbering import Numbering
from dtf_dask.ha.ledger.outcomes import NO_SESSION, UNKNOWN, Code, Outcome, not_done

BATCH_COMMANDS_MAX = 2_000
BATCH_BYTES = 256 * 2**10
"""A batch is full with the command that goes beyond it."""

_GIVEN_UP = not_done("it was given up before it was sent")
UNSETTLED = (Code.UNKNOWN, Code.NOT_DONE)
"""What a sending may come to after which the same is sent again."""


class Asked:
    """A command that was asked for; who waits for its outcome is of a class of it.

    Parameters
    ----------
    kind, arguments
        As `encode_command` takes them.
    """

    __slots__ = ("arguments", "kind", "number", "size")

    def __init__(self, kind: int, arguments: Sequence[Any]) -> None:
        self.kind = kind
        self.arguments = arguments
        self.size = 0
        for one in arguments:
            if type(one) is bytes or type(one) is str:
                self.size += len(one)
        self.number = 0
        """In the session; 0 as long as it has not been sent."""

    @property
    def given_up(self) -> bool:
        """Whether nobody waits for it: then it is sent only together with others."""
        return True


Settled = tuple[Asked, Outcome | UsageError]


class Window:
    """The commands of a session that have no outcome yet.

    Parameters
    ----------
    session : str
        The session's id.
    commands_max, bytes_max : int
        How many commands, with how many bytes of arguments, there is room for.
    """

    def __init__(self, session: str, commands_max: int, bytes_max: int) -> None:
        self.session = session
        self.held = self.held_bytes = 0
        self.answered = self.unknown = self.not_done = 0
        """How many commands came to what."""
        self.expired = False
        """Whether the ledger does not know the session any more."""
        self.packed: list[bytes] = []
        """The batch that is to be sent; empty if nothing is."""
        self._commands_max = commands_max
        self._bytes_max = bytes_max
        self._numbering = Numbering(session)
        self._batch: list[Asked] = []
        self._sent = False
        self._maybe_done = False
        self._under_way = False
        self._queue: deque[Asked] = deque()
        self._outside: dict[Asked, None] = {}

    def add(self, asked: Asked) -> bool:
        """Take up a command; False if it has to wait for room."""
        if self._outside or not self._has_room(asked):
            self._outside[asked] = None
            return False
        self._admit(asked)
        return True

    def admit(self) -> list[Asked]:
        """Those that waited for room and have it now."""
        admitted = []
        while self._outside:
            asked = next(iter(self._outside))
            if not (asked.given_up or self._has_room(asked)):
                break
            if asked.given_up:
                self.leave(asked)
                continue
            del self._outside[asked]
            self._admit(asked)
            admitted.append(asked)
        return admitted

    def leave(self, asked: Asked) -> None:
        """It does not wait for room any more, if it did."""
        if self._outside.pop(asked, self) is None:
            self.not_done += 1

    def fill(self) -> list[Settled]:
        """Make the next batch of what has been asked for; what is not sent at all."""
        assert not self._batch
        unsent: list[Settled] = []
        room = BATCH_BYTES
        queue, batch = self._queue, self._batch
        while queue and room > 0 and len(batch) < BATCH_COMMANDS_MAX:
            asked = queue.popleft()
            if asked.given_up:
                self._leave(asked, _GIVEN_UP)
                unsent.append((asked, _GIVEN_UP))
                continue
            try:
                room -= self._number(asked)
            except UsageError as error:
                self._leave(asked, _GIVEN_UP)
                unsent.append((asked, error))
        return unsent

    def renew(self) -> None:
        """Make a batch of what only keeps the session, and says what is received."""
        assert not self._batch
        self.held += 1
        self._number(Asked(SESSION_RENEW, ()))

    def sending(self) -> list[Settled]:
        """The batch is sent now, without those that are said not to be done."""
        left: list[Settled] = []
        if self._sent and not self._maybe_done:
            batch, packed = self._batch, self.packed
            self._batch, self.packed = [], []
            for asked, again in zip(batch, packed, strict=True):
                if asked.given_up:
                    left.append((asked, self._settle(asked, _GIVEN_UP)))
                else:
                    self._batch.append(asked)
                    self.packed.append(again)
        self._sent = self._under_way = bool(self._batch)
        return left

    def take(self, outcomes: Sequence[Outcome] | None) -> list[Settled]:
        """What a sending of the batch came to; None if nobody said anything.

        What stays without an outcome is to be sent again, if anybody waits for it.
        """
        self._under_way = False
        batch, packed = self._batch, self.packed
        if outcomes is None:
            outcomes = [UNKNOWN] * len(batch)
        self._batch, self.packed = [], []
        settled: list[Settled] = []
        # What was left out while others were done keeps its place by not being done.
        final = any(outcome.code not in UNSETTLED for outcome in outcomes)
        for asked, again, outcome in zip(batch, packed, outcomes, strict=True):
            if outcome.code not in UNSETTLED or (
                final and outcome.code is Code.NOT_DONE
            ):
                settled.append((asked, self._settle(asked, outcome)))
                continue
            if outcome.code is Code.UNKNOWN:
                self._maybe_done = True
                self._numbering.unanswered(asked.number)
            self._batch.append(asked)
            self.packed.append(again)
        if not self._batch:
            self._sent = self._maybe_done = False
        elif all(asked.given_up for asked in self._batch):
            settled += self.drop(_GIVEN_UP)
        if self.expired:
            settled += self.end(NO_SESSION)
        return settled

    def give_up(self, asked: Asked) -> Outcome:
        """What can be said of a command at the end of its time."""
        if asked.number and (self._under_way or self._maybe_done):
            return UNKNOWN
        return not_done("it was not sent in time, or nobody took it up")

    def drop(self, outcome: Outcome) -> list[Settled]:
        """Send the batch no more."""
        settled = self.take(None) if self._under_way else []
        batch, self._batch, self.packed = self._batch, [], []
        self._sent = self._maybe_done = False
        settled += [(asked, self._settle(asked, outcome)) for asked in batch]
        return settled

    def end(self, outcome: Outcome) -> list[Settled]:
        """Send nothing any more; what is known of all that have no outcome."""
        settled = self.drop(outcome)
        for asked in self._queue:
            self._leave(asked, outcome)
        self.not_done += len(self._outside)
        settled += [(asked, outcome) for asked in (*self._queue, *self._outside)]
        self._queue.clear()
        self._outside.clear()
        return settled

    @property
    def idle(self) -> bool:
        """Whether nothing has been asked for that has no outcome."""
        return not (self._batch or self._queue or self._outside)

    def account(self) -> str:
        """What became of all that was asked for, in words."""
        return (
            f"{self.answered} commands have their outcomes, {self.unknown} may have"
            f" been done or not, {self.not_done} were not done"
        )

    def _has_room(self, asked: Asked) -> bool:
        return not self.held or (
            self.held < self._commands_max
            and self.held_bytes + asked.size <= self._bytes_max
        )

    def _admit(self, asked: Asked) -> None:
        self.held += 1
        self.held_bytes += asked.size
        self._queue.append(asked)

    def _number(self, asked: Asked) -> int:
        asked.number, packed = self._numbering.number(asked.kind, *asked.arguments)
        self._batch.append(asked)
        self.packed.append(packed)
        return len(packed)

    def _settle(self, asked: Asked, outcome: Outcome) -> Outcome:
        if outcome.code is Code.NO_SESSION:
            self.expired = True
        outcome = self._numbering.settle(asked.number, outcome)
        self._leave(asked, outcome)
        return outcome

    def _leave(self, asked: Asked, outcome: Outcome) -> None:
        self.held -= 1
        self.held_bytes -= asked.size
        if asked.kind == SESSION_RENEW:
            return
        if outcome.code is Code.UNKNOWN:
            self.unknown += 1
        elif outcome.code in (Code.NO_SESSION, Code.NOT_DONE):
            self.not_done += 1
        else:
            self.answered += 1

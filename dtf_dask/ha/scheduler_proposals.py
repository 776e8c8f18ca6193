"""What a scheduler process proposes: into the log in its order, while one term lasts.

A proposal goes into the log only while its node leads the very term that the process
was told. Several are under way at a time. What the log refuses for now (leadership is
on its way to another, too much is waiting) is tried again, with all that came after it;
whatever else goes wrong ends the process, which then knows no more than its ledger.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto

from dtf_dask.errors import ProtocolError
from dtf_dask.ha.ledger.entries import ENTRY_COMMANDS_MAX, command_wrong
from dtf_dask.ha.ledger.kinds import DELETE, KINDS, PUT
from dtf_dask.ha.ledger.outcomes import Code, Outcome
from dtf_dask.ha.ledger.records import RECORD_BYTES, RECORDS_BYTES_MAX
from dtf_dask.ha.node import Node
from dtf_dask.ha.proposing import Fence
from dtf_dask.ha.raft.messages import Role
from dtf_dask.ha.scheduler_words import NAMESPACE, PROPOSAL_BYTES_MAX

HELD_BYTES_MAX = 16 * 2**20
HELD_COUNT_MAX = 4_096
"""Of proposals that are not answered: with more, nothing is read of the process."""

ROOM_KEPT_BYTES = 32 * 2**20
"""Of the ledger, for all others who write to it: half a proposal must never be done."""

_RETRY_S = 0.02
_KINDS = {PUT: KINDS[PUT], DELETE: KINDS[DELETE]}


class _State(Enum):
    WAITS = auto()
    PLACED = auto()
    ANSWERED = auto()
    REFUSED = auto()


class _Proposal:
    """One of them; it waits for its outcomes itself."""

    __slots__ = (
        *("_changed", "_settled", "commands", "outcomes"),
        *("size", "state", "ticket", "why"),
    )

    def __init__(
        self,
        ticket: int,
        commands: Sequence[bytes],
        changed: Callable[[], None],
        settled: Callable[[], None],
    ) -> None:
        self.ticket = ticket
        self.commands = commands
        self.size = sum(map(len, commands)) + RECORD_BYTES * len(commands)
        self.state = _State.WAITS
        self.why = ""
        self.outcomes: list[Outcome] = []
        self._changed, self._settled = changed, settled

    def answer(self, outcomes: list[Outcome]) -> None:
        """Its entry was applied, or nobody knows what becomes of it."""
        self.state, self.outcomes = _State.ANSWERED, outcomes
        self._settled()

    def refuse(self, reason: str) -> None:
        """It is not in the log, and nothing that came after it is."""
        self.state, self.why = _State.REFUSED, reason
        self._changed()


class SchedulerProposals:
    """The proposals of one process in one term.

    Parameters
    ----------
    node
        Which leads.
    term
        Which one.
    say
        Told ticket and reason (empty: committed) of each, in order.
    broken
        Called with the reason if the process must end.
    """

    def __init__(
        self,
        node: Node,
        term: int,
        say: Callable[[int, str], None],
        broken: Callable[[str], None],
    ) -> None:
        self._node = node
        self._term = term
        self._say = say
        self._broken = broken
        self._fence = Fence(term)
        self._held: deque[_Proposal] = deque()
        self._held_bytes = 0
        self._due = False
        self._retry: asyncio.TimerHandle | None = None
        self._ended = False
        self.room = asyncio.Event()
        """Set while more may come."""
        self.room.set()

    @property
    def leads(self) -> bool:
        """Whether the node leads that term still."""
        core = self._node.raw.core
        return core.role is Role.LEADER and core.term == self._term

    def offer(self, ticket: int, commands: Sequence[bytes]) -> None:
        """Have commands put into the log; `ProtocolError` for what is no proposal."""
        proposal = _Proposal(ticket, commands, self._changed, self._settle)
        self._held.append(proposal)
        self._held_bytes += proposal.size
        why = proposal_wrong(commands) or self._no_room(proposal)
        if why:
            proposal.state, proposal.why = _State.ANSWERED, why
        else:
            self._place()
        self._changed()

    def end(self) -> None:
        """Nobody waits any more."""
        self._ended = True
        self._fence.broken = True
        if self._retry is not None:
            self._retry.cancel()

    def _no_room(self, proposal: _Proposal) -> str:
        held = self._node.state.records.held_bytes + self._held_bytes
        if held <= RECORDS_BYTES_MAX - ROOM_KEPT_BYTES:
            return ""
        if all(command[1] == DELETE for command in proposal.commands):
            return ""
        return f"the ledger is full: {RECORDS_BYTES_MAX} bytes of records"

    def _place(self) -> None:
        """Hand over what waits, in order, unless something is to be tried again."""
        if self._fence.broken or self._ended:
            return
        node = self._node
        for proposal in self._held:
            if proposal.state is not _State.WAITS:
                continue
            reason = node.refusal
            if not reason and not node.proposals.add(
                proposal.commands, proposal, self._fence
            ):
                reason = "too much is waiting to be written"
            if reason:
                self._fence.broken = True
                proposal.refuse(reason)
                return
            proposal.state = _State.PLACED
        node.wake()

    def _changed(self) -> None:
        if not self._due and not self._ended:
            self._due = True
            asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        self._due = False
        held = self._held
        while held and held[0].state is _State.ANSWERED and not self._ended:
            done = held.popleft()
            self._held_bytes -= done.size
            bad = [one for one in done.outcomes if one.code is not Code.OK]
            if bad:
                # Half of it may be done: only the ledger says what is.
                self._broken(f"a proposal ended as {bad[0]}")
                return
            self._say(done.ticket, done.why)
        if self._ended:
            return
        if held and held[0].state is _State.REFUSED:
            self._try_again()
        full = self._held_bytes > HELD_BYTES_MAX or len(held) > HELD_COUNT_MAX
        if full:
            self.room.clear()
        else:
            self.room.set()

    def _try_again(self) -> None:
        """Once it is known of all that came after the refused one, too."""
        if not self.leads:
            self._broken(f"term {self._term} is over")
        elif self._retry is None and not any(
            one.state is _State.PLACED for one in self._held
        ):
            loop = asyncio.get_running_loop()
            self._retry = loop.call_later(_RETRY_S, self._once_more)

    def _once_more(self) -> None:
        self._retry = None
        if self._ended:
            return
        if not self.leads:
            self._broken(f"term {self._term} is over")
            return
        for one in self._held:
            if one.state is _State.REFUSED:
                one.state, one.why = _State.WAITS, ""
        self._fence = Fence(self._term)
        self._place()


def proposal_wrong(commands: Sequence[bytes]) -> str:
    """Why one entry does not take them; empty if it does.

    Raises
    ------
    ProtocolError
        They are no commands, or of records that are none of a scheduler's.
    """
    if not commands:
        return ""
    if len(commands) > ENTRY_COMMANDS_MAX:
        return f"at most {ENTRY_COMMANDS_MAX} commands at once"
    if sum(map(len, commands)) > PROPOSAL_BYTES_MAX:
        return f"at most {PROPOSAL_BYTES_MAX} bytes of commands at once"
    for command in commands:
        wrong = command_wrong(command, _KINDS, _namespace_wrong)
        if wrong is not None:
            raise ProtocolError(f"a proposal: {wrong}")
    return ""


def _namespace_wrong(namespace: str) -> str | None:
    return None if namespace == NAMESPACE else f"records of {namespace!r}"

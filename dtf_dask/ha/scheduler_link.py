"""The node's end of the socket to its scheduler process: see `scheduler_words`.

What changes in the ledger waits for a slow process up to a bound; then it is told all
records anew. What it asks is held up to a bound, and beyond it nothing is read of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dtf_dask.errors import ProtocolError
from dtf_dask.frames import Frame
from dtf_dask.ha import scheduler_words as words
from dtf_dask.ha.child_link import ChildLink
from dtf_dask.ha.node import Node
from dtf_dask.ha.node_status import NodeStatus
from dtf_dask.ha.process_time import cpu_s
from dtf_dask.ha.raft.messages import NodeId, Role
from dtf_dask.ha.record_feed import plain_changes, portions
from dtf_dask.ha.scheduler_backlog import Backlog
from dtf_dask.ha.scheduler_proposals import SchedulerProposals

FRAME_BYTES_MAX = words.PROPOSAL_BYTES_MAX * 2
"""Of what a process says."""

_OVERSLEPT_S = 1.0
_IDLE_SHARE, _SPINS = 0.02, 0.8
"""Who computes less of the time waits for nothing, or is stopped; who computes more of
the time that it may take hangs in a loop."""

_STANDING_PINGS = 4

_ASKED_MAX = 256


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """Times of the link.

    Parameters
    ----------
    start_s
        How long a process may do nothing until it is `ready`. One that computes is
        given `process_time.START_MAX_S`.
    ping_s
        Between two `ping`.
    hang_s
        How long one that leads may take to answer. One that computes, but less than
        that, is not let run by others: it may take ``busy_s``.
    busy_s
        How long a shadow may, or one that takes over.
    """

    start_s: float = 60.0
    ping_s: float = 0.25
    hang_s: float = 3.5
    busy_s: float = 20.0


class SchedulerLink(ChildLink):
    """A node and one scheduler process, from `hello` to the end of either.

    Parameters
    ----------
    node
        The node.
    hello
        The first word to the process.
    beyond_term
        It is made to lead only in a later term: in this one another process led here.
    heard
        Called with what the process says of itself (`ready`, `leading`, `settled`), and
        when it is told to `lead`.
    """

    def __init__(
        self,
        node: Node,
        hello: Mapping[str, Any],
        *,
        beyond_term: int = 0,
        options: LinkOptions | None = None,
        heard: Callable[[Frame], None] = lambda frame: None,
    ) -> None:
        options = options or LinkOptions()
        super().__init__(node, hello, FRAME_BYTES_MAX, options.start_s)
        self.pid = 0
        """Of the process, once it is ready."""
        self.term = 0
        """In which the process was made to lead; 0 before."""
        self.lets_in = False
        """Whether it leads, and lets workers and clients in."""
        self.over = False
        """Whether it ended since there is nothing to lead any more."""
        self._beyond_term = beyond_term
        self._options = options
        self._heard = heard
        self._proposals: SchedulerProposals | None = None
        self._deaf = False
        self._asked = self._answered = 0
        self._asked_at = self._busy_until = 0.0
        self._cpu_then_s: float | None = None
        self._asks: dict[int, asyncio.Future[dict[str, Any] | None]] = {}
        self._asks_made = 0
        self._ended = False

    async def ask(self, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        """What the process answers to an action; None if it cannot, or ends."""
        if not self.pid or self._ended or len(self._asks) >= _ASKED_MAX:
            return None
        self._asks_made += 1
        number = self._asks_made
        future = self._asks[number] = asyncio.get_running_loop().create_future()
        self._say(words.ask(number, asked))
        try:
            return await future
        finally:
            self._asks.pop(number, None)

    def _end(self) -> None:
        self._ended = True
        for waits in self._asks.values():
            if not waits.done():
                waits.set_result(None)
        if self._proposals is not None:
            self._proposals.end()
            self.over = not self._proposals.leads
        self.over |= self._node.ended

    # What the ledger says

    async def _feed(self) -> str:
        """Records, changes, and that it leads; then wait until it leads no more."""
        node, loop = self._node, asyncio.get_running_loop()
        while not (self.term or node.ended):
            backlog = Backlog(node, words.NAMESPACE, node.state.index)
            following = loop.create_task(backlog.run())
            try:
                await self._send_records()
                await self._send_changes(backlog)
            finally:
                following.cancel()
        proposals = self._proposals
        while proposals is not None and proposals.leads and not node.ended:
            await node.change()
        return "the node has ended" if node.ended else f"term {self.term} is over"

    async def _send_records(self) -> None:
        """All of them as of now."""
        state = self._node.state
        index = state.index
        for part, more in portions(state):
            self._say(words.records(index, part, more=more))
            await self._writer.drain()

    async def _send_changes(self, backlog: Backlog) -> None:
        """Say what changes, until it is too much or until the process leads."""
        while not backlog.lost:
            found = backlog.take()
            if found is not None:
                self._say(words.changes(found.upto, plain_changes(found.changes)))
                await self._writer.drain()
            elif backlog.after == self._node.state.index and self._may_lead():
                # All that was applied has been said, and no await is in between.
                self._lead()
                return
            else:
                await backlog.move()

    def _may_lead(self) -> bool:
        core = self._node.raw.core
        return (
            core.role is Role.LEADER
            and self._node.applied_term == core.term > self._beyond_term
            and not self._node.refusal
            and self.pid > 0
        )

    def _lead(self) -> None:
        self.term = term = self._node.raw.core.term
        self._proposals = SchedulerProposals(
            self._node, term, self._say_outcome, self._break
        )
        self._say(words.lead(term))
        self._heard(words.lead(term))

    def _say_outcome(self, ticket: int, why: str) -> None:
        self._say(words.outcome(ticket, why))

    # What the process says

    async def _room(self) -> None:
        if self._proposals is not None and not self._proposals.room.is_set():
            self._deaf = True
            await self._proposals.room.wait()
            self._deaf = False

    def _take(self, frame: Frame) -> str:
        op = frame.get("op")
        if op == words.PONG:
            self._answered = _number(frame, "number")
            self._busy_until = 0.0
        elif op == words.PROPOSE:
            self._propose(frame)
        elif op == words.ANSWERED:
            waits, answer = self._asks.get(_number(frame, "number")), frame["answer"]
            if waits is not None and not waits.done():
                waits.set_result(answer if isinstance(answer, dict) else None)
        elif op == words.HAND_OVER:
            self._hand_over(NodeId(_number(frame, "to")))
        elif op == words.BUSY:
            limit_s = min(_seconds(frame, "limit_s"), words.BUSY_S_MAX)
            self._busy_until = asyncio.get_running_loop().time() + limit_s
        elif op == words.TROUBLE:
            return f"it cannot go on: {str(frame.get('why', ''))[:1_000]}"
        elif op == words.READY:
            if frame.get("version") != words.VERSION:
                raise ProtocolError(f"it speaks version {frame.get('version')!r}")
            self.pid = _number(frame, "pid")
            self._node.notify()
            self._heard(frame)
        elif op in (words.LEADING, words.SETTLED):
            self.lets_in = True
            self._heard(frame)
        else:
            raise ProtocolError(f"no word of a scheduler: {op!r}")
        return ""

    def _propose(self, frame: Frame) -> None:
        commands = frame.get("commands")
        if type(commands) is not list or not all(type(c) is bytes for c in commands):
            raise ProtocolError("a proposal holds commands")
        if self._proposals is None:
            raise ProtocolError("a proposal of a process that does not lead")
        self._proposals.offer(_number(frame, "ticket"), commands)

    def _hand_over(self, to: NodeId) -> None:
        """Whether it comes about the process sees: its term is over then."""
        proposals = self._proposals
        if proposals is not None and proposals.leads:
            self._node.raw.transfer_leader(to)
            self._node.wake()

    # Whether it lives

    async def _watch(self) -> str:
        loop, options = asyncio.get_running_loop(), self._options
        self._asked_at = slept_at = loop.time()
        while True:
            await asyncio.sleep(options.ping_s)
            now = loop.time()
            overslept_s = now - slept_at - options.ping_s
            slept_at = now
            if self._deaf or overslept_s > _OVERSLEPT_S:
                # It was not heard, or this process did not run either.
                self._asked_at = now
                self._start.moves(now)
            if not self.pid:
                if why := self._start.hangs(now):
                    return why
            elif self._answered == self._asked:
                self._asked += 1
                self._asked_at, self._cpu_then_s = now, cpu_s(self.pid)
                self._say(words.ping(self._asked, self._standing()))
            elif now > max(self._busy_until, self._asked_at + self._patience_s(now)):
                return f"it has not answered for {now - self._asked_at:.1f} s"
            else:
                # It may be this node that does not hear: who is asked hears that much.
                self._say(words.ping(self._asked))

    def _standing(self) -> dict[str, Any] | None:
        """What a scheduler that leads says of the cluster, now and then."""
        if not self.term or self._asked % _STANDING_PINGS:
            return None
        return asdict(NodeStatus.of(self._node))

    def _patience_s(self, now: float) -> float:
        """How long it may take to answer; longer if others take its CPU."""
        options, waited_s = self._options, now - self._asked_at
        if not self.lets_in:
            return options.busy_s
        then_s, now_s = self._cpu_then_s, cpu_s(self.pid)
        if then_s is None or now_s is None:
            return options.hang_s
        starved = _IDLE_SHARE * waited_s < now_s - then_s < options.hang_s * _SPINS
        return options.busy_s if starved else options.hang_s


def _number(frame: Frame, name: str) -> int:
    found = frame.get(name)
    if type(found) is not int or not 0 <= found < 2**63:
        raise ProtocolError(f"{frame.get('op')}: {name} is no number")
    return found


def _seconds(frame: Frame, name: str) -> float:
    found = frame.get(name)
    if not isinstance(found, int | float) or not found >= 0:
        raise ProtocolError(f"{frame.get('op')}: {name} is no time")
    return float(found)

"""Linearizable reads, asked on any node, answered by the leader's commit index. Pure.

A read is a number that the asking node chooses; it may stand for many. Each one that
was taken is answered once: by a `ReadState`, or as refused when the leader is lost or
does not answer in time. Reads gather until the next `Ready` and travel together.
"""

from __future__ import annotations

from dtf_dask.ha.raft.core import Core
from dtf_dask.ha.raft.messages import (
    NO_NODE,
    Message,
    MessageKind,
    NodeId,
    ReadState,
    Role,
)
from dtf_dask.ha.raft.outcomes import Outcome
from dtf_dask.ha.raft.quorum import VoteResult
from dtf_dask.ha.raft.read_rounds import ReadRound
from dtf_dask.ha.raft.replication import broadcast_heartbeat


def ask(core: Core, number: int) -> Outcome:
    """Read on this node."""
    options = core.options
    if core.lead == NO_NODE:
        return Outcome.NO_LEADER
    if len(core.asked) >= options.reads_max:
        return Outcome.READS_FULL
    if core.role is Role.LEADER:
        if core.reads.count >= options.reads_max:
            return Outcome.READS_FULL
        core.reads.ask(core.node, (number,))
    else:
        core.to_forward.append(number)
    core.asked[number] = core.ticks + 2 * options.election_ticks
    return Outcome.DONE


def expire(core: Core) -> None:
    """Give up reads that have waited too long."""
    asked = core.asked
    while asked:
        number = next(iter(asked))
        if asked[number] > core.ticks:
            return
        del asked[number]
        core.reads_refused.append(number)


def waiting(core: Core) -> bool:
    """Whether `flush` would do anything."""
    if core.role is Role.LEADER:
        return (
            bool(core.reads.waiting)
            and len(core.reads) < core.options.read_rounds_max
            and core.committed_in_term()
        )
    return bool(core.to_forward) and core.lead != NO_NODE


def flush(core: Core) -> None:
    """Begin a round for the reads that have gathered, or pass them to the leader."""
    if not waiting(core):
        return
    if core.role is not Role.LEADER:
        core.outbox.append(
            Message(
                MessageKind.READ_INDEX,
                core.lead,
                core.node,
                reads=tuple(core.to_forward),
            )
        )
        core.to_forward.clear()
        return
    begun = core.reads.begin(core.log.commit)
    # The leader itself counts if it votes; alone, it is a quorum.
    core.reads.answer(core.node, begun.number)
    release(core)
    if core.reads.newest():
        broadcast_heartbeat(core)


def on_request(core: Core, message: Message) -> Outcome:
    """A follower's reads reach the leader."""
    if core.reads.count + len(message.reads) > core.options.reads_max:
        core.send(
            Message(
                MessageKind.READ_INDEX_RESPONSE,
                message.sender,
                core.node,
                core.term,
                reject=True,
                reads=message.reads,
            )
        )
        return Outcome.READS_FULL
    core.reads.ask(message.sender, message.reads)
    return Outcome.DONE


def on_response(core: Core, message: Message) -> Outcome:
    """The leader has answered reads of this node."""
    _answered(core, message.log_index, message.reads, refused=message.reject)
    return Outcome.DONE


def on_heartbeat_answer(core: Core, node: NodeId, number: int) -> None:
    """``node`` has answered a heartbeat: so this node led when it was sent."""
    if number and len(core.reads):
        core.reads.answer(node, number)
        release(core)


def release(core: Core) -> None:
    """Answer the reads whose rounds a quorum has answered."""

    def won(heard: dict[NodeId, bool]) -> bool:
        return core.tracker.tally(heard) is VoteResult.WON

    for confirmed in core.reads.confirmed(won):
        _answer(core, confirmed)


def _answer(core: Core, confirmed: ReadRound) -> None:
    for node, reads in confirmed.reads.items():
        if node == core.node:
            _answered(core, confirmed.read_index, tuple(reads), refused=False)
            continue
        core.outbox.append(
            Message(
                MessageKind.READ_INDEX_RESPONSE,
                node,
                core.node,
                core.term,
                log_index=confirmed.read_index,
                reads=tuple(reads),
            )
        )


def _answered(
    core: Core, read_index: int, reads: tuple[int, ...], *, refused: bool
) -> None:
    # An answer may come twice, or when the read was given up: then it is nobody's.
    mine = [number for number in reads if core.asked.pop(number, None) is not None]
    if refused:
        core.reads_refused += mine
    elif mine:
        core.read_states.append(ReadState(read_index, tuple(mine)))

"""What a leader does with what its peers answer. Pure."""

from __future__ import annotations

from dtf_dask.ha.raft import reads
from dtf_dask.ha.raft.core import Core
from dtf_dask.ha.raft.messages import Message, MessageKind, NodeId, Role
from dtf_dask.ha.raft.outcomes import Outcome
from dtf_dask.ha.raft.progress import PeerState, Progress
from dtf_dask.ha.raft.replication import broadcast_append, maybe_commit, send_append


def on_append_response(core: Core, message: Message) -> Outcome:
    """A peer, or this node's disk, has entries up to an index, or lacks them."""
    progress = core.tracker.progress.get(message.sender)
    if progress is None:
        return Outcome.UNKNOWN_PEER
    if message.log_index > core.log.last_index():
        return (
            Outcome.MALFORMED
        )  # nobody has more than its leader, in the leader's term
    progress.active = True
    if message.reject:
        _rejected(core, progress, message)
    else:
        _accepted(core, progress, message)
    return Outcome.DONE


def _rejected(core: Core, progress: Progress, message: Message) -> None:
    hint = message.hint
    if message.log_term:
        # The peer's entries up to the hint have at most this term: ours with a higher
        # one cannot agree with them, so whole terms are skipped at once.
        hint, _ = core.log.agreement_before(hint, message.log_term)
    if progress.rejected(message.log_index, hint):
        if progress.state is PeerState.REPLICATE:
            progress.probe()
        send_append(core, message.sender, progress, empty=True)


def _accepted(core: Core, progress: Progress, message: Message) -> None:
    index = message.log_index
    news = progress.acknowledged(index)
    # A probe that is answered finds the place, even where nothing is new.
    found = progress.state is PeerState.PROBE and progress.match == index
    if not news and not found:
        return
    if progress.state is PeerState.REPLICATE:
        progress.inflights.acknowledge(index)
    elif progress.state is PeerState.PROBE or (
        # Whichever snapshot the peer has: it is enough to go on with entries.
        progress.match + 1 >= core.log.first_index()
    ):
        progress.replicate()
    elif progress.match >= progress.snapshot_index:
        # It has what was sent, but the log begins later by now: it needs another.
        progress.probe()
    own = message.sender == core.node
    if maybe_commit(core):
        broadcast_append(core)
    elif not own and progress.wants_commit(core.log.commit):
        send_append(core, message.sender, progress, empty=True)
    if own:
        return
    # There may be room for several messages now.
    while send_append(core, message.sender, progress, empty=False):
        pass
    if message.sender == core.transferee and progress.match == core.log.last_index():
        send_timeout_now(core, message.sender)


def send_timeout_now(core: Core, peer: NodeId) -> None:
    """Let ``peer`` campaign at once."""
    core.send(Message(MessageKind.TIMEOUT_NOW, peer, core.node, core.term))


def on_heartbeat_response(core: Core, message: Message) -> Outcome:
    """A peer lives and takes this node for its leader."""
    progress = core.tracker.progress.get(message.sender)
    if progress is None:
        return Outcome.UNKNOWN_PEER
    progress.active = True
    progress.paused = False
    # Behind, or merely not known to be up to date: an append, perhaps an empty one,
    # brings it back to where entries are streamed, even if all that was sent is lost.
    if progress.match < core.log.last_index() or progress.state is PeerState.PROBE:
        send_append(core, message.sender, progress, empty=True)
    reads.on_heartbeat_answer(core, message.sender, message.context)
    return Outcome.DONE


def on_snapshot_report(core: Core, peer: NodeId, *, received: bool) -> None:
    """The snapshot for ``peer`` has arrived, or it has not."""
    progress = core.tracker.progress.get(peer)
    if core.role is not Role.LEADER or progress is None:
        return
    if progress.state is not PeerState.SNAPSHOT:
        return
    if not received:
        progress.snapshot_index = 0  # go on from what it had before
    progress.probe()
    # The peer answers when it has restored it; if it got none, the next heartbeat does.
    progress.paused = True


def on_unreachable(core: Core, peer: NodeId) -> None:
    """Messages to ``peer`` were lost: it is not known any more what it has."""
    progress = core.tracker.progress.get(peer)
    if core.role is not Role.LEADER or progress is None:
        return
    if progress.state is PeerState.REPLICATE:
        progress.probe()

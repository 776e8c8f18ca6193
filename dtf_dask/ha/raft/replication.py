"""What a leader sends: entries, commit indexes, snapshots, heartbeats. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import repeat

from dtf_dask.ha.raft.core import Core
from dtf_dask.ha.raft.messages import (
    NUMBER_MAX,
    Entry,
    EntryKind,
    Message,
    MessageKind,
    NodeId,
)
from dtf_dask.ha.raft.outcomes import Outcome
from dtf_dask.ha.raft.progress import PeerState, Progress

NORMAL_KINDS = repeat(EntryKind.NORMAL)

# From a tuple of its fields: entries are made by the ten thousand a second.
_entry = partial(tuple.__new__, Entry)


def append_own(
    core: Core, payloads: Sequence[bytes], kinds: Iterable[EntryKind] = NORMAL_KINDS
) -> Outcome:
    """Put payloads at the end of the leader's log, unless there is too much already."""
    size = sum(map(len, payloads))
    # Whatever its size, one is taken when there is nothing else; and one without any
    # payload always is: a leader needs those to come to work, and to leave a joint
    # configuration.
    if (
        size
        and core.uncommitted_bytes
        and core.uncommitted_bytes + size > core.options.uncommitted_bytes_max
    ):
        return Outcome.UNCOMMITTED_FULL
    first = core.log.last_index() + 1
    last = first + len(payloads) - 1
    if last > NUMBER_MAX:
        return Outcome.NUMBERS_SPENT
    core.uncommitted_bytes += size
    fields = zip(repeat(core.term), range(first, last + 1), kinds, payloads)
    core.log.append(list(map(_entry, fields)))
    # The leader's own log counts once it is on disk, as any other's.
    core.promises.append(
        Message(
            MessageKind.APPEND_RESPONSE,
            core.node,
            core.node,
            core.term,
            log_index=last,
        )
    )
    return Outcome.DONE


def maybe_commit(core: Core) -> bool:
    """Commit what a quorum holds; whether that is news.

    Only an entry of the leader's own term is committed by counting, and everything
    before with it (Raft §5.4.2).
    """
    log = core.log
    index = core.tracker.committed()
    if index > log.commit and log.term(index) == core.term:
        log.commit = index
        return True
    return False


def send_append(core: Core, peer: NodeId, progress: Progress, *, empty: bool) -> bool:
    """Send what ``peer`` lacks, as far as it fits; whether anything was sent.

    Parameters
    ----------
    empty
        Also without entries, for the commit index or as a probe.
    """
    if progress.blocked:
        return False
    log = core.log
    previous = progress.next - 1
    previous_term = log.term(previous)
    if previous_term is None:
        return _send_snapshot(core, peer, progress)
    entries: Sequence[Entry] = ()
    size = 0
    # With a full window an empty append still shows whether the peer lives.
    if progress.state is not PeerState.REPLICATE or not progress.inflights.full:
        page = log.page(progress.next, core.options.message_bytes_max)
        if page is None:
            return _send_snapshot(core, peer, progress)
        entries, size = page
    if not entries and not empty:
        return False
    core.outbox.append(
        Message(
            MessageKind.APPEND,
            peer,
            core.node,
            core.term,
            previous_term,
            previous,
            log.commit,
            entries,
        )
    )
    progress.sent(len(entries), size)
    progress.commit_sent = max(progress.commit_sent, log.commit)
    return True


def _send_snapshot(core: Core, peer: NodeId, progress: Progress) -> bool:
    # One that has not been heard of would not take it.
    if not progress.active:
        return False
    snapshot = core.log.snapshot()
    if snapshot is None or not snapshot.point.index:
        return False
    progress.await_snapshot(snapshot.point.index)
    core.outbox.append(
        Message(MessageKind.SNAPSHOT, peer, core.node, core.term, snapshot=snapshot)
    )
    return True


def broadcast_append(core: Core) -> None:
    """Send to all what they lack, and the commit index."""
    own = core.node
    for peer, progress in core.tracker.progress.items():
        if peer != own:
            send_append(core, peer, progress, empty=True)


def broadcast_heartbeat(core: Core) -> None:
    """Tell all that this node leads; asks for the newest round of reads too."""
    own, commit, newest = core.node, core.log.commit, core.reads.newest()
    for peer, progress in core.tracker.progress.items():
        if peer == own:
            continue
        # No more than the peer has for certain: its log may end elsewhere.
        known = min(progress.match, commit)
        core.outbox.append(
            Message(
                MessageKind.HEARTBEAT,
                peer,
                own,
                core.term,
                commit=known,
                context=newest,
            )
        )
        progress.commit_sent = max(progress.commit_sent, known)

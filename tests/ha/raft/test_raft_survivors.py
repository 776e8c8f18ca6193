"""Rules that bugs of the core got past: found by seeds and by `mutate_raft.py`."""

from __future__ import annotations

from random import Random

import pytest
from raft_room import Room, group_of, messages_to

from dtf_dask.ha.raft.config_change import Unchanged
from dtf_dask.ha.raft.config_codec import encoded
from dtf_dask.ha.raft.messages import (
    ConfigChange,
    ConfigState,
    ConfigStep,
    Entry,
    EntryKind,
    Message,
    MessageKind,
    NodeId,
    Role,
    Snapshot,
    SnapshotPoint,
    StepKind,
)
from dtf_dask.ha.raft.options import RaftOptions
from dtf_dask.ha.raft.outcomes import Outcome
from dtf_dask.ha.raft.raw_node import RawNode
from dtf_dask.ha.raft.storage import MemoryStorage

N1, N2, N3 = (NodeId(n) for n in range(1, 4))


def leader_again() -> Room:
    """Node 1 leads for the second time; node 3 has led in between."""
    room = group_of(3)
    for node in (N1, N3, N1):
        room.elect(node)
    return room


def test_a_heartbeat_answered_in_an_older_term_confirms_no_read() -> None:
    """Rounds are counted anew in each term: an old answer may bear a high number."""
    room = leader_again()
    node = room.nodes[N1]
    term = node.status().term
    assert node.read_index(7) is Outcome.DONE
    reads = list(node.ready().read_states)
    node.advance()
    answer = Message(MessageKind.HEARTBEAT_RESPONSE, N1, N2, term - 2, context=9)
    for sender in (N2, N3):
        assert node.step(answer._replace(sender=sender)) is Outcome.DONE
        if node.has_ready():
            reads += node.ready().read_states
            node.advance()
    assert reads == []
    node.step(answer._replace(term=term, context=1))
    assert [state.reads for state in node.ready().read_states] == [(7,)]


def test_a_leader_counts_itself_when_it_looks_for_its_quorum() -> None:
    """It and one other of three are enough, for as long as that one answers."""
    room = group_of(3, check_quorum=True)
    room.elect(N1)
    for _ in range(50):
        room.nodes[N1].tick()
        room.settle(N1, N2)
    assert room.nodes[N1].status().role is Role.LEADER
    assert room.nodes[N1].status().term == 1


def test_a_follower_acknowledges_only_what_it_has_compared() -> None:
    """What it has behind the entries of the message may be another leader's."""
    room = group_of(3)
    node = room.nodes[N1]
    written = [Entry(1, n, EntryKind.NORMAL, b"%d" % n) for n in (2, 3, 4)]
    append = Message(MessageKind.APPEND, N1, N2, 1, log_term=1, log_index=1)
    node.step(append._replace(entries=written))
    room.settle(N1)
    # A new leader goes back further than it must.
    again = append._replace(sender=N3, term=2, entries=written[:1])
    assert node.step(again) is Outcome.DONE
    (answer,) = messages_to(node.ready().messages, N3)
    assert (answer.kind, answer.log_index) == (MessageKind.APPEND_RESPONSE, 2)
    assert not answer.reject


def test_a_smaller_quorum_commits_at_once_what_it_has() -> None:
    """With the removal applied, entries behind it need not wait for another message."""
    room = group_of(2)
    room.elect(N1)
    node = room.nodes[N1]
    removal = ConfigChange((ConfigStep(StepKind.REMOVE, N2),))
    assert node.propose_change(removal) is Outcome.DONE
    assert node.propose([b"after"]) is Outcome.DONE
    room.settle(N1)
    last = node.status().last_index
    assert node.status().commit == last - 2
    acknowledged = Message(
        MessageKind.APPEND_RESPONSE, N1, N2, node.status().term, log_index=last - 1
    )
    node.step(acknowledged)
    room.settle(N1)
    assert node.status().commit == last


def alone_after(node: RawNode, storage: MemoryStorage) -> None:
    """Write and apply all that a node asks for, with no other node answering."""
    while node.has_ready():
        ready = node.ready()
        storage.append(ready.entries)
        if ready.hard_state is not None:
            storage.hard_state = ready.hard_state
        for entry in ready.committed:
            if entry.kind:
                node.apply_change(entry)
        node.advance()


def test_reads_are_answered_when_the_group_shrinks_to_one() -> None:
    """A round of reads that waited for a removed node is done with the removal.

    Seed 2768 found it: nobody was left to answer a heartbeat.
    """
    storage = MemoryStorage()
    both = ConfigState(voters=(NodeId(1), NodeId(2)))
    storage.restore(Snapshot(SnapshotPoint(1, 1, both)))
    options = RaftOptions(NodeId(1), read_rounds_max=1)
    node = RawNode(options, storage, Random(1))
    answer = {"to": NodeId(1), "sender": NodeId(2), "term": 1}
    node.campaign()
    alone_after(node, storage)
    node.step(Message(MessageKind.VOTE_RESPONSE, **answer))  # type: ignore[arg-type]
    alone_after(node, storage)
    last = node.core.log.last_index()
    node.step(
        Message(MessageKind.APPEND_RESPONSE, log_index=last, **answer)  # type: ignore[arg-type]
    )
    assert node.read_index(7) is Outcome.DONE
    alone_after(node, storage)
    removal = ConfigChange((ConfigStep(StepKind.REMOVE, NodeId(2)),))
    assert node.propose_change(removal) is Outcome.DONE
    node.step(
        Message(MessageKind.APPEND_RESPONSE, log_index=last + 1, **answer)  # type: ignore[arg-type]
    )
    reads: list[int] = []
    while node.has_ready():
        ready = node.ready()
        storage.append(ready.entries)
        for entry in ready.committed:
            if entry.kind:
                node.apply_change(entry)
        reads += [number for state in ready.read_states for number in state.reads]
        node.advance()
    assert reads == [7]


def test_a_change_that_a_snapshot_has_overtaken_changes_nothing() -> None:
    """The members are those of the snapshot, though older entries are applied late.

    Seed 2593 of an earlier simulation found it: the entry was with the state machine
    when the snapshot came.
    """
    storage = MemoryStorage()
    four = ConfigState(voters=tuple(map(NodeId, (1, 2, 3, 4))))
    storage.restore(Snapshot(SnapshotPoint(1, 1, four)))
    node = RawNode(RaftOptions(NodeId(1), async_storage=True), storage, Random(1))
    written = encoded(ConfigChange((ConfigStep(StepKind.REMOVE, NodeId(4)),)))
    assert written is not None
    removal = Entry(2, 2, *written)
    head = {"to": NodeId(1), "sender": NodeId(2), "term": 2}
    append = Message(
        MessageKind.APPEND,
        log_term=1,
        log_index=1,
        commit=2,
        entries=[removal],
        **head,  # type: ignore[arg-type]
    )
    node.step(append)
    (write,) = (one for one in node.ready().messages if one.entries)
    storage.append(write.entries)
    for response in write.responses:
        if response.to == 1:
            node.step(response)
    (apply,) = (one for one in node.ready().messages if one.entries)
    assert list(apply.entries) == [removal]
    # The node was added again at 3, and the snapshot says so.
    snapshot = Snapshot(SnapshotPoint(3, 2, four))
    node.step(Message(MessageKind.SNAPSHOT, snapshot=snapshot, **head))  # type: ignore[arg-type]
    assert node.apply_change(removal) is Unchanged.OVERTAKEN
    assert node.status().config == four
    (write,) = (one for one in node.ready().messages if one.snapshot)
    storage.restore(snapshot)
    for response in write.responses:
        if response.to == 1:
            node.step(response)
    assert node.apply_change(removal) is Unchanged.OVERTAKEN
    assert node.status().config == four


@pytest.mark.parametrize("term", [1, 2])
def test_a_refused_vote_tells_what_is_committed(term: int) -> None:
    """A leader whose removal only it has heard of does not leave the others stuck.

    Seed 785 found it: they needed its vote, and its log was longer. What it says counts
    only for an entry of the same term.
    """
    room = group_of(2, pre_vote=True)
    room.elect(N1)
    leader, other = room.nodes[N1], room.nodes[N2]
    removal = ConfigChange((ConfigStep(StepKind.REMOVE, N1),))
    assert leader.propose_change(removal) is Outcome.DONE
    room.settle(N1, N2, quiet={MessageKind.APPEND_RESPONSE})
    index = other.status().last_index
    assert other.status().commit < index
    other.campaign()
    refusal = Message(
        MessageKind.PRE_VOTE_RESPONSE,
        N2,
        N1,
        other.status().term,
        reject=True,
        commit=index,
        log_term=term,
    )
    assert other.step(refusal) is Outcome.DONE
    room.settle(N2)
    told = term == other.core.log.term(index)
    assert (other.status().config.voters == (N2,)) is told
    if told:
        other.campaign()
        room.settle(N2)
        assert other.status().role is Role.LEADER


def test_only_who_has_no_vote_tells_what_is_committed() -> None:
    """A node that was removed does, and another's refusal says nothing of it."""
    room = group_of(3)
    room.elect(N1)
    removal = ConfigChange((ConfigStep(StepKind.REMOVE, N1),))
    for asked, voter in ((room.nodes[N2], True), (room.nodes[N1], False)):
        if not voter:
            assert room.nodes[N1].propose_change(removal) is Outcome.DONE
            room.settle(N1, N2, N3)
        status = asked.status()
        request = Message(
            MessageKind.VOTE, status.node, N3, status.term + 1, log_term=1
        )
        asked.step(request)
        (answer,) = messages_to(_said(asked), N3)
        assert answer.reject
        assert answer.commit == (0 if voter else status.commit)


def _said(node: RawNode) -> list[Message]:
    ready = node.ready()
    kinds = (MessageKind.VOTE_RESPONSE, MessageKind.PRE_VOTE_RESPONSE)
    return [message for message in ready.messages if message.kind in kinds]

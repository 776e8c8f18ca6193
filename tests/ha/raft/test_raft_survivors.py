"""Rules that bugs written into the core got past, as `mutate_raft.py` found."""

from __future__ import annotations

from raft_room import Room, group_of, messages_to

from dtf_dask.ha.raft.messages import (
    ConfigChange,
    ConfigStep,
    Entry,
    EntryKind,
    Message,
    MessageKind,
    NodeId,
    Role,
    StepKind,
)
from dtf_dask.ha.raft.outcomes import Outcome

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

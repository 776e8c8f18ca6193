"""What an entry costs: calls of functions, which are the same on every machine."""

from __future__ import annotations

import sys
from types import FrameType

from raft_room import Room, group_of

from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.ha.raft.outcomes import Outcome

N1 = NodeId(1)


def calls_of(room: Room, batch: int, batches: int = 3) -> float:
    """Calls of Python functions on all nodes until a batch is applied everywhere."""
    count = 0

    def counting(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        if event == "call" and "/ha/raft/" in frame.f_code.co_filename:
            count += 1

    payloads = [b"x" * 200] * batch
    before = sys.getprofile()
    sys.setprofile(counting)
    try:
        for _ in range(batches):
            assert room.nodes[N1].propose(payloads) is Outcome.DONE
            room.settle(*room.nodes)
    finally:
        sys.setprofile(before)
    last = room.nodes[N1].status().last_index
    assert all(node.status().applied == last for node in room.nodes.values())
    return count / batches


def test_a_batch_costs_the_same_whatever_is_in_it() -> None:
    """Nothing is called for single entries: neither by the leader nor by followers.

    The room's own loop over applied entries calls nothing for them either.
    """
    small, large = (calls_of(group_with_leader(), batch) for batch in (10, 2000))
    assert large <= small * 1.1
    assert small < 1000


def test_a_batch_costs_the_same_however_long_the_log_is() -> None:
    """Nothing looks through what is there."""
    room = group_with_leader()
    short = calls_of(room, 10)
    assert room.nodes[N1].propose([b"x"] * 20_000) is Outcome.DONE
    room.settle(*room.nodes)
    assert calls_of(room, 10) == short


def test_peers_that_are_equally_far_get_the_same_list() -> None:
    """So that a transport need not encode it for each of them."""
    room = group_with_leader()
    assert room.nodes[N1].propose([b"x"] * 10) is Outcome.DONE
    lists = [one.entries for one in room.carried_out(N1) if one.entries]
    assert len(lists) == 2
    assert lists[0] is lists[1]


def group_with_leader() -> Room:
    room = group_of(3)
    room.elect(N1)
    return room

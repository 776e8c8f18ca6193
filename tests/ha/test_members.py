"""Nodes that are added, removed and made to lead, while the cluster works."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from node_room import WAIT_S, Room, in_room, place, put, three, value_at

from dtf_dask.errors import (
    MembershipError,
    NotChangedError,
    NotLeadingError,
    UsageError,
)
from dtf_dask.ha.ledger.outcomes import Code
from dtf_dask.ha.local_ledger import NodeLedger
from dtf_dask.ha.members import Members
from dtf_dask.ha.raft.messages import NodeId


def members_of(room: Room, ledger: NodeLedger) -> Members:
    """Of a node's process."""
    return room.wires.members[ledger.node.node]


async def new_leader(room: Room, old: NodeLedger) -> NodeLedger:
    """Wait until another one leads."""
    while (found := await room.leader()).node is old.node:
        await asyncio.sleep(0.01)
    return found


async def writes(room: Room, count: int, prefix: str) -> None:
    """Write while others change the members: each is done in the end."""
    for n in range(count):
        while True:
            leader = await room.leader()
            (outcome,) = await leader.propose([put(f"{prefix}{n}")], WAIT_S)
            if outcome.code is Code.OK:
                break
            await asyncio.sleep(0.01)


def test_a_node_is_added_and_finds_the_others(tmp_path: Path) -> None:
    """It catches up, votes, and knows everybody's address from the ledger; the others
    know its address."""

    async def run(room: Room) -> None:
        leader = await three(room)
        await leader.propose([put("early")], WAIT_S)
        writing = asyncio.create_task(writes(room, 100, "w"))
        joined = await room.start(4, [], knows=[leader.node.node])
        await members_of(room, leader).add_node(NodeId(4), place(4))
        assert leader.node.raw.status().config.voters == (1, 2, 3, 4)
        await writing
        assert await value_at(joined, "early") == b"value"
        assert await value_at(joined, "w99") == b"value"
        await room.applied(leader.node.state.index, 1, 2, 3, 4)
        everybody = {NodeId(n): place(n) for n in (1, 2, 3, 4)}
        for node, members in room.wires.members.items():
            others = {n: (at,) for n, at in everybody.items() if n != node}
            assert members.peers == others

    in_room(run, Room(tmp_path))


def test_where_nodes_are_is_known_after_a_start_and_from_a_snapshot(
    tmp_path: Path,
) -> None:
    """Addresses in the ledger come back with the state."""

    async def run(room: Room) -> None:
        leader = await three(room)
        await room.start(4, [], knows=[1, 2, 3])
        await members_of(room, leader).add_node(NodeId(4), place(4))
        for node in room.wires.nodes.values():
            await room.applied(leader.node.state.index, node.node)
            await node.snapshots.make()
        for node in (1, 2, 3, 4):
            await room.stop(node)
        for node in (1, 2, 3, 4):
            await room.start(node, [], knows=[])
            members = room.wires.members[NodeId(node)]
            assert set(members.peers) == {1, 2, 3, 4} - {node}
        assert await value_at(await room.leader(), "nothing") is None

    in_room(run, Room(tmp_path))


def test_an_address_can_change(tmp_path: Path) -> None:
    """Adding a member again, at another address, tells all of them the new one."""

    async def run(room: Room) -> None:
        leader = await three(room)
        own = leader.node.node
        moved = next(NodeId(n) for n in (1, 2, 3) if n != own)
        await members_of(room, leader).add_node(moved, ("elsewhere", 1))
        await room.applied(leader.node.state.index, 1, 2, 3)
        for node, members in room.wires.members.items():
            if node != moved:
                assert members.peers[moved][0] == ("elsewhere", 1)
        assert leader.node.raw.status().config.voters == (1, 2, 3)

    in_room(run, Room(tmp_path))


def test_a_node_that_is_removed_is_cut_off_and_knows_it(tmp_path: Path) -> None:
    """Nobody lets it in any more, and what it refuses it refuses for that reason."""

    async def run(room: Room) -> None:
        leader = await three(room)
        gone = next(n for n in (1, 2, 3) if n != leader.node.node)
        ledger = NodeLedger(room.wires.nodes[NodeId(gone)])
        await members_of(room, leader).remove_node(NodeId(gone))
        assert gone not in members_of(room, leader).peers
        while not ledger.node.removed:
            await asyncio.sleep(0.01)
        (outcome,) = await ledger.propose([put("x")], WAIT_S)
        assert outcome.code is Code.NOT_DONE
        assert f"node {gone} was removed from the cluster" in outcome.value
        assert not await ledger.can_read(WAIT_S, None)
        await writes(room, 5, "on")

    in_room(run, Room(tmp_path))


def test_a_node_that_was_removed_while_it_was_away_is_told(tmp_path: Path) -> None:
    """Its log says that it is a member: the others say that it is none."""

    async def run(room: Room) -> None:
        leader = await three(room)
        gone = next(n for n in (1, 2, 3) if n != leader.node.node)
        await room.stop(gone)
        await members_of(room, leader).remove_node(NodeId(gone))
        term = leader.node.raw.status().term
        back = await room.start(gone, [], knows=[1, 2, 3])
        while not back.node.removed:
            await asyncio.sleep(0.01)
        assert "was removed from the cluster, as node" in back.node.removed
        assert back.node.raw.status().config.voters == (1, 2, 3)
        await writes(room, 5, "on")
        assert leader.node.raw.status().term == term

    in_room(run, Room(tmp_path))


def test_a_node_that_lost_its_disk_comes_back_under_its_id(tmp_path: Path) -> None:
    """It is removed, and added again with an empty folder."""

    async def run(room: Room) -> None:
        leader = await three(room)
        await leader.propose([put("early")], WAIT_S)
        lost = next(n for n in (1, 2, 3) if n != leader.node.node)
        await room.stop(lost)
        members = members_of(room, leader)
        await members.remove_node(NodeId(lost))
        (tmp_path / str(lost)).rename(tmp_path / "lost")
        back = await room.start(lost, [], knows=[1, 2, 3])
        await members.add_node(NodeId(lost), place(lost))
        assert await value_at(back, "early") == b"value"
        assert back.node.removed == ""
        assert leader.node.raw.status().config.voters == (1, 2, 3)

    in_room(run, Room(tmp_path))


def test_who_lags_behind_follows_a_leader_that_was_removed_once(
    tmp_path: Path,
) -> None:
    """A node that knows only that another was removed is away while that one is added
    again and leads: it lets it in when it is back."""

    async def run(room: Room) -> None:
        leader = await three(room)
        again, lags = (NodeId(n) for n in (1, 2, 3) if n != leader.node.node)
        members = members_of(room, leader)
        await room.start(4, [], knows=[1, 2, 3])
        await members.add_node(NodeId(4), place(4))
        await members.remove_node(again)
        await room.applied(leader.node.state.index, lags)
        await room.stop(lags)
        await members.add_node(again, place(again))
        await members.transfer_leader(again)
        await writes(room, 3, "again")
        back = await room.start(lags, [], knows=[1, 2, 3])
        assert await value_at(back, "again2") == b"value"
        assert back.node.raw.core.lead == again
        assert room.wires.nodes[again].removed == ""

    in_room(run, Room(tmp_path))


def test_a_leader_can_be_removed(tmp_path: Path) -> None:
    """It hands over first, so that nobody waits for an election to time out."""

    async def run(room: Room) -> None:
        leader = await three(room)
        own = leader.node.node
        writing = asyncio.create_task(writes(room, 60, "w"))
        await members_of(room, leader).remove_node(own)
        assert leader.node.removed
        new = await new_leader(room, leader)
        await writing
        assert own not in new.node.raw.status().config.voters
        assert len(new.node.raw.status().config.voters) == 2
        assert await value_at(new, "w59") == b"value"

    in_room(run, Room(tmp_path))


def test_leadership_is_handed_over(tmp_path: Path) -> None:
    """The call returns when the other one leads."""

    async def run(room: Room) -> None:
        leader = await three(room)
        members, own = members_of(room, leader), leader.node.node
        to = NodeId(own % 3 + 1)
        await members.transfer_leader(own)
        await members.transfer_leader(to)
        assert leader.node.raw.core.lead == to
        with pytest.raises(NotLeadingError, match=f"does not lead: node {to} leads"):
            await members.transfer_leader(own)

    in_room(run, Room(tmp_path))


def test_leadership_is_not_handed_to_who_does_not_answer(tmp_path: Path) -> None:
    """It is said why, and the leader goes on."""

    async def run(room: Room) -> None:
        leader = await three(room)
        members, own = members_of(room, leader), leader.node.node
        deaf = NodeId(own % 3 + 1)
        room.wires.cut = {frozenset((deaf, n)) for n in (1, 2, 3) if n != deaf}
        with pytest.raises(MembershipError, match=r"has not taken over|not heard"):
            await members.transfer_leader(deaf)
        while leader.node.raw.core.tracker.progress[deaf].active:
            await asyncio.sleep(0.01)
        with pytest.raises(NotChangedError, match="not heard of lately"):
            await members.transfer_leader(deaf)
        with pytest.raises(UsageError, match="node 9 does not vote"):
            await members.transfer_leader(NodeId(9))
        (outcome,) = await leader.propose([put("on")], WAIT_S)
        assert outcome.code is Code.OK

    in_room(run, Room(tmp_path))


def test_only_one_change_at_a_time(tmp_path: Path) -> None:
    """The second is refused, and says which one is under way."""

    async def run(room: Room) -> None:
        leader = await three(room)
        members = members_of(room, leader)
        adding = asyncio.create_task(members.add_node(NodeId(4), place(4), 3.0))
        while 4 not in leader.node.raw.status().config.learners:
            await asyncio.sleep(0.01)
        with pytest.raises(NotChangedError, match="node 4 is being added: one change"):
            await members.remove_node(NodeId(2))
        await room.start(4, [], knows=[1, 2, 3])
        await adding
        assert leader.node.raw.status().config.voters == (1, 2, 3, 4)

    in_room(run, Room(tmp_path))


def test_a_node_that_never_answers_stays_a_learner(tmp_path: Path) -> None:
    """Adding it ends in time and says how far it came; it can be removed again."""

    async def run(room: Room) -> None:
        leader = await three(room)
        members = members_of(room, leader)
        with pytest.raises(MembershipError, match="a learner that has 0 of") as raised:
            await members.add_node(NodeId(4), place(4), timeout_s=0.6)
        assert raised.type is MembershipError
        config = leader.node.raw.status().config
        assert (config.voters, config.learners) == ((1, 2, 3), (4,))
        await members.remove_node(NodeId(4))
        assert leader.node.raw.status().config.learners == ()

    in_room(run, Room(tmp_path))


def test_what_would_leave_no_majority_is_refused(tmp_path: Path) -> None:
    """Nobody is removed who is needed; nor the last one, nor who is no member."""

    async def run(room: Room) -> None:
        leader = await three(room)
        members, own = members_of(room, leader), leader.node.node
        away, needed = (NodeId(n) for n in (1, 2, 3) if n != own)
        with pytest.raises(UsageError, match="node 9 is no member"):
            await members.remove_node(NodeId(9))
        await room.stop(away)
        while leader.node.raw.core.tracker.progress[away].active:
            await asyncio.sleep(0.01)
        with pytest.raises(NotChangedError, match="2 that vote, and 1 of them"):
            await members.remove_node(needed)
        await members.remove_node(away)
        await members.remove_node(needed)
        with pytest.raises(UsageError, match="the only one that votes"):
            await members.remove_node(own)
        await writes(room, 3, "alone")

    in_room(run, Room(tmp_path))


def test_a_change_that_loses_its_leader_is_not_called_undone(tmp_path: Path) -> None:
    """Once something was proposed, who leads no more cannot say that nothing was."""

    async def run(room: Room) -> None:
        leader = await three(room)
        members, own = members_of(room, leader), leader.node.node
        adding = asyncio.create_task(members.add_node(NodeId(4), place(4), WAIT_S))
        while 4 not in leader.node.raw.status().config.learners:
            await asyncio.sleep(0.01)
        room.wires.cut = {frozenset((own, n)) for n in (1, 2, 3) if n != own}
        with pytest.raises(MembershipError, match="node 4 is being added") as raised:
            await adding
        assert raised.type is MembershipError

    in_room(run, Room(tmp_path))


def test_an_address_that_could_not_be_written_is_told_apart(tmp_path: Path) -> None:
    """Nothing was done if no leader took it up; nobody knows if one did."""

    async def run(room: Room) -> None:
        leader = await three(room)
        members, own = members_of(room, leader), leader.node.node
        leader.node.disk_full = "the disk is full"
        with pytest.raises(NotChangedError, match="the disk is full"):
            await members.add_node(NodeId(4), place(4), WAIT_S)
        leader.node.disk_full = ""
        room.wires.cut = {frozenset((own, n)) for n in (1, 2, 3) if n != own}
        with pytest.raises(MembershipError, match="is being written") as raised:
            await members.add_node(NodeId(4), place(4), 0.5)
        assert raised.type is MembershipError

    in_room(run, Room(tmp_path))


def test_a_node_answers_a_leader_that_came_while_it_was_away(tmp_path: Path) -> None:
    """Node 4 is added and leads while node 3 is away: node 3, which knows nothing of
    it, follows it when it is back."""

    async def run(room: Room) -> None:
        await three(room)
        leader = await room.leader()
        if leader.node.node == 3:
            await members_of(room, leader).transfer_leader(NodeId(1))
            leader = await new_leader(room, leader)
        await room.stop(3)
        await room.start(4, [], knows=[1, 2])
        await members_of(room, leader).add_node(NodeId(4), place(4))
        await members_of(room, leader).transfer_leader(NodeId(4))
        await writes(room, 3, "four")
        back = await room.start(3, [], knows=[1, 2])
        assert await value_at(back, "four2") == b"value"
        assert back.node.raw.core.lead == 4
        assert members_of(room, back).peers[NodeId(4)] == (place(4),)

    in_room(run, Room(tmp_path))


def test_a_node_answers_a_leader_whose_snapshot_says_that_it_was_removed(
    tmp_path: Path,
) -> None:
    """A node came back by a snapshot from before it was added again, and leads. A node
    that it brings up by that snapshot goes on to answer it."""

    async def run(room: Room) -> None:
        leader = await three(room)
        again = next(NodeId(n) for n in (1, 2, 3) if n != leader.node.node)
        members = members_of(room, leader)
        await members.remove_node(again)
        await room.stop(again)
        (tmp_path / str(again)).rename(tmp_path / "lost")
        await writes(room, 3, "late")
        for _ in range(2):  # the log goes up to the older one that is kept
            await writes(room, 1, "more")
            await leader.node.snapshots.make()
            while leader.node.snapshots.newest.point.index < leader.node.state.index:
                await asyncio.sleep(0.01)
        back = await room.start(again, [], knows=[1, 2, 3])
        await members.add_node(again, place(again))
        assert back.node.snapshots.newest.point.index > 1
        await members.transfer_leader(again)
        await room.start(4, [], knows=[1, 2, 3])
        await members_of(room, back).add_node(NodeId(4), place(4), 30.0)
        assert 4 in back.node.raw.status().config.voters

    in_room(run, Room(tmp_path))


@pytest.mark.parametrize(
    "address", [("", 1), ("a..b", 1), ("\0", 1), ("a b", 1), ("host", 0)]
)
def test_an_address_of_no_sense_is_refused(
    tmp_path: Path, address: tuple[str, int]
) -> None:
    """Before anything is done: all of the nodes would have to look for it."""

    async def run(room: Room) -> None:
        leader = await three(room)
        last = leader.node.raw.core.log.last_index()
        with pytest.raises(UsageError, match="no node"):
            await members_of(room, leader).add_node(NodeId(4), address)
        assert leader.node.raw.core.log.last_index() == last

    in_room(run, Room(tmp_path))

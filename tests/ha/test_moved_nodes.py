"""Nodes that come back at another address, and nodes that nobody was told of."""

from __future__ import annotations

from pathlib import Path

import pytest
from network import Node, close, run
from node_room import WAIT_S, value_at
from serving_room import Hall, free_addresses, in_hall

from dtf_dask.ha.raft.messages import NodeId


@pytest.mark.parametrize("written", [False, True], ids=["by file", "in the ledger"])
def test_a_node_that_moved_is_found_by_its_peers(tmp_path: Path, written: bool) -> None:
    """It says itself where it is: nobody else has to be told, and it counts."""

    async def test(hall: Hall) -> None:
        leader = await hall.start_all()
        own = leader.node.node
        moved, other = (n for n in (1, 2, 3) if n != own)
        if written:
            # Where all of them are is in the ledger from now on.
            async with hall.client() as client:
                await client.add_node(moved, hall.peers[NodeId(moved)], WAIT_S)
        await hall.stop(moved)
        await hall.written("away")
        (new,) = free_addresses(1)
        back = await hall.start(moved, {**hall.peers, NodeId(moved): new})
        assert await value_at(back, "away") == b"value"
        # Without a connection to it the leader would have no majority now.
        await hall.stop(other)
        await hall.written("with it")
        assert await value_at(back, "with it") == b"value"

    assert in_hall(tmp_path, 3, test) == {}


def test_a_whole_cluster_can_move(tmp_path: Path) -> None:
    """All are told the new addresses in their files: what the ledger says, which
    nobody could change any more, does not hold them up."""

    async def test(hall: Hall) -> None:
        await hall.start_all()
        async with hall.client() as client:
            await client.add_node(2, hall.peers[NodeId(2)], WAIT_S)
        await hall.written("before")
        for node in (1, 2, 3):
            await hall.stop(node)
        hall.peers = dict(zip(hall.peers, free_addresses(3), strict=True))
        leader = await hall.start_all()
        assert await value_at(leader, "before") == b"value"
        async with hall.client() as client:
            for node, address in hall.peers.items():
                await client.add_node(node, address, WAIT_S)
        members = hall.nodes[leader.node.node].members
        assert members is not None
        assert len(members.peers) == 2
        for node, addresses in members.peers.items():
            assert addresses[0] == hall.peers[node]

    assert in_hall(tmp_path, 3, test) == {}


def test_a_leader_that_came_while_a_node_was_away_is_answered(tmp_path: Path) -> None:
    """Node 3 knows nothing of node 4, which leads when it is back: it hears from it
    where its answers are to go."""

    async def test(hall: Hall) -> None:
        leader = await hall.start_all()
        async with hall.client() as client:
            if leader.node.node == 3:
                await client.transfer_leader(1, WAIT_S)
        await hall.stop(3)
        old = dict(hall.peers)
        (hall.peers[NodeId(4)],) = free_addresses(1)
        await hall.start(4, joins=True)
        async with hall.client() as client:
            await client.add_node(4, hall.peers[NodeId(4)], WAIT_S)
            await client.transfer_leader(4, WAIT_S)
        await hall.written("by four")
        back = await hall.start(3, old)
        assert await value_at(back, "by four") == b"value"
        assert back.node.raw.core.lead == 4

    assert in_hall(tmp_path, 3, test) == {}


def test_a_peer_is_looked_for_at_each_of_its_addresses(tmp_path: Path) -> None:
    """One where nobody is, one where another node is, one where it is; when it has
    gone to the first it is found there."""

    async def main() -> None:
        one, two, three = (Node(n, tmp_path) for n in (1, 2, 3))
        for node in (one, two, three):
            await node.listen()
        (nowhere,) = free_addresses(1)
        one.transport.set_peers({two.id: [nowhere, three.address, two.address]})
        await one.until(lambda: ("connected", 2) in one.events)
        assert one.transport.status[0].address == two.address
        assert two.addresses == {one.id: one.address}
        await two.transport.close()
        await one.until(lambda: ("lost", 2) in one.events)
        again = Node(2, tmp_path)
        await again.listen(nowhere[1])
        await one.until(lambda: one.events.count(("connected", 2)) == 2)
        assert one.transport.status[0].address == nowhere
        await close((one, again, three))

    run(main())


def test_another_address_breaks_no_connection(tmp_path: Path) -> None:
    """A peer is left where it is found, as long as it may be there."""

    async def main() -> None:
        one, two = (Node(n, tmp_path) for n in (1, 2))
        for node in (one, two):
            await node.listen()
        one.knows(two)
        await one.until(lambda: ("connected", 2) in one.events)
        (nowhere,) = free_addresses(1)
        one.transport.set_peers({two.id: [nowhere, two.address]})
        one.say(two, 5)
        await two.until(lambda: [m.term for m in two.messages] == [5])
        assert one.events == [("connected", 2)]
        one.transport.set_peers({two.id: [nowhere]})
        await two.until(lambda: ("lost", 1) in two.events)
        await close((one, two))

    run(main())


def test_who_listens_everywhere_does_not_say_where(tmp_path: Path) -> None:
    """Nobody else could connect to 0.0.0.0."""

    async def main() -> None:
        one, two = (Node(n, tmp_path) for n in (1, 2))
        await one.listen()
        address = await two.transport.listen("0.0.0.0", 0)
        two.knows(one)
        await two.until(lambda: ("connected", 1) in two.events)
        assert one.addresses == {two.id: None}
        assert address[1] > 0
        await close((one, two))

    run(main())

"""Values too large for the log: on a majority first, then named, then everywhere."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from faulty_disk import FaultyDisk
from node_room import QUICK, WAIT_S, Room, in_room, place, put, three

from dtf_dask.errors import (
    ContentUnavailableError,
    LedgerDamagedError,
    PeerUnavailableError,
    UsageError,
)
from dtf_dask.ha import content_keeping
from dtf_dask.ha.content_holders import (
    Holders,
    is_majority,
    other_members,
    other_voters,
)
from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import DELETE, PUT_CONTENT
from dtf_dask.ha.ledger.outcomes import Code, Outcome
from dtf_dask.ha.ledger.queries import Get
from dtf_dask.ha.ledger.references import Reference
from dtf_dask.ha.local_ledger import LocalLedger, NodeLedger
from dtf_dask.ha.node_status import NodeStatus
from dtf_dask.ha.raft.messages import ConfigState, NodeId
from dtf_dask.ha.wal import WalLimits

SIZE = 2_000_000
BRIEF = replace(QUICK, content_keep_s=1.5)
"""Contents that nothing refers to go soon."""


def refer(key: str, reference: Reference) -> bytes:
    """A command that has a record refer to a content."""
    return encode_command(PUT_CONTENT, "tests", key, *reference)


def others(room: Room, leader: NodeLedger) -> list[NodeLedger]:
    """The nodes that follow."""
    nodes = room.wires.nodes
    return [
        NodeLedger(nodes[one]) for one in sorted(nodes) if nodes[one] != leader.node
    ]


def has(ledger: NodeLedger, reference: Reference) -> bool:
    """Whether a node has a content, whole and as it should be, on its disk."""
    contents = ledger.node.folder.contents
    return contents.size(reference.digest) == reference.size and contents.check(
        reference.digest
    )


async def until_had(room: Room, reference: Reference, *nodes: int) -> None:
    """Wait until nodes have a content."""
    for node in nodes:
        found = NodeLedger(room.wires.nodes[NodeId(node)])
        while not has(found, reference):
            await asyncio.sleep(0.01)


async def until_gone(room: Room, reference: Reference, *nodes: int) -> None:
    """Wait until nodes have no such content, nor a part of it."""
    for node in nodes:
        contents = room.wires.nodes[NodeId(node)].folder.contents
        digest = reference.digest
        while contents.size(digest) is not None or digest in contents.parts():
            await asyncio.sleep(0.01)


def test_a_content_is_kept_then_named_then_everywhere(tmp_path: Path) -> None:
    """A read answers the reference, and every node the content."""
    content = os.urandom(SIZE)

    async def run(room: Room) -> None:
        leader = await three(room)
        reference = await leader.put_content(content, WAIT_S)
        assert sum(has(one, reference) for one in [leader, *others(room, leader)]) >= 2
        assert await leader.propose([refer("a", reference)], WAIT_S) == [
            Outcome(Code.OK, 1)
        ]
        await until_had(room, reference, 1, 2, 3)
        for ledger in [leader, *others(room, leader)]:
            answer = await ledger.read(Get("tests", "a"), WAIT_S)
            assert answer is not None
            ((_, record),) = answer.records
            assert record.value == reference
            assert await ledger.get_content(reference, WAIT_S) == content

    in_room(run, Room(tmp_path))


def test_a_file_is_sent_as_its_bytes_are(tmp_path: Path) -> None:
    """From its beginning, wherever it stands."""

    async def run() -> None:
        async with LocalLedger(str(tmp_path)) as ledger:
            file = BytesIO(b"x" * SIZE)
            file.seek(5)
            reference = await ledger.put_content(file, WAIT_S)
            assert reference == await ledger.put_content(b"x" * SIZE, WAIT_S)
            assert await ledger.get_content(reference, WAIT_S) == b"x" * SIZE
            with pytest.raises(UsageError, match="a content has 1 to"):
                await ledger.put_content(b"", WAIT_S)

    asyncio.run(run())


def test_a_file_that_becomes_shorter_is_given_up(tmp_path: Path) -> None:
    """At once, not when the time is over."""

    class Shrinking(BytesIO):
        def seek(self, offset: int, whence: int = 0) -> int:
            at = super().seek(offset, whence)
            if whence == os.SEEK_END:
                self.truncate(5)
            return at

    async def run() -> None:
        async with LocalLedger(str(tmp_path)) as ledger:
            with pytest.raises(UsageError, match="has become shorter"):
                await ledger.put_content(Shrinking(b"x" * SIZE), 5.0)

    asyncio.run(run())


def test_what_no_majority_keeps_is_not_named(tmp_path: Path) -> None:
    """The leader asks itself, and refuses just the commands that name it."""

    async def run(room: Room) -> None:
        leader = await three(room)
        one, two = others(room, leader)
        nowhere = Reference(b"?" * 32, SIZE)
        outcomes = await leader.propose(
            [put("before"), refer("a", nowhere), put("after")], WAIT_S
        )
        assert [outcome.code for outcome in outcomes] == [
            *(Code.OK, Code.NOT_DONE, Code.OK),
        ]
        assert "is not kept by a majority" in outcomes[1].value
        alone = await leader.node.contents.put(b"y" * SIZE)
        room.wires.cut = {
            frozenset((leader.node.node, other.node.node)) for other in (one, two)
        }
        with pytest.raises(ContentUnavailableError, match=r"node \d: cut"):
            await leader.put_content(b"y" * SIZE, WAIT_S)
        room.wires.cut = set()
        # Now the leader can have them take it, whoever forgot to.
        leader = await room.leader()
        (outcome,) = await leader.propose([refer("a", alone)], WAIT_S)
        assert outcome.code is Code.OK

    in_room(run, Room(tmp_path))


def test_a_node_without_members_keeps_nothing(tmp_path: Path) -> None:
    """One that has yet to be added says so at once, rather than try for ever."""

    async def run(room: Room) -> None:
        alone = await room.start(4, [], knows=[])
        with pytest.raises(ContentUnavailableError, match="nobody else that votes"):
            await alone.put_content(b"a" * SIZE, WAIT_S)

    in_room(run, Room(tmp_path))


def test_a_wrong_size_is_not_named(tmp_path: Path) -> None:
    """A digest has one size; another one would never be found."""

    async def run(room: Room) -> None:
        leader = await three(room)
        reference = await leader.put_content(b"z" * SIZE, WAIT_S)
        wrong = Reference(reference.digest, SIZE + 1)
        (outcome,) = await leader.propose([refer("a", wrong)], WAIT_S)
        assert outcome.code is Code.NOT_DONE
        assert f"has {SIZE} bytes, not {SIZE + 1}" in outcome.value

    in_room(run, Room(tmp_path))


def test_a_content_sent_to_a_follower_is_named_by_the_leader(tmp_path: Path) -> None:
    """Who has it does not matter; the leader gets it, or asks who has it."""

    async def run(room: Room) -> None:
        leader = await three(room)
        one, two = others(room, leader)
        room.wires.cut = {frozenset((leader.node.node, one.node.node))}
        reference = await one.put_content(b"f" * SIZE, WAIT_S)
        assert not has(leader, reference)
        assert has(two, reference)
        (outcome,) = await leader.propose([refer("a", reference)], WAIT_S)
        assert outcome.code is Code.OK
        assert has(leader, reference)

    in_room(run, Room(tmp_path))


def test_a_new_leader_asks_anew(tmp_path: Path) -> None:
    """It counts on nothing that another one was told."""

    async def run(room: Room) -> None:
        leader = await three(room)
        reference = await leader.put_content(b"n" * SIZE, WAIT_S)
        await until_had(room, reference, 1, 2, 3)
        await room.stop(leader.node.node)
        leader = await room.leader()
        (one,) = others(room, leader)
        one.node.folder.contents.remove(reference.digest)
        (outcome,) = await leader.propose([refer("a", reference)], WAIT_S)
        assert outcome.code is Code.OK
        assert has(one, reference)

    in_room(run, Room(tmp_path))


def test_a_node_that_was_away_fetches_what_it_lacks(tmp_path: Path) -> None:
    """By the log, or by a snapshot; and what is new when it starts."""

    async def run(room: Room) -> None:
        leader = await three(room)
        away = int(others(room, leader)[0].node.node)
        await room.stop(away)
        by_log = await leader.put_content(b"1" * SIZE, WAIT_S)
        await leader.propose([refer("log", by_log)], WAIT_S)
        await room.start(away, [], knows=[1, 2, 3])
        await until_had(room, by_log, away)
        await room.stop(away)
        by_snapshot = await leader.put_content(b"2" * SIZE, WAIT_S)
        await leader.propose([refer("snapshot", by_snapshot)], WAIT_S)
        named_at = leader.node.state.index
        for node in room.wires.nodes.values():
            await room.applied(named_at, node.node)
        for _ in range(3):
            await leader.propose([put("more", b"x" * 20_000)], WAIT_S)
            for node in room.wires.nodes.values():
                await node.snapshots.make()
        while leader.node.storage.first_index() <= named_at:
            await leader.propose([put("more")], WAIT_S)
        back = await room.start(away, [], knows=[1, 2, 3])
        await until_had(room, by_snapshot, away)
        assert back.node.snapshots.newest.point.index > named_at

    in_room(run, Room(tmp_path, limits=WalLimits(segment_bytes=10_000)))


def test_a_new_member_has_all_contents_before_it_votes(tmp_path: Path) -> None:
    """Otherwise old nodes could go, and the contents with them."""

    async def run(room: Room) -> None:
        leader = await three(room)
        references = []
        for n in range(5):
            references.append(await leader.put_content(b"%d" % n * SIZE, WAIT_S))
            await leader.propose([refer(f"k{n}", references[n])], WAIT_S)
        joined = await room.start(4, [], knows=[leader.node.node])
        members = room.wires.members[leader.node.node]
        await members.add_node(NodeId(4), place(4))
        assert all(has(joined, one) for one in references)

    in_room(run, Room(tmp_path))


def test_what_nothing_refers_to_is_removed_everywhere(tmp_path: Path) -> None:
    """After its time: what was never named, what is named no more, and parts."""

    async def run(room: Room) -> None:
        leader = await three(room)
        never = await leader.put_content(b"never" * 50_000, WAIT_S)
        once = await leader.put_content(b"once" * 50_000, WAIT_S)
        kept = await leader.put_content(b"kept" * 50_000, WAIT_S)
        naming = [refer("a", once), refer("b", kept)]
        outcomes = await leader.propose(naming, WAIT_S)
        assert {outcome.code for outcome in outcomes} == {Code.OK}
        part = Reference(b"part" * 8, SIZE)
        await leader.node.contents.uploads.add(part, 0, b"x" * 1_000)
        leader.node.contents.uploads._open.pop(part.digest).part.close()  # type: ignore[union-attr]
        assert leader.node.folder.contents.parts() == [part.digest]
        await leader.propose([encode_command(DELETE, "tests", "a")], WAIT_S)
        for gone in (never, once, part):
            await until_gone(room, gone, 1, 2, 3)
        await until_had(room, kept, 1, 2, 3)
        with pytest.raises(ContentUnavailableError, match="nothing refers to it"):
            await leader.get_content(once, WAIT_S)
        (outcome,) = await leader.propose([refer("c", never)], WAIT_S)
        assert outcome.code is Code.NOT_DONE

    in_room(run, Room(tmp_path, BRIEF))


def test_two_halves_must_keep_it() -> None:
    """While one configuration hands over to another, most of both count."""
    joint = ConfigState(
        voters=(NodeId(1), NodeId(2), NodeId(3)),
        voters_outgoing=(NodeId(3), NodeId(4), NodeId(5)),
        learners=(NodeId(6),),
    )
    for nodes, enough in (
        ({1, 2}, False),
        ({1, 3}, False),
        ({3, 4, 5}, False),
        ({1, 3, 4}, True),
        ({1, 2, 4, 5}, True),
        ({1, 2, 4, 6}, False),
    ):
        assert is_majority(joint, {NodeId(one) for one in nodes}) == enough
    assert other_voters(joint, NodeId(3)) == [1, 2, 4, 5]
    assert other_members(joint, NodeId(3), NodeId(4)) == [4, 1, 2, 5, 6]
    assert not is_majority(ConfigState(), {NodeId(1)})


def test_what_a_kept_snapshot_refers_to_stays(tmp_path: Path) -> None:
    """Until the snapshots that are kept are of later states."""

    async def run() -> None:
        async with LocalLedger(str(tmp_path), BRIEF) as ledger:
            reference = await ledger.put_content(b"s" * SIZE, WAIT_S)
            await ledger.propose([refer("a", reference)], WAIT_S)
            await ledger.node.snapshots.make()
            await ledger.propose([encode_command(DELETE, "tests", "a")], WAIT_S)
            await asyncio.sleep(1.5 * BRIEF.content_keep_s)
            assert has(ledger, reference)
            for n in range(2):
                await ledger.propose([put(f"k{n}")], WAIT_S)
                await ledger.node.snapshots.make()
            while has(ledger, reference):
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_nothing_is_removed_that_is_just_being_named(tmp_path: Path) -> None:
    """Whenever it is named in the time in which it may go: it is named and there, or
    refused; never named and gone."""

    async def run(room: Room) -> None:
        leader = await three(room)
        codes = []

        async def one(n: int) -> None:
            reference = await leader.put_content(b"%03d" % n * 20_000, WAIT_S)
            await asyncio.sleep(BRIEF.content_keep_s * (0.2 + n / 15))
            (outcome,) = await leader.propose([refer(f"k{n}", reference)], WAIT_S)
            codes.append(outcome.code)
            if outcome.code is Code.OK:
                stores = [node.node.folder.contents for node in nodes]
                sizes = [store.size(reference.digest) for store in stores]
                assert sizes.count(reference.size) >= 2, n
                named.append(reference)

        nodes = [leader, *others(room, leader)]
        named: list[Reference] = []
        await asyncio.gather(*(one(n) for n in range(30)))
        assert set(codes) == {Code.OK, Code.NOT_DONE}
        await asyncio.sleep(2.0)
        for reference in named:
            await until_had(room, reference, 1, 2, 3)

    in_room(run, Room(tmp_path, BRIEF))


def test_a_majority_with_room_is_enough(tmp_path: Path) -> None:
    """Even if the leader has none; without a majority nothing is half done."""

    async def run(room: Room) -> None:
        disks = {node: FaultyDisk() for node in (1, 2, 3)}
        for node in (1, 2, 3):
            await room.start(node, [1, 2, 3], files=disks[node], knows=[1, 2, 3])
        leader = await room.leader()
        one, two = others(room, leader)
        disks[leader.node.node].fill(left=10_000_000)
        with pytest.raises(ContentUnavailableError, match="are left free for the log"):
            await leader.put_content(b"r" * SIZE, WAIT_S)
        reference = await one.put_content(b"r" * SIZE, WAIT_S)
        (outcome,) = await leader.propose([refer("a", reference)], WAIT_S)
        assert outcome.code is Code.OK
        assert not has(leader, reference)
        assert NodeStatus.of(leader.node).contents_lacking == 1
        disks[two.node.node].fill(left=10_000_000)
        with pytest.raises(ContentUnavailableError, match="not kept by a majority"):
            await one.put_content(b"s" * SIZE, WAIT_S)
        assert [outcome.code for outcome in await leader.propose([put("x")], 5)] == [
            Code.OK
        ]
        for disk in disks.values():
            disk.bytes_max = 2**62
        await until_had(room, reference, 1, 2, 3)

    in_room(run, Room(tmp_path))


def test_what_nodes_said_is_forgotten_at_a_low_price() -> None:
    """However much they said: it is not all looked at for each thing more."""
    looked_at = 0

    class Counting(Holders):
        def of(self, content: Reference, now: float) -> set[NodeId]:
            nonlocal looked_at
            looked_at += 1
            return super().of(content, now)

    holders = Counting(valid_s=100.0)
    contents = [Reference(b"%032d" % n, 5) for n in range(1_000)]
    for n, content in enumerate(contents):
        holders.said(content, NodeId(2), now=float(n))
    assert len(holders) == 101
    assert looked_at <= 2 * len(contents)
    holders.said(contents[899], NodeId(3), now=1_050.0)
    assert holders.of(contents[899], 1_050.0) == {3}
    assert len(holders) == 51


def test_contents_that_nobody_has_are_looked_for_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever names many costs a node few files, and others their transfers not."""
    monkeypatch.setattr(content_keeping, "_CONFIRMING_MAX", 60)

    async def run(room: Room) -> None:
        leader = await three(room)
        going, most = 0, 0

        async def fetch(digest: bytes, size: int, sources: Sequence[NodeId]) -> str:
            nonlocal going, most
            going += 1
            most = max(most, going)
            await asyncio.sleep(0.01)
            going -= 1
            raise PeerUnavailableError("nobody has it")

        room.wires.ends[leader.node.node].fetch = fetch  # type: ignore[method-assign]
        unknown = [Reference(b"%032d" % n, SIZE) for n in range(100)]
        first, second = await asyncio.gather(
            leader.propose([refer("a", one) for one in unknown[:50]], WAIT_S),
            leader.propose([refer("b", one) for one in unknown[50:]], WAIT_S),
        )
        assert most <= 6
        assert all("not kept by a majority" in str(one.value) for one in first)
        assert "too many commands wait for contents" in str(second[0].value)
        # What has been answered counts no more; one call may name more than that.
        many = await leader.propose([refer("a", one) for one in unknown], WAIT_S)
        assert all("not kept by a majority" in str(one.value) for one in many)

    in_room(run, Room(tmp_path))


def test_what_is_named_while_a_sweep_goes_on_stays(tmp_path: Path) -> None:
    """Even if the node itself was not asked whether it keeps it."""

    async def run(room: Room) -> None:
        leader = await three(room)
        (node, _) = (one.node for one in others(room, leader))
        store = node.folder.contents
        sent = [await leader.put_content(b"%d" % n * SIZE, WAIT_S) for n in range(2)]
        going, named = sorted(sent)
        store._opened = -1e9
        for one in (going, named):
            await until_had(room, one, node.node)
            store._used[one.digest] = -1e9
        removing, go_on = threading.Event(), threading.Event()
        remove = store.remove

        def slow(digest: bytes) -> None:
            removing.set()
            assert go_on.wait(WAIT_S)
            remove(digest)

        store.remove = slow  # type: ignore[method-assign]
        sweeping = asyncio.create_task(node.contents.sweep.sweep())
        while not removing.is_set():
            await asyncio.sleep(0.01)
        (outcome,) = await leader.propose([refer("a", named)], WAIT_S)
        assert outcome.code is Code.OK
        await room.applied(leader.node.state.index, node.node)
        go_on.set()
        await sweeping
        assert store.size(going.digest) is None
        assert has(NodeLedger(node), named)

    in_room(run, Room(tmp_path))


def test_a_part_of_what_came_another_way_is_removed(tmp_path: Path) -> None:
    """A content that is referred to may stay for ever, what is left of its sending
    must not."""

    async def run() -> None:
        async with LocalLedger(str(tmp_path)) as ledger:
            contents = ledger.node.contents
            content = b"p" * SIZE
            reference = await ledger.put_content(content, WAIT_S)
            await ledger.propose([refer("a", reference)], WAIT_S)
            left = Path(contents.store.path(reference.digest)).with_suffix(".upload")
            left.write_bytes(content[:1_000])
            await contents.sweep.sweep()
            assert contents.store.parts() == []
            assert has(ledger, reference)

    asyncio.run(run())


def test_nothing_is_kept_of_contents_that_were_refused(tmp_path: Path) -> None:
    """Whoever sends ever more of them costs a node no memory."""

    async def run() -> None:
        async with LocalLedger(str(tmp_path)) as ledger:
            contents = ledger.node.contents
            with pytest.raises(LedgerDamagedError):
                await contents.uploads.add(Reference(b"?" * 32, 5), 0, b"wrong")
            contents.store._used = dict.fromkeys(contents.store._used, -1e9)
            await contents.sweep.sweep()
            assert contents.store._used == {}

    asyncio.run(run())


def test_who_waits_for_contents_hears_that_the_node_stops(tmp_path: Path) -> None:
    """As a reason, not by being cancelled."""

    async def run(room: Room) -> None:
        leader = await three(room)
        asked = asyncio.Event()

        async def offer(peer: NodeId, digest: bytes, size: int) -> None:
            asked.set()
            await asyncio.Event().wait()

        room.wires.ends[leader.node.node].offer = offer  # type: ignore[method-assign]
        putting = asyncio.create_task(leader.put_content(b"c" * SIZE, WAIT_S))
        await asked.wait()
        await leader.node.close()
        with pytest.raises(ContentUnavailableError, match="the node is stopping"):
            await putting

    in_room(run, Room(tmp_path))


def test_what_went_while_another_content_was_looked_for_is_not_named(
    tmp_path: Path,
) -> None:
    """That a majority kept it when the command came is not enough."""

    async def run(room: Room) -> None:
        leader = await three(room)
        reference = await leader.put_content(b"w" * SIZE, WAIT_S)

        async def fetch(digest: bytes, size: int, sources: Sequence[NodeId]) -> str:
            if digest == b"?" * 32:
                await until_gone(room, reference, 1, 2, 3)
            raise PeerUnavailableError("nobody has it")

        room.wires.ends[leader.node.node].fetch = fetch  # type: ignore[method-assign]
        commands = [refer("a", reference), refer("b", Reference(b"?" * 32, SIZE))]
        for outcome in await leader.propose(commands, WAIT_S):
            assert outcome.code is Code.NOT_DONE

    in_room(run, Room(tmp_path, BRIEF))

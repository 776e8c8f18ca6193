"""Contents between nodes: in chunks, checked, resumed; heartbeats do not wait."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import msgpack
import pytest
from certificates import lab
from faulty_disk import FaultyDisk
from network import FAST, Node, close, connected, run

from dtf_dask.errors import (
    DiskFullError,
    LedgerDamagedError,
    PeerUnavailableError,
    ProtocolError,
)
from dtf_dask.ha import bulk
from dtf_dask.ha.blobs import BlobLimits, BlobStore
from dtf_dask.ha.bulk_words import (
    CHUNK_BYTES_MAX,
    Chunk,
    Get,
    Kept,
    Offer,
    Refused,
    answered_number,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)
from dtf_dask.ha.dialing import dial
from dtf_dask.ha.handshake import Channel, NodeName
from dtf_dask.ha.node_tls import node_contexts
from dtf_dask.ha.raft.messages import NodeId, SnapshotPoint
from dtf_dask.ha.snapshots import SnapshotStore
from dtf_dask.ha.transport_limits import TransportLimits

SMALL_CHUNKS = TransportLimits(
    handshake_s=2.0, reconnect_s=0.02, reconnect_max_s=0.1, chunk_bytes=10_000
)


class Held:
    """Contents in memory, which may be stopped after some bytes, or be wrong."""

    def __init__(self, content: bytes, *, damaged: bool = False) -> None:
        self.digest = hashlib.sha256(content).digest()
        last = content[-1] ^ damaged
        self.content = content[:-1] + bytes((last,))
        self.reads: list[int] = []
        self.stop_at = 2**62
        self.go_on = threading.Event()

    def size(self, digest: bytes) -> int | None:
        return len(self.content) if digest == self.digest else None

    def read(self, digest: bytes, offset: int, length: int) -> bytes | None:
        if offset >= self.stop_at:
            self.go_on.wait(100)
        self.reads.append(offset)
        return self.content[offset : offset + length]


def test_a_content_is_fetched_checked_and_kept(tmp_path: Path) -> None:
    """From whoever has it, once; it is there after a restart."""

    async def main() -> None:
        nodes = [Node(number, tmp_path) for number in (1, 2, 3)]
        one, two, three = nodes
        async with connected(*nodes):
            content = os.urandom(3_000_001)
            digest = three.blobs.put([content[:5], content[5:]])
            sources = [two.id, three.id]
            paths = await asyncio.gather(
                *(one.transport.fetch(digest, len(content), sources) for _ in range(3))
            )
            assert len({*paths}) == 1
            assert Path(paths[0]).read_bytes() == content
            assert one.blobs.digests == [digest]
            missing = hashlib.sha256(b"?").digest()
            with pytest.raises(PeerUnavailableError, match="content is not here"):
                await one.transport.fetch(missing, 1, sources)
        again = BlobStore(str(tmp_path / "blobs1"))
        assert again.size(digest) == len(content)
        assert again.check(digest)

    run(main())


def test_a_broken_transfer_goes_on_where_it_was(tmp_path: Path) -> None:
    """The connection is cut in the middle: only the rest is asked for again."""

    async def main() -> None:
        held = Held(os.urandom(505_000))
        one = Node(1, tmp_path, limits=SMALL_CHUNKS)
        two = Node(2, tmp_path, contents=(held,))
        async with connected(one, two):
            held.stop_at = 300_000
            fetching = asyncio.ensure_future(
                one.transport.fetch(held.digest, 505_000, [two.id])
            )
            async with asyncio.timeout(60):
                while len(held.reads) < 30:
                    await asyncio.sleep(0.001)
            two.transport.cut(one.id, "a test cuts it")
            async with asyncio.timeout(14):  # at once, not when a chunk is overdue
                with pytest.raises(PeerUnavailableError, match="could not be fetched"):
                    await fetching
            held.stop_at = 2**62
            held.go_on.set()
            part = Path(one.blobs.path(held.digest)).with_suffix(".part")
            came = part.stat().st_size
            assert 200_000 < came <= 300_000
            await one.until(lambda: one.events.count(("connected", 2)) == 2)
            held.reads.clear()
            path = await one.transport.fetch(held.digest, 505_000, [two.id])
            assert Path(path).read_bytes() == held.content
            assert came <= min(r for r in held.reads if r < 300_000 or r >= came)
            assert not part.exists()

    run(main())


def test_a_damaged_source_is_found_out_and_another_asked(tmp_path: Path) -> None:
    """Its chunks check, as it hashes what it has; the whole does not."""

    async def main() -> None:
        content = os.urandom(100_000)
        bad, good = Held(content, damaged=True), Held(content)
        nodes = [
            Node(1, tmp_path, limits=SMALL_CHUNKS),
            Node(2, tmp_path, contents=(bad,)),
            Node(3, tmp_path, contents=(good,)),
        ]
        one, two, three = nodes
        async with connected(*nodes):
            with pytest.raises(PeerUnavailableError, match="node 2: 100000 bytes were"):
                await one.transport.fetch(good.digest, 100_000, [two.id])
            assert os.listdir(tmp_path / "blobs1") == []
            path = await one.transport.fetch(good.digest, 100_000, [two.id, three.id])
            assert Path(path).read_bytes() == content

    run(main())


def test_who_has_a_content_is_asked_though_another_was_asked_in_vain(
    tmp_path: Path,
) -> None:
    """Two callers name different nodes for the same content, at the same time."""

    async def main() -> None:
        content = os.urandom(100_000)
        hangs, good = Held(content), Held(content)
        hangs.stop_at = 50_000
        nodes = [
            Node(1, tmp_path, limits=SMALL_CHUNKS),
            Node(2, tmp_path, contents=(hangs,)),
            Node(3, tmp_path, contents=(good,)),
        ]
        one, two, three = nodes
        async with connected(*nodes):
            fetching = asyncio.ensure_future(
                one.transport.fetch(good.digest, 100_000, [two.id])
            )
            while not hangs.reads:
                await asyncio.sleep(0.001)
            too = asyncio.ensure_future(
                one.transport.fetch(good.digest, 100_000, [three.id])
            )
            await asyncio.sleep(0)
            two.transport.cut(one.id, "a test cuts it")
            with pytest.raises(PeerUnavailableError, match="could not be fetched"):
                await fetching
            assert Path(await too).read_bytes() == content
            hangs.go_on.set()

    run(main())


def test_who_waits_for_a_content_hears_that_the_node_ends(tmp_path: Path) -> None:
    """As an error, not by being cancelled."""

    async def main() -> None:
        hangs = Held(os.urandom(100_000))
        hangs.stop_at = 0
        one, two = Node(1, tmp_path), Node(2, tmp_path, contents=(hangs,))
        async with connected(one, two):
            fetching = asyncio.ensure_future(
                one.transport.fetch(hangs.digest, 100_000, [two.id])
            )
            part = Path(one.blobs.path(hangs.digest)).with_suffix(".part")
            while not part.exists():
                await asyncio.sleep(0.001)
            await one.transport.close()
            with pytest.raises(PeerUnavailableError, match="ends its connections"):
                await fetching
            hangs.go_on.set()

    run(main())


def test_an_offer_is_answered_when_it_is_on_the_disk(tmp_path: Path) -> None:
    """So that a majority has a payload before its entry is proposed."""

    async def main() -> None:
        nodes = [Node(number, tmp_path) for number in (1, 2, 3)]
        one, two, three = nodes
        async with connected(*nodes):
            digest = one.blobs.put([os.urandom(2_000_000)])
            await asyncio.gather(
                *(one.transport.offer(to.id, digest, 2_000_000) for to in (two, three))
            )
            for node in (two, three):
                assert BlobStore(str(tmp_path / f"blobs{node.id}")).check(digest)
            with pytest.raises(PeerUnavailableError, match="is not here"):
                await one.transport.offer(two.id, b"?" * 32, 5)
            with pytest.raises(PeerUnavailableError, match="has 2000000 bytes"):
                await one.transport.offer(two.id, digest, 5)
            two.blobs._limits = BlobLimits(content_bytes_max=10)
            other = one.blobs.put([b"x" * 11])
            with pytest.raises(PeerUnavailableError, match=r"2: .* limit of 10"):
                await one.transport.offer(two.id, other, 11)
            three.transport.set_peers({})
            with pytest.raises(PeerUnavailableError, match="no peer of this node"):
                await one.transport.offer(three.id, other, 11)

    run(main())


def test_a_snapshot_travels_by_its_digest(tmp_path: Path) -> None:
    """From one node's snapshots into another's, checked on both ways in."""

    async def main() -> None:
        mine = SnapshotStore(str(tmp_path / "s1"), "lab")
        sent = mine.write(SnapshotPoint(7, 2), [b"state" * 100_000])
        one, two = Node(1, tmp_path, contents=(mine,)), Node(2, tmp_path)
        async with connected(one, two):
            # That contents take all that they may is no reason to go without.
            two.blobs._limits = BlobLimits(bytes_max=1_000)
            path = await two.transport.fetch(sent.digest, sent.size, [one.id])
            theirs = SnapshotStore(str(tmp_path / "s2"), "lab")
            taken = theirs.adopt(path)
            two.blobs.forget(sent.digest)
            assert (taken.point, taken.digest) == (sent.point, sent.digest)
            assert theirs.size(sent.digest) == sent.size
            assert b"".join(theirs.state(taken)) == b"state" * 100_000

    run(main())


def test_heartbeats_do_not_wait_for_50_megabytes(tmp_path: Path) -> None:
    """Both ways at once, in one process, on a machine that does other things too."""

    async def main() -> None:
        one, two = Node(1, tmp_path), Node(2, tmp_path)
        loop = asyncio.get_running_loop()
        async with connected(one, two):
            content = os.urandom(50_000_000)
            digest = one.blobs.put([content])
            began = loop.time()
            fetching = asyncio.ensure_future(
                two.transport.fetch(digest, len(content), [one.id])
            )
            waits: list[float] = []
            while not fetching.done():
                said = loop.time()
                one.say(two, len(waits) + 1)
                await two.until(lambda: len(two.messages) > len(waits))
                waits.append(loop.time() - said)
                await asyncio.sleep(0.005)
            await fetching
            took = loop.time() - began
            assert two.blobs.check(digest)
            assert ("lost", 1) not in two.events
            waits.sort()
            assert len(waits) > 10
            assert waits[len(waits) // 2] < took / 10
            most = max(1, took / 2)
            assert waits[-1] < most, f"{took:.2f} s, {len(waits)} heartbeats"

    run(main())


def test_a_pace_is_kept(tmp_path: Path) -> None:
    """200 kB at 400 kB/s take half a second, whoever asks."""
    limits = TransportLimits(content_bytes_per_s=400_000, chunk_bytes=10_000)

    async def main() -> None:
        one, two = Node(1, tmp_path, limits=limits), Node(2, tmp_path, limits=limits)
        loop = asyncio.get_running_loop()
        async with connected(one, two):
            digest = one.blobs.put([bytes(200_000)])
            began = loop.time()
            await two.transport.fetch(digest, 200_000, [one.id])
            assert 0.4 < loop.time() - began < 60

    run(main())


def test_a_question_is_answered_by_the_other_node(tmp_path: Path) -> None:
    """With what its scheduler process says, be it nothing. Who asks for too much at
    once, or of a node that is gone, is told so."""

    async def main() -> None:
        one, two = Node(1, tmp_path), Node(2, tmp_path)
        heard: list[Mapping[str, Any]] = []
        may_answer = asyncio.Event()

        async def answers(asked: Mapping[str, Any]) -> dict[str, Any] | None:
            heard.append(asked)
            if asked["n"] == 3:
                await may_answer.wait()
            return {"status": 200, "n": asked["n"]} if asked["n"] else None

        two.transport.answers = answers
        async with connected(one, two):
            ask = one.transport.ask
            assert await ask(two.id, {"n": 0}) is None
            found = await asyncio.gather(*(ask(two.id, {"n": n}) for n in (1, 2)))
            assert found == [{"status": 200, "n": 1}, {"status": 200, "n": 2}]
            most = bulk._REQUESTS_WAITING_MAX
            asking = [asyncio.ensure_future(ask(two.id, {"n": 3})) for _ in range(most)]
            while len(heard) < 3 + most:
                await asyncio.sleep(0.005)
            with pytest.raises(PeerUnavailableError, match="too much is asked at once"):
                await ask(two.id, {"n": 1})
            two.transport.cut(one.id, "as if it died")
            for one_of in asking:
                with pytest.raises(PeerUnavailableError, match="connection"):
                    await one_of
            with pytest.raises(PeerUnavailableError):
                await ask(NodeId(7), {"n": 1})

    run(main())


@pytest.mark.parametrize(
    "body",
    [
        b"\xc1",
        msgpack.packb((6, 1, b"\xc1")),
        msgpack.packb((6, 1, msgpack.packb("no map"))),
        msgpack.packb((6, 1, msgpack.packb(None))),
        msgpack.packb((6, -1, msgpack.packb({}))),
        encode_request(Get(1, b"?" * 32, 0, CHUNK_BYTES_MAX + 1)),
        encode_request(Get(1, b"?" * 31, 0, 1)),
        encode_request(Get(1, b"?" * 32, 2**63, 1)),
        encode_request(Get(-1, b"?" * 32, 0, 1)),
        encode_request(Offer(1, b"?" * 33, 1)),
        encode_answer(Kept(1)),
    ],
)
def test_requests_of_no_sense_end_the_connection(tmp_path: Path, body: bytes) -> None:
    """And nothing else: the node serves on."""
    with pytest.raises(ProtocolError):
        decode_request(body)

    async def main() -> None:
        one = Node(1, tmp_path)
        await one.listen()
        _, context = node_contexts(lab().node(2))
        connection = await dial(
            NodeName("lab", NodeId(2)),
            NodeName("lab", NodeId(1)),
            one.address,
            Channel.BULK,
            context,
            2.0,
        )
        connection.serve(lambda _: None)
        connection.send(body)
        async with asyncio.timeout(60):
            await connection.closed
        await close([one])

    run(main())


def test_who_asks_and_does_not_read_costs_bounded_memory(tmp_path: Path) -> None:
    """What was asked for ahead stays on the disk until there is room to send it."""

    async def main() -> None:
        held = Held(bytes(64 * 2**20))
        one = Node(1, tmp_path, contents=(held,))
        await one.listen()
        _, context = node_contexts(lab().node(2))
        own, peer = NodeName("lab", NodeId(2)), NodeName("lab", one.id)
        connection = await dial(own, peer, one.address, Channel.BULK, context, 5.0)
        got: list[bytes] = []
        connection.serve(got.append)
        assert connection.transport is not None
        connection.transport.pause_reading()
        for number in range(60):
            get = Get(number, held.digest, number * 2**20, 2**20)
            connection.send(encode_request(get))
        serving = one.transport._incoming[NodeId(2), Channel.BULK]
        async with asyncio.timeout(60):
            while serving.writable:
                await asyncio.sleep(0.005)
        asked = -1
        while asked < len(held.reads):  # until it stands still
            asked = len(held.reads)
            await asyncio.sleep(0.3)
        assert asked < 40  # the kernel's buffers hold some
        assert serving.transport is not None
        assert serving.transport.get_write_buffer_size() < 5 * 2**20
        connection.transport.resume_reading()
        async with asyncio.timeout(60):
            while len(got) < 60:
                await asyncio.sleep(0.005)
        connection.abort("done")
        await close([one])

    run(main())


@pytest.mark.parametrize(
    "answer", [Chunk(7, b"x" * 1000), Kept(7), Refused(7, "no"), Chunk(7, b"")]
)
def test_answers_are_read_as_written(answer: Chunk | Kept | Refused) -> None:
    """And any bit of a chunk that changes is found."""
    body = encode_answer(answer)
    assert decode_answer(body) == answer
    assert answered_number(body) == 7
    if isinstance(answer, Chunk) and answer.content:
        damaged = bytearray(body)
        damaged[100] ^= 1
        with pytest.raises(ProtocolError, match="came damaged"):
            decode_answer(bytes(damaged))
    for wrong in (b"", b"\x90", b"\xc0", b"\x93\x03\xa1x\xc4\x00"):
        with pytest.raises(ProtocolError):
            answered_number(wrong)


def test_a_peer_that_answers_nothing_is_given_up(tmp_path: Path) -> None:
    """In the time that a chunk may take; what came is kept."""
    limits = TransportLimits(content_answer_s=0.3, chunk_bytes=10_000)

    async def main() -> None:
        held = Held(os.urandom(100_000))
        held.stop_at = 50_000
        one = Node(1, tmp_path, limits=limits)
        two = Node(2, tmp_path, contents=(held,))
        async with connected(one, two):
            with pytest.raises(PeerUnavailableError, match="did not answer within"):
                await one.transport.fetch(held.digest, 100_000, [two.id])
            held.go_on.set()
            held.stop_at = 2**62
            path = await one.transport.fetch(held.digest, 100_000, [two.id])
            assert Path(path).read_bytes() == held.content

    run(main())


def test_a_store_refuses_what_is_too_large_or_wrong(tmp_path: Path) -> None:
    """One content, all of them together, more bytes than announced, other bytes."""
    store = BlobStore(str(tmp_path), BlobLimits(content_bytes_max=100, bytes_max=150))
    digest = store.put([b"x" * 100])
    assert store.put([b"x" * 100]) == digest
    for size in (101, 60):
        with pytest.raises(DiskFullError, match="over the limit of 100, or of 150"):
            store.put([b"y" * size])
    part = store.begin(hashlib.sha256(b"abc").digest(), 3)
    with pytest.raises(ValueError, match="more bytes"):
        part.add(b"abcd")
    part.add(b"abd")
    with pytest.raises(LedgerDamagedError, match="3 bytes were received"):
        part.finish()
    assert len(os.listdir(tmp_path)) == 1
    store.remove(digest)
    store.remove(digest)
    assert (store.digests, store.bytes_used, os.listdir(tmp_path)) == ([], 0, [])
    assert store.read(digest, 0, 1) is None


def test_a_part_that_was_changed_meanwhile_is_found_out(tmp_path: Path) -> None:
    """A power loss may leave other bytes in it: the whole is checked in the end."""
    content = os.urandom(50_000)
    digest = hashlib.sha256(content).digest()
    part = BlobStore(str(tmp_path)).begin(digest, 50_000)
    part.add(content[:30_000])
    part.close()
    path = tmp_path / f"{digest.hex()}.part"
    path.write_bytes(bytes(100) + content[100:30_000])
    store = BlobStore(str(tmp_path))
    assert (store.parts(), store.digests) == ([digest], [])
    part = store.begin(digest, 50_000)
    assert part.offset == 30_000
    part.add(content[30_000:])
    with pytest.raises(LedgerDamagedError):
        part.finish()
    part = BlobStore(str(tmp_path)).begin(digest, 50_000)
    assert part.offset == 0
    part.add(content)
    assert Path(part.finish()).read_bytes() == content
    part.close()


def test_limits_of_tests_are_sane() -> None:
    """Chunks of the default size fit in a frame and under what peers may ask for."""
    assert FAST.chunk_bytes <= CHUNK_BYTES_MAX


def test_what_was_acknowledged_survives_a_crash() -> None:
    """A content is on the disk when it is said to be; a part may be lost, not wrong."""
    for seed in range(100):
        random = Random(seed)
        disk = FaultyDisk()
        store = BlobStore("blobs", files=disk)
        kept = [store.put([random.randbytes(3_000)]) for _ in range(3)]
        content = random.randbytes(4_000)
        digest = hashlib.sha256(content).digest()
        store.begin(digest, 4_000).add(content[:2_500])
        disk.crash(random)
        store = BlobStore("blobs", files=disk)
        assert store.digests == sorted(kept)
        assert all(map(store.check, kept))
        part = store.begin(digest, 4_000)
        part.add(content[part.offset :])
        try:
            part.finish()
        except LedgerDamagedError:
            part = store.begin(digest, 4_000)
            assert part.offset == 0
            part.add(content)
            part.finish()
        assert store.check(digest)


def test_a_full_disk_refuses_a_content_and_takes_it_later() -> None:
    """What had come is still there when there is room."""
    disk = FaultyDisk()
    store = BlobStore("blobs", files=disk)
    content = bytes(range(256)) * 20
    part = store.begin(hashlib.sha256(content).digest(), len(content))
    part.add(content[:2_000])
    disk.bytes_max = 3_000
    with pytest.raises(DiskFullError):
        part.add(content[2_000:])
    part.close()
    disk.bytes_max = 2**62
    part = store.begin(part.digest, len(content))
    part.add(content[part.offset :])
    part.finish()
    assert store.check(part.digest)

"""Contents of clients in other processes: sent in chunks, resumed, refused, read."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from hashlib import sha256
from pathlib import Path
from random import Random
from time import perf_counter

import pytest
from test_redundancy import made_nodes
from test_service import Cluster, with_cluster

from dtf_dask.errors import ContentUnavailableError, UsageError
from dtf_dask.ha.blobs import BlobLimits, BlobStore
from dtf_dask.ha.client_link import Link
from dtf_dask.ha.large_values import put_value, value_bytes
from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import PUT, PUT_CONTENT
from dtf_dask.ha.ledger.outcomes import Code
from dtf_dask.ha.ledger.queries import Get
from dtf_dask.ha.ledger.references import Reference
from dtf_dask.ha.redundancy import RedundancyManager
from dtf_dask.ha.remote_ledger import RemoteLedger
from dtf_dask.ha.service_words import Op, Status, encode_request

WAIT_S = 30.0


def refer(key: str, reference: Reference) -> bytes:
    """A command that has a record refer to a content."""
    return encode_command(PUT_CONTENT, "tests", key, *reference)


def store_of(folder: Path) -> BlobStore:
    """The contents of a node, read from its folder."""
    return BlobStore(str(folder / "contents"))


async def until_had(folders: list[Path], reference: Reference) -> None:
    """Wait until all have a content, and check it."""
    for folder in folders:
        while store_of(folder).size(reference.digest) is None:
            await asyncio.sleep(0.05)
        assert store_of(folder).check(reference.digest)


def with_processes(
    folder: Path, test: Callable[[list[RedundancyManager]], Awaitable[None]]
) -> None:
    """Run a test with three nodes in processes of their own."""

    async def run() -> None:
        async with AsyncExitStack() as stack, asyncio.timeout(150):
            managers = [RedundancyManager(one) for one in made_nodes(folder, 3)]
            for one in managers:
                stack.push_async_callback(one.stop)
            await asyncio.gather(*(one.start() for one in managers))
            await test(managers)

    asyncio.run(run())


async def settled_terms(managers: list[RedundancyManager]) -> set[int]:
    """The term in which all nodes know a leader."""
    while True:
        found = [await one.status() for one in managers]
        terms = {int(one["term"]) for one in found}
        if len(terms) == 1 and all(one["leader"] for one in found):
            return terms
        await asyncio.sleep(0.05)


async def kept_and_named(ledger: RemoteLedger, content: bytes) -> Reference:
    """Have a record refer to a content, while others read."""
    waits: list[float] = []

    async def others() -> None:
        while True:
            begun = perf_counter()
            assert await ledger.read(Get("tests", "first"), WAIT_S) is not None
            waits.append(perf_counter() - begun)
            await asyncio.sleep(0.01)

    reading = asyncio.create_task(others())
    begun = perf_counter()
    reference = await ledger.put_content(content, 2 * WAIT_S)
    while True:
        (outcome,) = await ledger.propose([refer("large", reference)], WAIT_S)
        if outcome.code is Code.OK:
            break
        assert outcome.code in (Code.UNKNOWN, Code.NOT_DONE)
    took_s = perf_counter() - begun
    reading.cancel()
    print(
        f"50 MB kept and named in {took_s:.2f} s; {len(waits)} reads meanwhile,"
        f" the slowest {max(waits) * 1_000:.0f} ms; load {os.getloadavg()[0]:.1f}"
    )
    return reference


def test_50_megabytes_are_kept_and_no_election_is_held(tmp_path: Path) -> None:
    """By three processes, over TLS, with syncs; other requests go on meanwhile. On a
    machine that is busy with other things an election may come of those: once it must
    go without."""
    contents = [Random(n).randbytes(50_000_000) for n in range(3)]

    async def test(managers: list[RedundancyManager]) -> None:
        ledger = managers[0].ledger
        (outcome,) = await ledger.propose(
            [encode_command(PUT, "tests", "first", b"")], WAIT_S
        )
        assert outcome.code is Code.OK
        for content in contents:
            terms = await settled_terms(managers)
            reference = await kept_and_named(ledger, content)
            if await settled_terms(managers) == terms:
                break
        else:
            raise AssertionError("an election was held each time")
        await until_had([one.folder for one in managers], reference)
        for one in managers:
            answer = await one.ledger.read(Get("tests", "large"), WAIT_S)
            assert answer is not None
            assert answer.records[0][1].value == reference
            assert await one.ledger.get_content(reference, WAIT_S) == content

    with_processes(tmp_path, test)


@pytest.mark.logs("ended with code -9")
def test_nodes_are_killed_while_contents_are_sent(tmp_path: Path) -> None:
    """At any point: what was kept and named is on all nodes in the end, whole; what
    was cut off is gone on with."""
    random = Random(7)
    contents: list[bytes] = []

    async def test(managers: list[RedundancyManager]) -> None:
        ledger = managers[0].ledger
        named: list[Reference] = []
        kills = 0

        async def send() -> None:
            # Of a machine that sends them in no time more have to be sent.
            while len(contents) < 6 or kills < 2:
                n, content = len(contents), random.randbytes(8_000_000)
                contents.append(content)
                while True:
                    reference = await ledger.put_content(content, WAIT_S)
                    (one,) = await ledger.propose([refer(f"k{n}", reference)], WAIT_S)
                    if one.code is Code.OK:
                        named.append(reference)
                        break

        sending = asyncio.create_task(send())
        while not sending.done():
            await asyncio.wait([sending], timeout=random.uniform(0.1, 1.5))
            leader = ledger._leader
            victim = random.choice([leader, leader, 1, 2, 3])
            manager = managers[victim - 1]
            alive = [one.pid for one in managers if one.pid is not None]
            if len(alive) == 3 and manager.pid is not None and not sending.done():
                os.kill(manager.pid, signal.SIGKILL)
                kills += 1
        await sending
        assert len(named) == len(contents)
        for n, reference in enumerate(named):
            await until_had([one.folder for one in managers], reference)
            assert await ledger.get_content(reference, WAIT_S) == contents[n]

    with_processes(tmp_path, test)


def test_a_leader_that_hangs_while_it_is_sent_to(tmp_path: Path) -> None:
    """Another node takes the content, and the new leader names it; the one that hung
    has it too when it goes on."""
    content = Random(3).randbytes(30_000_000)

    async def test(managers: list[RedundancyManager]) -> None:
        ledger = managers[0].ledger
        await ledger.propose([encode_command(PUT, "tests", "first", b"")], WAIT_S)
        victim = managers[ledger._leader - 1]
        link = await ledger._link(ledger._leader)
        before = link.bytes_out
        sending = asyncio.create_task(ledger.put_content(content, 60.0))
        while link.bytes_out < before + 5_000_000:
            await asyncio.sleep(0.001)
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGSTOP)
        try:
            begun = perf_counter()
            reference = await sending
            print(f"kept {perf_counter() - begun:.1f} s after the leader stopped")
            while True:
                (one,) = await ledger.propose([refer("a", reference)], WAIT_S)
                if one.code is Code.OK:
                    break
        finally:
            os.kill(victim.pid, signal.SIGCONT)
        await until_had([one.folder for one in managers], reference)
        assert await ledger.get_content(reference, WAIT_S) == content

    with_processes(tmp_path, test)


def test_what_was_cut_off_is_gone_on_with(tmp_path: Path) -> None:
    """After the connection broke, and after the node was started again."""
    content = os.urandom(10_000_000)
    reference = Reference(sha256(content).digest(), len(content))

    async def test(cluster: Cluster) -> None:
        async with cluster.client() as ledger:
            link = await ledger._link(1)
            sent = content[:1_000_000]
            answer = await link.ask(Op.CONTENT_ADD, *reference, 0, sent)
            assert answer == (Status.OK, (1_000_000,))
            link.abort("cut off")
            link = await ledger._link(1)
            answer = await link.ask(Op.CONTENT_ADD, *reference, 0, b"")
            assert answer == (Status.OK, (1_000_000,))
        await cluster.stop(1)
        await cluster.start(1)
        async with cluster.client() as ledger:
            link = await ledger._link(1)
            answer = await link.ask(Op.CONTENT_ADD, *reference, 0, b"")
            assert answer == (Status.OK, (1_000_000,))
            before = link.bytes_out
            assert await ledger.put_content(content, WAIT_S) == reference
            assert link.bytes_out - before < 9_100_000

    with_cluster(tmp_path, 1, test)


def test_a_broken_connection_is_made_anew(tmp_path: Path) -> None:
    """While a content is sent: it goes on from where it was, and is kept."""
    content = os.urandom(20_000_000)

    async def test(cluster: Cluster) -> None:
        async with cluster.client() as ledger:
            broken = 0

            async def breaks() -> None:
                nonlocal broken
                while True:
                    link = await ledger._link(ledger._leader)
                    sent = link.bytes_out
                    while link.bytes_out < sent + 6_000_000 and not link.closed.done():
                        await asyncio.sleep(0.001)
                    link.abort("cut off")
                    broken += 1

            breaking = asyncio.create_task(breaks())
            reference = await ledger.put_content(content, WAIT_S)
            breaking.cancel()
            assert broken
            assert await ledger.get_content(reference, WAIT_S) == content

    with_cluster(tmp_path, 1, test)


def test_values_of_any_size_are_written_and_read(tmp_path: Path) -> None:
    """In the ledger itself up to 1 MiB, by reference above."""

    async def test(cluster: Cluster) -> None:
        async with cluster.client() as ledger:
            for size in (0, 2**20, 2**20 + 1, 5_000_000):
                value = os.urandom(size)
                outcome = await put_value(ledger, "tests", "key", value, WAIT_S)
                assert outcome.code is Code.OK
                answer = await ledger.read(Get("tests", "key"), WAIT_S)
                assert answer is not None
                ((_, record),) = answer.records
                assert isinstance(record.value, bytes) == (size <= 2**20)
                assert await value_bytes(ledger, record.value, WAIT_S) == value

    with_cluster(tmp_path, 3, test)


def test_two_who_send_the_same_send_it_once(tmp_path: Path) -> None:
    """At the same time, to the same node, which takes each byte from the first."""
    content = os.urandom(5_000_000)

    async def test(cluster: Cluster) -> None:
        async with cluster.client() as one, cluster.client() as two:
            sent = await asyncio.gather(
                *(ledger.put_content(content, WAIT_S) for ledger in (one, two, one))
            )
            assert len(set(sent)) == 1
            assert await two.get_content(sent[0], WAIT_S) == content

    with_cluster(tmp_path, 3, test)


def test_garbage_is_refused(tmp_path: Path) -> None:
    """Offsets, sizes and bytes that do not fit change nothing of what is here."""
    content = os.urandom(3_000_000)
    digest, size = sha256(content).digest(), len(content)
    add = (Op.CONTENT_ADD, digest, size)

    async def test(cluster: Cluster) -> None:
        async with cluster.client() as ledger:
            link = await ledger._link(1)
            assert await link.ask(*add, 0, content[:100]) == (Status.OK, (100,))
            for offset in (0, 99, 101, size - 100):
                answer = await link.ask(*add, offset, content[:100])
                assert answer == (Status.OK, (100,))
            for wrong in ((size, b"x"), (size - 99, content[:100]), (2**62, b"")):
                status, (words,) = await link.ask(*add, *wrong)
                assert (status, words) == (
                    Status.WRONG,
                    f"content {digest.hex()} has {size} bytes",
                )
            status, (words,) = await link.ask(Op.CONTENT_ADD, digest, size - 1, 0, b"")
            assert status is Status.WRONG
            assert f"comes in with {size} bytes" in words
            status, (words,) = await link.ask(*add[:3], 100, b"x" * 1_000_000)
            assert (status, words) == (Status.OK, 1_000_100)
            await link.ask(*add, 1_000_100, b"x" * 1_000_000)
            rest = size - 2_000_100
            status, (words,) = await link.ask(*add, 2_000_100, b"x" * rest)
            assert status is Status.WRONG
            assert "that are not the content" in words
            assert os.listdir(cluster.folder / "1" / "contents") == []
            status, (_, words) = await link.ask(Op.CONTENT_KEEP, digest, size, 5_000)
            assert status is Status.NOT_DONE
            assert "is not kept by a majority" in words
            reference = await ledger.put_content(content, WAIT_S)
            assert await ledger.get_content(reference, WAIT_S) == content

    with_cluster(tmp_path, 1, test)


def test_who_does_not_read_is_not_sent_to(tmp_path: Path) -> None:
    """A node holds a few chunks for a client, however many it asks for."""
    content = os.urandom(30_000_000)

    async def test(cluster: Cluster) -> None:
        async with cluster.client() as ledger:
            reference = await ledger.put_content(content, WAIT_S)
            link = await ledger._link(1)
            assert link.transport is not None
            link.transport.pause_reading()
            asked = [
                link.ask(Op.CONTENT_READ, *reference, n * 100_000, 1_000_000, 10_000)
                for n in range(290)
            ]
            service = cluster.nodes[1].service
            assert service is not None
            (client,) = service._clients
            assert client.transport is not None
            while client._open < 250 or client.writable:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
            assert client.transport.get_write_buffer_size() < 10_000_000
            link.transport.resume_reading()
            for n, (status, values) in enumerate(await asyncio.gather(*asked)):
                assert status is Status.OK
                assert values[0] == content[n * 100_000 : n * 100_000 + 1_000_000]

    with_cluster(tmp_path, 1, test)


@pytest.mark.parametrize(
    "body",
    [
        encode_request(1, Op.CONTENT_ADD, b"short", 5, 0, b""),
        encode_request(1, Op.CONTENT_ADD, b"1" * 32, 0, 0, b""),
        encode_request(1, Op.CONTENT_ADD, b"1" * 32, 2**40, 0, b""),
        encode_request(1, Op.CONTENT_ADD, b"1" * 32, 5, -1, b""),
        encode_request(1, Op.CONTENT_ADD, b"1" * 32, 2**31, 0, b"x" * (2**20 + 1)),
        encode_request(1, Op.CONTENT_READ, b"1" * 32, 5, 5, 1, 0),
        encode_request(1, Op.CONTENT_READ, b"1" * 32, 5, 0, 2**30, 0),
        encode_request(1, Op.CONTENT_KEEP, b"1" * 32, 5, -1),
    ],
)
def test_requests_of_no_sense_end_the_connection(tmp_path: Path, body: bytes) -> None:
    """And only that: others are served."""

    async def test(cluster: Cluster) -> None:
        async with cluster.client() as ledger, cluster.client() as other:
            link: Link = await ledger._link(1)
            link.send(body)
            await asyncio.wait_for(link.closed, WAIT_S)
            assert "with wrong arguments" in link.why
            assert (await other.status(1))["node"] == 1

    with_cluster(tmp_path, 1, test)


def test_too_much_is_refused_with_the_reason(tmp_path: Path) -> None:
    """A content, or all together, over the limit of most nodes; and empty ones."""

    async def test(cluster: Cluster) -> None:
        for node in (1, 2):
            found = cluster.nodes[node].node
            assert found is not None
            found.folder.contents._limits = BlobLimits(content_bytes_max=1_500_000)
        async with cluster.client() as ledger:
            with pytest.raises(ContentUnavailableError, match="over the limit of 150"):
                await ledger.put_content(b"x" * 1_600_000, WAIT_S)
            with pytest.raises(UsageError, match="a content has 1 to"):
                await ledger.put_content(b"", WAIT_S)
            reference = await ledger.put_content(b"x" * 1_400_000, WAIT_S)
            assert await ledger.get_content(reference, WAIT_S) == b"x" * 1_400_000
            unknown = Reference(b"?" * 32, 5)
            with pytest.raises(ContentUnavailableError, match="nothing refers to it"):
                await ledger.get_content(unknown, WAIT_S)

    with_cluster(tmp_path, 3, test)


def test_commands_of_others_do_not_wait_for_contents(tmp_path: Path) -> None:
    """Not even if they were sent at the same time by the same client."""

    async def test(cluster: Cluster) -> None:
        async with cluster.client() as ledger:
            await until_led(ledger)
            careless, plain = await asyncio.gather(
                ledger.propose([refer("a", Reference(b"?" * 32, 9))], WAIT_S),
                ledger.propose([encode_command(PUT, "tests", "b", b"")], WAIT_S),
            )
            assert careless[0].code is Code.NOT_DONE
            assert plain[0].code is Code.OK

    async def until_led(ledger: RemoteLedger) -> None:
        """Wait until commands are taken."""
        await ledger.propose([encode_command(PUT, "tests", "first", b"")], WAIT_S)

    with_cluster(tmp_path, 3, test)


def test_a_damaged_content_is_read_from_another_node(tmp_path: Path) -> None:
    """What a client reads is checked against its digest."""
    content = os.urandom(2_000_000)

    async def test(cluster: Cluster) -> None:
        async with cluster.client() as ledger:
            reference = await ledger.put_content(content, WAIT_S)
            await ledger.propose([refer("a", reference)], WAIT_S)
            folders = [cluster.folder / str(node) for node in (1, 2, 3)]
            await until_had(folders, reference)
            path = Path(store_of(folders[ledger._leader - 1]).path(reference.digest))
            path.write_bytes(bytes(100) + content[100:])
            assert await ledger.get_content(reference, WAIT_S) == content

    with_cluster(tmp_path, 3, test)

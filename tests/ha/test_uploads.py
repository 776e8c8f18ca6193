"""What a node does with the chunks that clients send: bounded, and gone on with."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from faulty_disk import FaultyDisk

from dtf_dask.errors import (
    ContentUnavailableError,
    DiskFullError,
    LedgerDamagedError,
    LedgerDiskError,
)
from dtf_dask.ha import uploads as module
from dtf_dask.ha.blobs import BlobLimits, BlobStore
from dtf_dask.ha.ledger.references import Reference
from dtf_dask.ha.uploads import Uploads

CONTENT = os.urandom(300_000)
REFERENCE = Reference(sha256(CONTENT).digest(), len(CONTENT))


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run, but not for ever."""
    asyncio.run(asyncio.wait_for(main, 30))


async def send(uploads: Uploads, start: int = 0) -> None:
    """Send all from an offset on."""
    at = start
    while at < REFERENCE.size:
        at = await uploads.add(REFERENCE, at, CONTENT[at : at + 50_000])


def test_a_disk_that_becomes_full_keeps_nothing(tmp_path: Path) -> None:
    """The log needs the room; with room again the content is taken from its start."""

    async def main() -> None:
        disk = FaultyDisk()
        store = BlobStore("blobs", files=disk)
        uploads = Uploads(store)
        await uploads.add(REFERENCE, 0, CONTENT[:100_000])
        disk.fill(left=1_000)
        with pytest.raises(DiskFullError, match="no room"):
            await uploads.add(REFERENCE, 100_000, CONTENT[100_000:200_000])
        assert disk.names("blobs") == []
        with pytest.raises(DiskFullError, match="are left free for the log"):
            await uploads.add(REFERENCE, 0, b"")
        disk.bytes_max = 2**62
        assert await uploads.add(REFERENCE, 0, b"") == 0
        await send(uploads)
        assert store.check(REFERENCE.digest)

    run(main())


@pytest.mark.parametrize("operation", ["write", "sync", "sync_folder"])
def test_a_disk_that_fails_is_not_believed(operation: str) -> None:
    """What it wrote is not gone on with, since nobody knows what that is."""

    async def main() -> None:
        disk = FaultyDisk()
        store = BlobStore("blobs", files=disk)
        uploads = Uploads(store)
        await uploads.add(REFERENCE, 0, CONTENT[:100_000])
        disk.fails = {operation: 0}
        with pytest.raises(
            LedgerDiskError, match="cannot be written: Input/output"
        ) as e:
            await send(uploads, 100_000)
        assert "the node stops" not in str(e.value)
        assert store.size(REFERENCE.digest) is None
        disk.fails.clear()
        assert await uploads.add(REFERENCE, 0, b"") == 0
        await send(uploads)
        assert store.check(REFERENCE.digest)

    run(main())


def test_a_part_that_nobody_goes_on_with_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays, and another client goes on where it ended."""
    monkeypatch.setattr(module, "IDLE_S", 0.05)

    async def main() -> None:
        store = BlobStore(str(tmp_path))
        uploads = Uploads(store)
        await uploads.add(REFERENCE, 0, CONTENT[:100_000])
        assert store.is_received(REFERENCE.digest)
        while store.is_received(REFERENCE.digest):
            await asyncio.sleep(0.01)
        assert store.parts() == [REFERENCE.digest]
        assert await uploads.add(REFERENCE, 0, b"") == 100_000
        await send(uploads, 100_000)
        assert (store.parts(), store.check(REFERENCE.digest)) == ([], True)

    run(main())


def test_uploads_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many at a time, and so many bytes that are not on the disk yet."""
    monkeypatch.setattr(module, "UPLOADS_MAX", 2)
    monkeypatch.setattr(module, "HELD_BYTES_MAX", 100_000)

    async def main() -> None:
        uploads = Uploads(BlobStore(str(tmp_path)))
        for n in range(2):
            await uploads.add(Reference(b"%d" % n * 32, 1_000), 0, b"x")
        with pytest.raises(ContentUnavailableError, match="too many contents come in"):
            await uploads.add(REFERENCE, 0, b"")
        large = Reference(b"0" * 32, 1_000)
        sent = [uploads.add(large, 1, b"x" * 900) for _ in range(150)]
        said = await asyncio.gather(*sent, return_exceptions=True)
        refused = [one for one in said if isinstance(one, ContentUnavailableError)]
        assert len(refused) == 150 - 100_000 // 900
        assert str(refused[0]) == "too many chunks come in: try again"
        assert await uploads.add(large, 1, b"") == 901
        await uploads.close()

    run(main())


def test_all_contents_together_are_bounded(tmp_path: Path) -> None:
    """Those that come in count as they are announced."""

    async def main() -> None:
        store = BlobStore(str(tmp_path), BlobLimits(bytes_max=500_000))
        uploads = Uploads(store)
        await uploads.add(REFERENCE, 0, b"x")
        with pytest.raises(DiskFullError, match="of 500000 for all"):
            await uploads.add(Reference(b"o" * 32, 300_000), 0, b"x")
        await uploads.close()

    run(main())


def test_a_node_that_stops_takes_nothing_more(tmp_path: Path) -> None:
    """What comes in is written first, and is there at the next start."""

    async def main() -> None:
        store = BlobStore(str(tmp_path))
        uploads = Uploads(store)
        adding = asyncio.create_task(uploads.add(REFERENCE, 0, CONTENT[:100_000]))
        await asyncio.sleep(0)
        closing = asyncio.create_task(uploads.close())
        await asyncio.sleep(0)
        with pytest.raises(ContentUnavailableError, match="is stopping"):
            await uploads.add(REFERENCE, 100_000, CONTENT[100_000:200_000])
        await closing
        assert await adding == 100_000
        assert not store.is_received(REFERENCE.digest)
        again = Uploads(BlobStore(str(tmp_path)))
        assert await again.add(REFERENCE, 0, b"") == 100_000
        await again.close()

    run(main())


def test_a_sender_that_goes_away_leaves_the_part_whole(tmp_path: Path) -> None:
    """What it had sent is written all the same, and nothing comes in between."""

    async def main() -> None:
        store = BlobStore(str(tmp_path))
        uploads = Uploads(store)
        loop = asyncio.get_running_loop()
        sending = [
            loop.create_task(uploads.add(REFERENCE, at, CONTENT[at : at + 50_000]))
            for at in range(0, 250_000, 50_000)
        ]
        await asyncio.sleep(0)
        for one in sending:
            one.cancel()
        here = await uploads.add(REFERENCE, 0, b"")
        assert here == 250_000
        await send(uploads, here)
        assert store.check(REFERENCE.digest)

    run(main())


def test_a_wrong_end_that_is_sent_twice_leaves_nothing_open(tmp_path: Path) -> None:
    """What waited while a content was given up begins no part that nobody closes."""

    async def main() -> None:
        store = BlobStore(str(tmp_path))
        uploads = Uploads(store)
        await uploads.add(REFERENCE, 0, CONTENT[:100_000])
        wrong = bytes(200_000)
        first, second = await asyncio.gather(
            *(uploads.add(REFERENCE, 100_000, wrong) for _ in range(2)),
            return_exceptions=True,
        )
        assert isinstance(first, LedgerDamagedError)
        assert second == 0
        assert not store.is_received(REFERENCE.digest)
        await send(uploads)
        assert store.check(REFERENCE.digest)

    run(main())


def test_what_an_earlier_life_left_damaged_is_sent_again(tmp_path: Path) -> None:
    """A part is not synced: after a loss of power it may hold anything. Who sends the
    content is not blamed for that."""

    async def main() -> None:
        store = BlobStore(str(tmp_path))
        (tmp_path / (REFERENCE.digest.hex() + ".upload")).write_bytes(bytes(70_000))
        uploads = Uploads(store)
        here = await uploads.add(REFERENCE, 0, b"")
        assert here == 70_000
        await send(uploads, here)
        assert store.check(REFERENCE.digest)

    run(main())


def test_a_content_that_is_refused_takes_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others that have room come in."""
    monkeypatch.setattr(module, "UPLOADS_MAX", 2)

    async def main() -> None:
        store = BlobStore(str(tmp_path), BlobLimits(content_bytes_max=REFERENCE.size))
        uploads = Uploads(store)
        for n in range(3):
            with pytest.raises(DiskFullError, match="over the limit"):
                await uploads.add(Reference(b"%d" % n * 32, 400_000), 0, b"")
        await send(uploads)
        assert store.check(REFERENCE.digest)

    run(main())

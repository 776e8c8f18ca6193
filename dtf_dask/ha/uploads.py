"""Contents that clients send to a node, a chunk at a time.

Who sends says where each chunk begins, and is told how much is here: so that what broke
off goes on where it was, and two who send the same send it once. A part that nobody
goes on with is closed after a while, and removed as any content that nothing refers to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dtf_dask.errors import (
    ContentUnavailableError,
    DiskFullError,
    LedgerDamagedError,
    LedgerDiskError,
    PeerUnavailableError,
    UsageError,
)
from dtf_dask.ha.blobs import UPLOADED, BlobStore, Part
from dtf_dask.ha.ledger.references import Reference

IDLE_S = 30.0
"""So long a part stays open that nobody goes on with."""

UPLOADS_MAX = 64
HELD_BYTES_MAX = 64 * 2**20
"""Of chunks that are not on the disk yet; more are refused."""

_REMOVAL_S = 0.01


class _Upload:
    """One content that comes in."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.part: Part | None = None
        self.turn = asyncio.Lock()
        self.used_at = 0.0


class Uploads:
    """What comes in from clients of a node."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._open: dict[bytes, _Upload] = {}
        self._held = 0
        self._tasks: set[asyncio.Task[int]] = set()
        self._closer: asyncio.TimerHandle | None = None
        self._closed = False

    async def add(self, reference: Reference, offset: int, chunk: bytes) -> int:
        """Take in some bytes, if that is where they belong; how many are here.

        With none it says where to go on. All bytes being here, the content is whole,
        checked, and on the disk.

        Raises
        ------
        UsageError
            It is no such content: another size, or more bytes.
        LedgerDamagedError
            All that came is another content; it is gone.
        ContentUnavailableError
            Too much comes in at once, or the node is stopping.
        DiskFullError, LedgerDiskError
            It cannot be kept.
        """
        if self._closed:
            raise ContentUnavailableError("the node is stopping")
        known = self._store.size(reference.digest)
        if known == reference.size:
            self._store.touch(reference.digest)
            return known
        if offset + len(chunk) > reference.size or known is not None:
            has = reference.size if known is None else known
            raise UsageError(f"content {reference.digest.hex()} has {has} bytes")
        if self._held + len(chunk) > HELD_BYTES_MAX:
            raise ContentUnavailableError("too many chunks come in: try again")
        upload = self._upload(reference)
        self._held += len(chunk)
        # A client that goes away leaves a thread that writes: nobody comes between.
        task = asyncio.get_running_loop().create_task(
            self._add(reference, upload, offset, chunk)
        )
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Leave what is here for another time."""
        self._closed = True
        if self._closer is not None:
            self._closer.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for upload in self._open.values():
            if upload.part is not None:
                upload.part.close()
        self._open.clear()

    def _upload(self, reference: Reference) -> _Upload:
        upload = self._open.get(reference.digest)
        if upload is None:
            if len(self._open) >= UPLOADS_MAX:
                raise ContentUnavailableError("too many contents come in: try again")
            upload = self._open[reference.digest] = _Upload(reference.size)
        if upload.size != reference.size:
            raise UsageError(
                f"content {reference.digest.hex()} comes in with {upload.size} bytes"
            )
        upload.used_at = asyncio.get_running_loop().time()
        if self._closer is None:
            loop = asyncio.get_running_loop()
            self._closer = loop.call_later(IDLE_S, self._close_idle)
        return upload

    async def _add(
        self, reference: Reference, upload: _Upload, offset: int, chunk: bytes
    ) -> int:
        try:
            async with upload.turn:
                if self._store.size(reference.digest) == reference.size:
                    return reference.size
                if self._open.get(reference.digest) is not upload:
                    return 0  # it was given up while this waited
                try:
                    return await self._go_on(reference, upload, offset, chunk)
                except (DiskFullError, LedgerDiskError):
                    # The log needs the room more, and a disk that failed wrote what?
                    if upload.part is not None:
                        await self._end(upload, upload.part.give_up)
                    raise
                finally:
                    if upload.part is None:
                        del self._open[reference.digest]
        finally:
            self._held -= len(chunk)

    async def _go_on(
        self, reference: Reference, upload: _Upload, offset: int, chunk: bytes
    ) -> int:
        part = upload.part
        if part is None:
            part = upload.part = await self._begun(reference)
        if chunk and offset == part.offset:
            await asyncio.to_thread(part.add, chunk)
        if part.offset == part.size:
            try:
                await self._end(upload, part.finish)
            except LedgerDamagedError:
                if not part.taken_up:
                    raise
                # What was here before may be to blame: it was never synced.
                return 0
        return part.offset

    async def _begun(self, reference: Reference) -> Part:
        while self._store.is_removed(reference.digest):
            await asyncio.sleep(_REMOVAL_S)
        await asyncio.to_thread(self._store.check_room, reference.size)
        try:
            return await asyncio.to_thread(self._store.begin, *reference, UPLOADED)
        except PeerUnavailableError as error:
            raise ContentUnavailableError(str(error)) from error

    async def _end(self, upload: _Upload, how: Callable[[], object]) -> None:
        upload.part = None
        await asyncio.to_thread(how)

    def _close_idle(self) -> None:
        self._closer = None
        loop = asyncio.get_running_loop()
        for digest, upload in [*self._open.items()]:
            idle = loop.time() - upload.used_at >= IDLE_S
            if idle and not upload.turn.locked():
                del self._open[digest]
                if upload.part is not None:
                    upload.part.close()
        if self._open:
            self._closer = loop.call_later(IDLE_S, self._close_idle)

    def _done(self, task: asyncio.Task[int]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # who sent it is told; he may be gone

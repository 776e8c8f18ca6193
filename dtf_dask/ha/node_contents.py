"""What a node does with contents: values too large for the log, by their digests."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from dtf_dask.errors import ContentUnavailableError, UsageError
from dtf_dask.ha.content_fetching import Fetching
from dtf_dask.ha.content_keeping import Keeping
from dtf_dask.ha.content_sweep import Sweep
from dtf_dask.ha.ledger.references import Reference, reference_wrong
from dtf_dask.ha.proposing import Waiter
from dtf_dask.ha.uploads import Uploads

if TYPE_CHECKING:
    from dtf_dask.ha.node import Node

CHUNK_BYTES = 2**19
"""In which contents travel between clients and nodes."""

Source = bytes | BinaryIO
"""A content to be sent: bytes, or a file that can be read again from its beginning."""


class NodeContents:
    """The contents of a node.

    Parameters
    ----------
    node
        Whose they are; called when what it holds or its role changes.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.store = node.folder.contents
        self.fetching = Fetching(node)
        self.keeping = Keeping(node, self.fetching)
        self.sweep = Sweep(node)
        self.uploads = Uploads(self.store)

    def start(self) -> None:
        """Look after them from now on."""
        self.restored()
        self.sweep.start()

    def confirm(self, commands: Sequence[bytes], waiter: Waiter) -> bool:
        """Whether commands wait for the contents that they name."""
        return self.keeping.confirm(commands, waiter)

    def applied(self) -> None:
        """Records may refer to other contents now."""
        references = self._node.state.records.references
        appeared, references.appeared = references.appeared, []
        self.fetching.look(appeared)

    def restored(self) -> None:
        """The state is another one."""
        references = self._node.state.records.references
        references.appeared.clear()
        self.fetching.look(references.counts)
        self.keeping.forget()

    def leads(self) -> None:
        """The node leads as of now: it relies on what it asks itself."""
        self.keeping.forget()
        self.keeping.keep_soon(self.sweep.unapplied() or ())

    async def put(self, source: Source) -> Reference:
        """Keep a content on this node's disk; what it is called from now on.

        Raises
        ------
        UsageError, ContentUnavailableError, DiskFullError, LedgerDiskError
            As `Uploads.add`.
        """
        reference = await named(source)
        offset = await self.uploads.add(reference, 0, b"")
        while offset < reference.size:
            chunk = await chunk_of(source, offset)
            offset = await self.uploads.add(reference, offset, chunk)
        return reference

    async def read(
        self, reference: Reference, offset: int, length: int, timeout_s: float
    ) -> bytes:
        """Some bytes of a content, which is fetched if a record refers to it.

        Raises
        ------
        ContentUnavailableError
            It is not here, and could not be fetched in time.
        LedgerDiskError
            It cannot be read.
        """
        digest = reference.digest
        if self.store.size(digest) is None:
            reason = "nothing refers to it"
            if reference in self._node.state.records.references.counts:
                try:
                    async with asyncio.timeout(timeout_s):
                        reason = await self.fetching.fetch(reference)
                except TimeoutError:
                    reason = f"it did not come within {timeout_s:g} s"
            if reason:
                raise ContentUnavailableError(
                    f"content {digest.hex()} is not on node {self._node.node}: {reason}"
                )
        self.store.touch(digest)
        chunk = await asyncio.to_thread(self.store.read, digest, offset, length)
        if chunk is None:
            raise ContentUnavailableError(f"content {digest.hex()} is gone")
        return chunk

    async def close(self) -> None:
        """End what is going on."""
        await self.keeping.close()
        await self.fetching.close()
        await self.sweep.close()
        await self.uploads.close()


async def named(source: Source) -> Reference:
    """Digest and size of a content that is to be sent; `UsageError` if it is too large.

    Hashing is done in a thread.
    """
    if isinstance(source, bytes):
        digest = await asyncio.to_thread(lambda: hashlib.sha256(source).digest())
        reference = Reference(digest, len(source))
    else:
        reference = await asyncio.to_thread(_named_file, source)
    wrong = reference_wrong(*reference)
    if wrong is not None:
        raise UsageError(wrong)
    return reference


async def chunk_of(source: Source, offset: int) -> bytes:
    """The next bytes of a content that is to be sent; `UsageError` if none are left."""
    if isinstance(source, bytes):
        return source[offset : offset + CHUNK_BYTES]
    chunk = await asyncio.to_thread(_chunk_of_file, source, offset)
    if not chunk:
        raise UsageError("the file has become shorter")
    return chunk


def _named_file(file: BinaryIO) -> Reference:
    file.seek(0)
    digest = hashlib.file_digest(cast(Any, file), "sha256").digest()
    return Reference(digest, file.seek(0, os.SEEK_END))


def _chunk_of_file(file: BinaryIO, offset: int) -> bytes:
    file.seek(offset)
    return file.read(CHUNK_BYTES)

"""Contents by their SHA-256, on the disk of a node: payloads too large for the log.

A content is whole and checked, or a part that is still being received. A part grows
from its start only, so that a transfer that broke goes on where it was. What clients
send has parts of its own, so that they and a node may send the same content at once.
What waits for the disk is called in threads.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

from dtf_dask.errors import (
    DiskFullError,
    LedgerDamagedError,
    LedgerDiskError,
    PeerUnavailableError,
)
from dtf_dask.ha.files import (
    DISK,
    Files,
    OpenFile,
    disk_error,
    file_error,
    write_whole,
)
from dtf_dask.ha.ledger.references import CONTENT_BYTES_MAX, DIGEST_BYTES

FETCHED, UPLOADED = ".part", ".upload"
"""Where what other nodes, and what clients, send is gathered."""

_WHOLE = ".blob"
_READ_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class BlobLimits:
    """How large one content, and all of them together, may get.

    Parameters
    ----------
    reserve_bytes
        What is left free on the disk, for the log.
    """

    content_bytes_max: int = CONTENT_BYTES_MAX
    bytes_max: int = 64 * 2**30
    reserve_bytes: int = 128 * 2**20


class BlobStore:
    """The contents in a folder. Used by one process."""

    def __init__(
        self, folder: str, limits: BlobLimits | None = None, files: Files = DISK
    ) -> None:
        self._folder = folder
        self._limits = limits or BlobLimits()
        self._files = files
        self._used: dict[bytes, float] = {}
        self._opened = time.monotonic()
        self._receiving: dict[str, int] = {}
        self._removing: set[bytes] = set()
        try:
            files.make_folder(folder)
            self._sizes = {
                bytes.fromhex(name.removesuffix(_WHOLE)): files.size(self._at(name))
                for name in files.names(folder)
                if name.endswith(_WHOLE) and len(name) == 2 * DIGEST_BYTES + len(_WHOLE)
            }
        except OSError as error:
            raise disk_error(error, folder) from error

    def size(self, digest: bytes) -> int | None:
        """How long a content is; None if it is not here."""
        return self._sizes.get(digest)

    def touch(self, digest: bytes) -> None:
        """Somebody counts on a content, or a part of it, from now on."""
        self._used[digest] = time.monotonic()

    def last_used(self, digest: bytes) -> float:
        """When somebody did, on the monotonic clock; at the earliest, at the start."""
        return self._used.get(digest, self._opened)

    def forget_uses(self, before: float) -> None:
        """Uses before a time are as if there had been none since the start."""
        for digest, at in [*self._used.items()]:
            if at < before and not self.is_received(digest):
                del self._used[digest]

    def path(self, digest: bytes) -> str:
        """Where a content is, or would be."""
        return self._at(digest.hex() + _WHOLE)

    @property
    def digests(self) -> list[bytes]:
        """All that is here, sorted."""
        return sorted(self._sizes)

    def parts(self) -> list[bytes]:
        """The contents of which a part is here, sorted; `remove` deletes those too."""
        try:
            names = self._files.names(self._folder)
        except OSError as error:
            raise file_error(error, self._folder) from error
        split = [os.path.splitext(name) for name in names]
        found = {
            bytes.fromhex(stem)
            for stem, ending in split
            if ending in (FETCHED, UPLOADED) and len(stem) == 2 * DIGEST_BYTES
        }
        return sorted(found)

    def is_received(self, digest: bytes) -> bool:
        """Whether a part of it grows just now."""
        return any(
            self._part(digest, ending) in self._receiving
            for ending in (FETCHED, UPLOADED)
        )

    @property
    def bytes_used(self) -> int:
        """What the whole contents take."""
        return sum(self._sizes.values())

    def put(self, chunks: Iterable[bytes]) -> bytes:
        """Keep a content; its digest. It is on the disk when this returns.

        Raises
        ------
        DiskFullError
            There is no room, or a limit would be exceeded.
        LedgerDiskError
            The disk failed.
        """
        content = b"".join(chunks)
        digest = hashlib.sha256(content).digest()
        self.receive(digest, len(content), [content])
        return digest

    def receive(self, digest: bytes, size: int, chunks: Iterable[bytes]) -> None:
        """Keep a content that is known already, unless it is here.

        Raises
        ------
        DiskFullError, LedgerDiskError
            As `put`.
        LedgerDamagedError
            It is another one.
        """
        if digest in self._sizes:
            return
        self._check_total(size)
        part = self.begin(digest, size)
        skipped = part.offset
        try:
            for chunk in chunks:
                part.add(chunk[skipped:])
                skipped = max(0, skipped - len(chunk))
            part.finish()
        finally:
            part.close()

    def check_room(self, size: int) -> None:
        """Refuse a content that would leave the disk too little room.

        Raises
        ------
        DiskFullError
            So it would, or all contents together would be over their limit.
        """
        self._check_total(size)
        reserve = self._limits.reserve_bytes
        try:
            room = self._files.room(self._folder)
        except OSError as error:
            raise file_error(error, self._folder) from error
        if room < size + sum(self._receiving.values()) + reserve:
            raise DiskFullError(
                f"no room for a content of {size} bytes: {reserve} bytes are left free"
                " for the log"
            )

    def _check_total(self, size: int) -> None:
        coming = size + sum(self._receiving.values())
        if self.bytes_used + coming > self._limits.bytes_max:
            raise self._over(size)

    def _over(self, size: int) -> DiskFullError:
        limits = self._limits
        return DiskFullError(
            f"a content of {size} bytes is over the limit of"
            f" {limits.content_bytes_max}, or of {limits.bytes_max} for all"
        )

    def begin(self, digest: bytes, size: int, ending: str = FETCHED) -> Part:
        """Receive a content, from where an earlier attempt ended.

        All of them together are bounded by `check_room`: a snapshot, which comes the
        same way, must not wait until contents go.

        Parameters
        ----------
        ending
            `FETCHED` or `UPLOADED`: one part of each may grow at a time.

        Raises
        ------
        DiskFullError
            It is over the limit.
        PeerUnavailableError
            It is just being removed, or received by another.
        """
        if size > self._limits.content_bytes_max:
            raise self._over(size)
        if digest in self._removing or self._part(digest, ending) in self._receiving:
            raise PeerUnavailableError(
                f"content {digest.hex()} is being removed, or received: try again"
            )
        return Part(self, digest, size, ending)

    def read(self, digest: bytes, offset: int, length: int) -> bytes | None:
        """Some bytes of a content; None if it is not here."""
        if digest not in self._sizes:
            return None
        try:
            return self._files.read(self.path(digest), offset, length)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LedgerDiskError(f"{self.path(digest)}: {error}") from error

    def check(self, digest: bytes) -> bool:
        """Read a content, and say whether it is still what it was."""
        found, at = hashlib.sha256(), 0
        while chunk := self.read(digest, at, _READ_BYTES):
            found.update(chunk)
            at += len(chunk)
        return found.digest() == digest

    def take_out(self, digest: bytes) -> None:
        """Say from now on that a content is not here; `remove` is to follow."""
        self._removing.add(digest)
        self._sizes.pop(digest, None)

    def remove(self, digest: bytes) -> None:
        """Delete a content, and the parts of it, if they are here."""
        self.take_out(digest)
        try:
            self._delete(self.path(digest))
            self.remove_parts(digest)
        finally:
            self._used.pop(digest, None)
            self._removing.discard(digest)

    def remove_parts(self, digest: bytes) -> None:
        """Delete the parts of a content that do not grow."""
        for ending in (FETCHED, UPLOADED):
            part = self._part(digest, ending)
            if part not in self._receiving:
                self._delete(part)

    def _delete(self, name: str) -> None:
        try:
            self._files.remove(name)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise file_error(error, name) from error

    def is_removed(self, digest: bytes) -> bool:
        """Whether it is just being removed."""
        return digest in self._removing

    def forget(self, digest: bytes) -> None:
        """A content's file was taken elsewhere."""
        self._sizes.pop(digest, None)

    def _part(self, digest: bytes, ending: str) -> str:
        return self._at(digest.hex() + ending)

    def _at(self, name: str) -> str:
        return os.path.join(self._folder, name)


class Part:
    """A content that is being received; `offset` bytes of it are here."""

    def __init__(self, store: BlobStore, digest: bytes, size: int, ending: str) -> None:
        self._store = store
        self.digest = digest
        self.size = size
        self._path = store._part(digest, ending)
        store._receiving[self._path] = size
        store.touch(digest)
        self._checked = hashlib.sha256()
        self.offset = 0
        self.taken_up = 0
        """How much of it was here before."""
        files = store._files
        self._file: OpenFile | None = None
        try:
            if os.path.basename(self._path) in files.names(store._folder):
                self._take_up(files)
                self.taken_up = self.offset
                self._file = files.open(self._path)
                self._file.truncate(self.offset)
            else:
                self._file = files.create(self._path)
        except OSError as error:
            self.close()
            raise file_error(error, self._path) from error

    def add(self, chunk: bytes) -> None:
        """Take in the next bytes.

        Raises
        ------
        ValueError
            More than there are.
        DiskFullError
            There is no room; what was here before still is.
        """
        if self.offset + len(chunk) > self.size:
            raise ValueError("more bytes than the content has")
        assert self._file is not None
        try:
            write_whole(self._file, self.offset, chunk)
        except OSError as error:
            raise file_error(error, self._path) from error
        self._checked.update(chunk)
        self.offset += len(chunk)
        self._store.touch(self.digest)

    def finish(self) -> str:
        """Make the content whole; where it is. It is on the disk then.

        Raises
        ------
        LedgerDamagedError
            What was received is another content; it is deleted.
        """
        store, files = self._store, self._store._files
        if self.offset != self.size or self._checked.digest() != self.digest:
            self.give_up()
            raise LedgerDamagedError(
                f"{self.offset} bytes were received that are not the content of"
                f" {self.size} bytes with digest {self.digest.hex()}"
            )
        assert self._file is not None
        path = store.path(self.digest)
        try:
            self._file.sync()
            files.rename(self._path, path)
            files.sync_folder(store._folder)
        except OSError as error:
            # Nobody knows what of it is on the disk: it is not taken up again.
            self.give_up()
            raise file_error(error, path) from error
        store.touch(self.digest)
        store._sizes[self.digest] = self.size
        self.close()
        return path

    def give_up(self) -> None:
        """Delete what is here, for the room or because it is of no use."""
        self.close()
        try:
            self._store._files.remove(self._path)
        except OSError:
            pass  # it will be found unused, and removed then

    def close(self) -> None:
        """Leave what is here for another attempt."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._store._receiving.pop(self._path, None)

    def _take_up(self, files: Files) -> None:
        size = min(files.size(self._path), self.size)
        while self.offset < size:
            length = min(_READ_BYTES, size - self.offset)
            chunk = files.read(self._path, self.offset, length)
            if not chunk:
                return
            self._checked.update(chunk)
            self.offset += len(chunk)

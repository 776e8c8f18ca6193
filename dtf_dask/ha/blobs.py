"""Contents by their SHA-256, on the disk of a node: payloads too large for the log.

A content is whole and checked, or a part that is still being received. A part grows
from its start only, so that a transfer that broke goes on where it was. All of this
waits for the disk: the loop calls it in threads.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass

from dtf_dask.errors import DiskFullError, LedgerDamagedError, LedgerDiskError
from dtf_dask.ha.files import DISK, Files, OpenFile, disk_error, write_whole

DIGEST_BYTES = 32
_WHOLE, _PART = ".blob", ".part"
_READ_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class BlobLimits:
    """How large one content, and all of them together, may get."""

    content_bytes_max: int = 4 * 2**30
    bytes_max: int = 64 * 2**30


class BlobStore:
    """The contents in a folder. Used by one process."""

    def __init__(
        self, folder: str, limits: BlobLimits | None = None, files: Files = DISK
    ) -> None:
        self._folder = folder
        self._limits = limits or BlobLimits()
        self._files = files
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

    def path(self, digest: bytes) -> str:
        """Where a content is, or would be."""
        return self._at(digest.hex() + _WHOLE)

    @property
    def digests(self) -> list[bytes]:
        """All that is here, sorted."""
        return sorted(self._sizes)

    def parts(self) -> list[bytes]:
        """The contents of which a part is here, sorted; `remove` deletes those too."""
        names = self._files.names(self._folder)
        ends = 2 * DIGEST_BYTES + len(_PART)
        found = [name for name in names if name.endswith(_PART) and len(name) == ends]
        return sorted(bytes.fromhex(name.removesuffix(_PART)) for name in found)

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
        if digest not in self._sizes:
            part = self.begin(digest, len(content))
            try:
                part.add(content[part.offset :])
                part.finish()
            finally:
                part.close()
        return digest

    def begin(self, digest: bytes, size: int) -> Part:
        """Receive a content, from where an earlier attempt ended.

        Raises
        ------
        DiskFullError
            It would exceed a limit.
        """
        limits = self._limits
        if size > limits.content_bytes_max or self.bytes_used + size > limits.bytes_max:
            raise DiskFullError(
                f"a content of {size} bytes is over the limit of"
                f" {limits.content_bytes_max}, or of {limits.bytes_max} for all"
            )
        return Part(self, digest, size)

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

    def remove(self, digest: bytes) -> None:
        """Delete a content, or a part of it, if it is here."""
        self._sizes.pop(digest, None)
        for name in (self.path(digest), self._at(digest.hex() + _PART)):
            try:
                self._files.remove(name)
            except FileNotFoundError:
                pass
            except OSError as error:
                raise disk_error(error, name) from error

    def forget(self, digest: bytes) -> None:
        """A content's file was taken elsewhere."""
        self._sizes.pop(digest, None)

    def _at(self, name: str) -> str:
        return os.path.join(self._folder, name)


class Part:
    """A content that is being received; `offset` bytes of it are here."""

    def __init__(self, store: BlobStore, digest: bytes, size: int) -> None:
        self._store = store
        self.digest = digest
        self._size = size
        self._path = store._at(digest.hex() + _PART)
        self._checked = hashlib.sha256()
        self.offset = 0
        files = store._files
        self._file: OpenFile | None = None
        try:
            if os.path.basename(self._path) in files.names(store._folder):
                self._take_up(files)
                self._file = files.open(self._path)
                self._file.truncate(self.offset)
            else:
                self._file = files.create(self._path)
        except OSError as error:
            self.close()
            raise disk_error(error, self._path) from error

    def add(self, chunk: bytes) -> None:
        """Take in the next bytes.

        Raises
        ------
        ValueError
            More than there are.
        DiskFullError
            There is no room; what was here before still is.
        """
        if self.offset + len(chunk) > self._size:
            raise ValueError("more bytes than the content has")
        assert self._file is not None
        try:
            write_whole(self._file, self.offset, chunk)
        except OSError as error:
            raise disk_error(error, self._path) from error
        self._checked.update(chunk)
        self.offset += len(chunk)

    def finish(self) -> str:
        """Make the content whole; where it is. It is on the disk then.

        Raises
        ------
        LedgerDamagedError
            What was received is another content; it is deleted.
        """
        store, files = self._store, self._store._files
        if self.offset != self._size or self._checked.digest() != self.digest:
            self.close()
            store.remove(self.digest)
            raise LedgerDamagedError(
                f"{self.offset} bytes were received that are not the content of"
                f" {self._size} bytes with digest {self.digest.hex()}"
            )
        assert self._file is not None
        path = store.path(self.digest)
        try:
            self._file.sync()
            files.rename(self._path, path)
            files.sync_folder(store._folder)
        except OSError as error:
            raise disk_error(error, path) from error
        store._sizes[self.digest] = self._size
        return path

    def close(self) -> None:
        """Leave what is here for another attempt."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _take_up(self, files: Files) -> None:
        size = min(files.size(self._path), self._size)
        while self.offset < size:
            length = min(_READ_BYTES, size - self.offset)
            chunk = files.read(self._path, self.offset, length)
            if not chunk:
                return
            self._checked.update(chunk)
            self.offset += len(chunk)

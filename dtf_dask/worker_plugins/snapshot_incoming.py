"""Contents on their way in: in order, of the size asked for, whole or not at all."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dtf_dask.errors import ProtocolError
from dtf_dask.worker_plugins.file_lock import open_lock, try_lock
from dtf_dask.worker_plugins.snapshot_folder import StoreFolder
from dtf_dask.worker_plugins.snapshot_tree import write_all

PARTIAL_CONTENTS_MAX = 64


@dataclass(slots=True)
class _Partial:
    """A content of which the first ``written`` bytes have come."""

    path: Path
    handle: int
    digest: Any = field(default_factory=hashlib.sha256)
    written: int = 0


class Incoming:
    """The contents that this process is receiving."""

    def __init__(self, folder: StoreFolder) -> None:
        self._folder = folder
        self._partials: dict[str, _Partial] = {}

    def take(self, digest: str, size_bytes: int, chunk: bytes, offset: int) -> bool:
        """Take a piece of a content of this size; true when it is whole and kept.

        Raises
        ------
        ProtocolError
            When the piece is out of order or the whole is another content.
        OSError
            When it cannot be written; what had come is removed.
        """
        partial = self._partials.get(digest)
        if offset == 0:
            self.discard(digest)
            partial = self._begin(digest)
        if partial is None or partial.written != offset:
            expected = 0 if partial is None else partial.written
            raise ProtocolError(
                f"A piece of the content {digest[:12]} starts at {offset} and not at "
                f"{expected}; send it again from 0."
            )
        if offset + len(chunk) > size_bytes:
            self.discard(digest)
            raise ProtocolError(
                f"The content {digest[:12]} is longer than the {size_bytes} bytes that "
                "its snapshot says."
            )
        try:
            write_all(partial.handle, chunk)
        except OSError:
            self.discard(digest)
            raise
        partial.digest.update(chunk)
        partial.written += len(chunk)
        return partial.written == size_bytes and self._finish(digest, partial)

    def discard(self, digest: str) -> None:
        """Forget what has come of a content."""
        partial = self._partials.pop(digest, None)
        if partial is not None:
            partial.path.unlink(missing_ok=True)
            os.close(partial.handle)

    def close(self) -> None:
        """Forget all that is not whole."""
        for digest in list(self._partials):
            self.discard(digest)

    def _begin(self, digest: str) -> _Partial:
        if len(self._partials) >= PARTIAL_CONTENTS_MAX:
            self.discard(next(iter(self._partials)))
        while True:
            path = self._folder.incoming(digest)
            partial = _Partial(path, open_lock(path))
            # Without the lock another process takes the file for a dead one's; it may
            # have done so before the lock was there.
            if try_lock(partial.handle, exclusive=True) and path.exists():
                self._partials[digest] = partial
                return partial
            os.close(partial.handle)

    def _finish(self, digest: str, partial: _Partial) -> bool:
        try:
            if partial.digest.hexdigest() != digest:
                raise ProtocolError(
                    f"What came as the content {digest[:12]} is another one; its file "
                    "may have changed while it was sent. Send it again from 0."
                )
            place = self._folder.content(digest)
            place.parent.mkdir(exist_ok=True, mode=0o700)
            os.replace(partial.path, place)
        finally:
            self.discard(digest)
        return True

"""Frames between nodes: four bytes of length, then the body. Pure.

Not the frames of `dtf_dask.frames`: those bend whatever a test printed until it fits,
and allow 256 MiB. Here nothing is bent, and the limit is that of the moment: a few
kilobytes until the peer is known to be a node.
"""

from __future__ import annotations

import struct

from dtf_dask.errors import ProtocolError

_LENGTH = struct.Struct("!I")
LENGTH_BYTES = _LENGTH.size
FRAME_BYTES_MAX = 16 * 2**20
"""Above the largest entry with what goes around it."""


def frame(body: bytes) -> bytes:
    """A body ready to be written."""
    return _LENGTH.pack(len(body)) + body


class FrameCutter:
    """Cuts a stream of bytes into the bodies of its frames."""

    __slots__ = ("_pending", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """The longest body that is taken; may be changed between two of them."""
        self._pending = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Take in what was read."""
        self._pending += chunk

    def next(self) -> bytes | None:
        """The next body that is whole; None if more has to be read for it.

        Raises
        ------
        ProtocolError
            The frame claims no bytes at all, or more than the limit.
        """
        pending = self._pending
        if len(pending) < LENGTH_BYTES:
            return None
        (length,) = _LENGTH.unpack_from(pending)
        if not 0 < length <= self.limit:
            raise ProtocolError(
                f"a frame claims {length} bytes; from 1 to {self.limit} are taken"
            )
        end = LENGTH_BYTES + length
        if len(pending) < end:
            return None
        body = bytes(memoryview(pending)[LENGTH_BYTES:end])
        del pending[:end]
        return body

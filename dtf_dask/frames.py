"""Frames between dtf's own processes: a length, then one msgpack map. Never a pickle.

The first four bytes are the length of the body, big-endian. Strings keep lone
surrogates (a test may print any byte); what msgpack does not know travels as its
``repr``, so that an odd property of a test never breaks the stream.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

import msgpack

from dtf_dask.errors import ProtocolError

Frame = dict[str, Any]

FRAME_BYTES_MAX = 256 * 2**20
_HEADER = struct.Struct(">I")
HEADER_BYTES = _HEADER.size


def encode(value: object) -> bytes:
    """One value as msgpack, without a length.

    Examples
    --------
    >>> decode(encode({"op": "end", "who": ("gw0", 1)}))
    {'op': 'end', 'who': ['gw0', 1]}
    """
    try:
        return _pack(value)
    except (ValueError, OverflowError, RecursionError):
        return _pack(_plain(value, depth_left=64))


def decode(body: bytes) -> Any:
    """The value that `encode` made; `ProtocolError` for anything else."""
    try:
        return msgpack.unpackb(
            body, raw=False, unicode_errors="surrogatepass", strict_map_key=False
        )
    except (ValueError, msgpack.UnpackException) as error:
        raise ProtocolError(f"a frame holds no msgpack map: {error}") from error


def pack(frame: Mapping[str, Any]) -> bytes:
    """A frame ready to be written: length and body."""
    body = encode(frame)
    if len(body) > FRAME_BYTES_MAX:
        raise ProtocolError(
            f"a frame of {len(body)} bytes is over the limit of {FRAME_BYTES_MAX}"
        )
    return _HEADER.pack(len(body)) + body


def body_bytes(head: bytes) -> int:
    """The length that a frame's header announces."""
    length = int(_HEADER.unpack_from(head)[0])
    if length > FRAME_BYTES_MAX:
        raise ProtocolError(
            f"a frame claims {length} bytes; the limit is {FRAME_BYTES_MAX}"
        )
    return length


class FrameBuffer:
    """Cuts a byte stream into frames, however the bytes arrive."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Take in a chunk; yield every frame that is whole now."""
        for raw in self.split(chunk):
            frame = decode(raw[_HEADER.size :])
            if not isinstance(frame, dict):
                raise ProtocolError("a frame holds no msgpack map")
            yield frame

    def split(self, chunk: bytes) -> Iterator[bytes]:
        """As `feed`, but each frame stays packed (for a relay)."""
        pending = self._pending
        pending += chunk
        start = 0
        try:
            while len(pending) - start >= _HEADER.size:
                end = (
                    start + _HEADER.size + body_bytes(bytes(pending[start : start + 4]))
                )
                if len(pending) < end:
                    break
                raw = bytes(pending[start:end])
                start = end
                yield raw
        finally:
            del pending[:start]

    def __len__(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return len(self._pending)


def _pack(value: object) -> bytes:
    packed: bytes = msgpack.packb(
        value, use_bin_type=True, unicode_errors="surrogatepass", default=repr
    )
    return packed


def _plain(value: object, depth_left: int) -> object:
    """A copy that msgpack can hold: huge numbers and endless depth become text."""
    if isinstance(value, bool | str | bytes | float) or value is None:
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else repr(value)
    if depth_left == 0:
        return "..."
    if isinstance(value, dict):
        return {
            _plain(key, depth_left - 1): _plain(item, depth_left - 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(item, depth_left - 1) for item in value]
    return repr(value)

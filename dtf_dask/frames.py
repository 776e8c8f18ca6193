"""Frames between dtf's own processes: a length, then one msgpack map. Never a pickle.

The first four bytes are the length of the body, big-endian. Strings keep lone
surrogates (a test may print any byte); what msgpack does not know travels as its
``repr``, so that an odd property of a test never breaks the stream.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgpack

from dtf_dask.errors import ProtocolError

Frame = dict[str, Any]

FRAME_BYTES_MAX = 256 * 2**20
DEPTH_MAX = 64  # of a value that msgpack itself refuses
COPIED_ITEMS_MAX = 100_000
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
        return _pack(_Plain().copy(value, DEPTH_MAX))


def decode(body: bytes) -> Any:
    """The value that `encode` made; `ProtocolError` for anything else."""
    try:
        try:
            return _unpack(body)
        except TypeError:  # a key that Python cannot hash: a tuple, sent as a list
            return _unpack(body, object_pairs_hook=_with_plain_keys)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
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
        value, use_bin_type=True, unicode_errors="surrogatepass", default=_text
    )
    return packed


def _unpack(body: bytes, **hooks: Any) -> Any:
    return msgpack.unpackb(
        body, raw=False, unicode_errors="surrogatepass", strict_map_key=False, **hooks
    )


def _text(value: object) -> str:
    """The ``repr`` of anything, and of what has none too."""
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__qualname__}: its repr raised {type(error).__name__}>"


def _with_plain_keys(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    return {
        repr(key) if isinstance(key, list | dict) else key: item for key, item in pairs
    }


class _Plain:
    """Copies what msgpack can hold: huge numbers and endless depth become text.

    Bounded, because a list that holds itself twice has no end in either direction.
    """

    def __init__(self) -> None:
        self._items_left = COPIED_ITEMS_MAX

    def copy(self, value: object, depth_left: int) -> object:
        if isinstance(value, bool | str | bytes | float) or value is None:
            return value
        if isinstance(value, int):
            return value if -(2**63) <= value < 2**64 else _digits(value)
        self._items_left -= 1
        if depth_left == 0 or self._items_left < 0:
            return "..."
        if isinstance(value, dict):
            return {
                self._key(key): self.copy(item, depth_left - 1)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.copy(item, depth_left - 1) for item in value]
        return _text(value)

    def _key(self, key: object) -> object:
        return _text(key) if isinstance(key, tuple) else self.copy(key, 1)


def _digits(value: int) -> str:
    """Python refuses to write the longest numbers in decimal."""
    return repr(value) if value.bit_length() < 4096 else hex(value)[:1024] + "..."

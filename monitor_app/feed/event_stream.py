"""Server-sent events, read as they come, however they are cut. Pure."""

from __future__ import annotations

from typing import NamedTuple

from dtf_dask.errors import ProtocolError

EVENT_BYTES_MAX = 64 * 2**20
"""A snapshot of 5,000 workers takes some ten megabytes."""


class Told(NamedTuple):
    """One event."""

    id: str
    name: str
    text: bytes


class EventStream:
    """Makes events of bytes.

    Examples
    --------
    >>> stream = EventStream()
    >>> stream.feed(b"id: 1:2\\nevent: changes\\nda")
    []
    >>> stream.feed(b'ta: {}\\n\\n: nothing new\\n\\n')
    [Told(id='1:2', name='changes', text=b'{}')]
    """

    def __init__(self, *, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._max = event_bytes_max
        self._line = bytearray()
        self._size = 0
        self._texts: list[bytes] = []
        self._id = ""
        self._name = "message"

    def feed(self, piece: bytes) -> list[Told]:
        """The events that end in this piece.

        Raises
        ------
        ProtocolError
            One is longer than any may be.
        """
        found = []
        # Only what is new is looked at: a long line comes in many pieces.
        *ended, rest = piece.split(b"\n")
        for line in ended:
            self._line += line
            told = self._take(bytes(self._line).removesuffix(b"\r"))
            self._line.clear()
            if told is not None:
                found.append(told)
        self._line += rest
        if self._size + len(self._line) > self._max:
            raise ProtocolError(f"an event of more than {self._max:,} bytes")
        return found

    def _take(self, line: bytes) -> Told | None:
        if not line:
            told = None
            if self._texts:
                told = Told(self._id, self._name, b"\n".join(self._texts))
            self._texts, self._size, self._name, self._id = [], 0, "message", ""
            return told
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._texts.append(value)
            self._size += len(value)
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"id":
            self._id = value.decode("utf-8", "replace")
        return None

"""Events of a run that its driver may not have heard, kept to be said again.

Dask's events are lost with the connection, or with the scheduler, that carries them. So
a worker numbers those of a run, and keeps each until the driver says that it has it. A
driver that misses one asks, and is told all from there on.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMORY_BYTES_MAX = 4 * 2**20
FILE_BYTES_MAX = 256 * 2**20
EVENTS_MAX = 100_000
ANSWER_BYTES_MAX = 8 * 2**20  # or one event, if that is longer


@dataclass(frozen=True, slots=True)
class _Event:
    """``packed`` are its frames, or where they are in the file."""

    number: int
    slot: str
    batch: int
    packed: bytes | tuple[int, int]


class KeptEvents:
    """Numbers the events of one run on one worker from 1 on, and keeps them, bounded.

    What does not fit into memory goes to a file. Where there is no room either, the
    oldest is let go, and an answer tells so: its number is passed over.

    Parameters
    ----------
    folder
        Where the file is made, once it is needed.

    Attributes
    ----------
    stream
        Names this sequence of numbers: no other worker, and no other opening of the run
        on this one, has it.
    last
        The highest number so far.
    """

    def __init__(
        self,
        folder: Path,
        *,
        memory_bytes_max: int = MEMORY_BYTES_MAX,
        file_bytes_max: int = FILE_BYTES_MAX,
        events_max: int = EVENTS_MAX,
    ) -> None:
        self.stream = uuid.uuid4().hex
        self.last = 0
        self._folder = folder
        self._memory_bytes_max = memory_bytes_max
        self._file_bytes_max = file_bytes_max
        self._events_max = events_max
        self._filed: deque[_Event] = deque()  # older than all that are held
        self._held: deque[_Event] = deque()
        self._held_bytes = self._file_bytes = 0
        self._file = -1

    def put(self, slot: str, batch: int, packed: bytes) -> dict[str, Any]:
        """Keep an event; as it is to be sent."""
        self.last += 1
        self._held.append(_Event(self.last, slot, batch, packed))
        self._held_bytes += len(packed)
        while self._held_bytes > self._memory_bytes_max:
            self._spill(self._held.popleft())
        if len(self._filed) + len(self._held) > self._events_max:
            self._let_go()
        return {
            "slot": slot,
            "batch": batch,
            "frames": packed,
            "stream": self.stream,
            "number": self.last,
        }

    def heard(self, upto: int) -> None:
        """The driver has all up to this number."""
        for events in (self._filed, self._held):
            while events and events[0].number <= upto:
                self._let_go()
        if not self._filed and self._file_bytes:
            os.ftruncate(self._file, 0)
            self._file_bytes = 0

    def after(self, number: int, bytes_max: int = ANSWER_BYTES_MAX) -> dict[str, Any]:
        """What came after a number, as much as an answer holds.

        It is whole as far as ``upto``: what it lacks up to there is kept no longer.
        """
        told: list[list[Any]] = []
        size, upto = 0, self.last
        for event in self._events(number):
            packed = event.packed
            length = packed[1] if isinstance(packed, tuple) else len(packed)
            if told and size + length > bytes_max:
                upto = event.number - 1
                break
            raw = self._read(packed)
            if raw is not None:
                told.append([event.number, event.slot, event.batch, raw])
                size += length
        return {
            "stream": self.stream,
            "events": told,
            "upto": max(upto, number),
            "last": self.last,
        }

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _events(self, number: int) -> Iterator[_Event]:
        for events in (self._filed, self._held):
            for event in events:
                if event.number > number:
                    yield event

    def _let_go(self) -> None:
        """Of the oldest."""
        if self._filed:
            self._filed.popleft()
            return
        self._held_bytes -= len(self._held.popleft().packed)

    def _spill(self, event: _Event) -> None:
        packed = event.packed
        assert isinstance(packed, bytes)
        self._held_bytes -= len(packed)
        try:
            if self._file_bytes + len(packed) > self._file_bytes_max:
                self._close_gap()
            at = self._file_bytes
            if at + len(packed) > self._file_bytes_max:
                return
            if self._file < 0:
                self._file, path = tempfile.mkstemp(prefix="events-", dir=self._folder)
                os.unlink(path)
            if os.pwrite(self._file, packed, at) < len(packed):
                return
        except OSError:
            return  # the disk is full
        self._file_bytes = at + len(packed)
        where = (at, len(packed))
        self._filed.append(_Event(event.number, event.slot, event.batch, where))

    def _close_gap(self) -> None:
        """Move what the file holds to its beginning, over what the driver has heard."""
        left = sum(one.packed[1] for one in self._filed if type(one.packed) is tuple)
        if left > self._file_bytes_max // 2:
            return  # it would have to be moved again soon
        at, moved = 0, deque[_Event]()
        for event in self._filed:
            raw = self._read(event.packed)
            if raw is not None and os.pwrite(self._file, raw, at) == len(raw):
                where = (at, len(raw))
                moved.append(_Event(event.number, event.slot, event.batch, where))
                at += len(raw)
        self._filed, self._file_bytes = moved, at
        if self._file >= 0:
            os.ftruncate(self._file, at)

    def _read(self, packed: bytes | tuple[int, int]) -> bytes | None:
        if isinstance(packed, bytes):
            return packed
        at, length = packed
        try:
            raw = os.pread(self._file, length, at)
        except OSError:
            return None
        return raw if len(raw) == length else None

"""Who follows the events: each with a bounded row of what he has not read yet.

What is told is encoded once, and the row of each reader holds the same bytes. Who is
too slow is told all anew, once what he was sent has left; who does not read is left.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tornado.iostream import IOStream, StreamClosedError

from dtf_dask.web import wire

READERS_MAX = 500
WAITING_BYTES_MAX = 2**20
"""Of one reader; what is beyond is not kept for him."""
HEARTBEAT_S = 10.0
STUCK_S = 30.0
"""Who does not take what he is sent within this is left."""

TOO_SLOW = "you read more slowly than things change"


class Reader:
    """One of them.

    Parameters
    ----------
    stream
        His connection, after the head of the answer.
    anew
        What tells him all there is, as of now.
    """

    def __init__(self, stream: IOStream, anew: Callable[[], bytes]) -> None:
        self._stream = stream
        self._anew = anew
        self._row: deque[bytes] = deque()
        self._bytes = 0
        self._why: str | None = None
        self._news = asyncio.Event()

    def tell(self, event: bytes) -> None:
        """Send it soon; if too much waits for him already, all there is instead."""
        if self._why is None:
            self._row.append(event)
            self._bytes += len(event)
            if self._bytes > WAITING_BYTES_MAX and len(self._row) > 1:
                self.reset(TOO_SLOW)
        self._news.set()

    def reset(self, why: str) -> None:
        """Send all there is, when he can take it, in place of what waits for him.

        With the reason, if what he has seen is of no use.
        """
        self._row.clear()
        self._bytes = 0
        self._why = why
        self._news.set()

    async def follow(self) -> None:
        """Send what he is told until he is gone, or does not read."""
        self._stream.set_close_callback(self._news.set)
        try:
            while not self._stream.closed():
                try:
                    await asyncio.wait_for(self._news.wait(), HEARTBEAT_S)
                except TimeoutError:
                    await self._send(wire.HEARTBEAT)
                self._news.clear()
                while self._why is not None or self._row:
                    await self._send_next()
        except (StreamClosedError, TimeoutError):
            pass
        finally:
            self._stream.close()

    async def _send_next(self) -> None:
        if self._why is None:
            event = self._row.popleft()
            self._bytes -= len(event)
            await self._send(event)
            return
        if self._why:
            await self._send(wire.reset(self._why))
        # What is told up to now is in it, and what is told from now on comes after it.
        self._why = None
        await self._send(self._anew())

    async def _send(self, piece: bytes) -> None:
        written = self._stream.write(piece)
        # Not to be cancelled: the stream has a use for it.
        await asyncio.wait([written], timeout=STUCK_S)
        if not written.done():
            raise TimeoutError
        written.result()


class Readers:
    """All of them."""

    def __init__(self) -> None:
        self._all: set[Reader] = set()
        self._places = 0

    def __len__(self) -> int:
        """How many places are taken."""
        return self._places

    @property
    def full(self) -> bool:
        """Whether there are as many as there may be."""
        return self._places >= READERS_MAX

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place, also while one waits to be told where to begin."""
        self._places += 1
        try:
            yield
        finally:
            self._places -= 1

    def tell(self, event: bytes) -> None:
        """Tell all of them."""
        for reader in self._all:
            reader.tell(event)

    def reset(self, why: str) -> None:
        """Tell all of them all there is."""
        for reader in self._all:
            reader.reset(why)

    async def follow(self, reader: Reader) -> None:
        """Have him among them until he is gone."""
        self._all.add(reader)
        try:
            await reader.follow()
        finally:
            self._all.discard(reader)

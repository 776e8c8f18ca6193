"""The node's end of the socket to a process beside it, whatever they speak of."""

from __future__ import annotations

import asyncio
import logging
import socket
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any

from dtf_dask import frames
from dtf_dask.errors import ProtocolError
from dtf_dask.frames import HEADER_BYTES, Frame
from dtf_dask.ha.child_process import GONE
from dtf_dask.ha.node import Node
from dtf_dask.ha.process_time import Start

_LOG = logging.getLogger(__name__)


class ChildLink(ABC):
    """A node and one process, from `hello` to the end of either.

    Parameters
    ----------
    node
        The node.
    hello
        The first word to the process.
    frame_bytes_max
        Of what the process says.
    start_s
        How long it may do nothing before it is ready.
    """

    def __init__(
        self,
        node: Node,
        hello: Mapping[str, Any],
        frame_bytes_max: int,
        start_s: float,
    ) -> None:
        self._node = node
        self._hello = hello
        self._frame_bytes_max = frame_bytes_max
        self._start_s = start_s
        self._start: Start
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._broken: asyncio.Future[str]

    async def serve(self, connection: socket.socket, pid: int = 0) -> str:
        """Speak with the process until something ends it: what.

        The socket is closed then, and the process is to be killed. Without its number
        nobody knows whether it does anything before it is ready.
        """
        loop = asyncio.get_running_loop()
        self._start = Start(pid, loop.time(), self._start_s)
        self._broken = loop.create_future()
        reader, writer = await asyncio.open_connection(sock=connection)
        self._reader, self._writer = reader, writer
        self._greet()
        parts = [
            loop.create_task(self._guarded(part))
            for part in (self._listen(), self._feed(), self._watch())
        ]
        try:
            await asyncio.wait(
                [*parts, self._broken], return_when=asyncio.FIRST_COMPLETED
            )
            done = [one for one in (self._broken, *parts) if one.done()]
            return done[0].result()
        finally:
            self._end()
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            self._broken.cancel()
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def _guarded(self, part: Coroutine[Any, Any, str]) -> str:
        try:
            return await part
        except (OSError, EOFError):
            return GONE
        except ProtocolError as error:
            return f"it does not keep to the protocol: {error}"
        except Exception as error:
            _LOG.exception("a defect of dtf")
            return f"a defect of dtf: {error!r}"

    def _say(self, frame: Mapping[str, Any]) -> None:
        self._writer.write(frames.pack(frame))

    def _break(self, why: str) -> None:
        """End it from elsewhere than its parts."""
        if not self._broken.done():
            self._broken.set_result(why)

    async def _listen(self) -> str:
        reader = self._reader
        while True:
            length = frames.body_bytes(await reader.readexactly(HEADER_BYTES))
            if length > self._frame_bytes_max:
                raise ProtocolError(f"a frame of {length} bytes")
            frame = frames.decode(await reader.readexactly(length))
            if not isinstance(frame, dict):
                raise ProtocolError("a frame holds no msgpack map")
            why = self._take(frame)
            if why:
                return why
            await self._room()

    # What they speak of

    def _greet(self) -> None:
        """Say the first words."""
        self._say(self._hello)

    @abstractmethod
    def _take(self, frame: Frame) -> str:
        """Act on a word; why the process must end, if it must."""

    async def _room(self) -> None:  # noqa: B027 - most have room at all times
        """Wait until more of the process may be read."""

    @abstractmethod
    async def _feed(self) -> str:
        """Tell it what it is to know, until it must end: why."""

    @abstractmethod
    async def _watch(self) -> str:
        """Ask whether it is there, until it does not say so in time."""

    def _end(self) -> None:  # noqa: B027 - most have nothing to end
        """Called first of all when it is over."""

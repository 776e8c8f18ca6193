"""The node's end of the socket to its web process: see `dtf_dask.view.feed_words`."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from dtf_dask import frames
from dtf_dask.errors import ProtocolError
from dtf_dask.frames import HEADER_BYTES, Frame
from dtf_dask.ha.child_process import GONE
from dtf_dask.ha.node import Node
from dtf_dask.ha.node_status import NodeStatus
from dtf_dask.ha.record_feed import plain_changes, portions
from dtf_dask.ha.scheduler_backlog import Backlog
from dtf_dask.ha.scheduler_words import NAMESPACE
from dtf_dask.view import feed_words as words
from dtf_dask.view.records import PREFIX

_LOG = logging.getLogger(__name__)

BACKLOG_BYTES_MAX = 16 * 2**20
"""Of what a process has not taken yet; then it is told all anew."""


@dataclass(frozen=True, slots=True)
class WebLinkOptions:
    """Times of the link.

    Parameters
    ----------
    start_s
        How long a process may take until it serves.
    ping_s
        Between two `ping`.
    hang_s
        How long it may take to answer. Nobody waits for it, and it gives way to others.
    """

    start_s: float = 60.0
    ping_s: float = 1.0
    hang_s: float = 15.0


class WebLink:
    """A node and one web process, from `hello` to the end of either.

    Parameters
    ----------
    ready
        Called when the process serves.
    """

    def __init__(
        self,
        node: Node,
        hello: Mapping[str, Any],
        ready: Callable[[], None],
        options: WebLinkOptions,
    ) -> None:
        self._node = node
        self._hello = hello
        self._ready = ready
        self._options = options
        self._serves = False
        self._answered = 0
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def serve(self, connection: socket.socket) -> str:
        """Speak with the process until something ends it: what."""
        reader, writer = await asyncio.open_connection(sock=connection)
        self._reader, self._writer = reader, writer
        self._say(self._hello)
        self._ping(0)
        parts = [
            asyncio.ensure_future(self._guarded(part))
            for part in (self._listen(), self._feed(), self._watch())
        ]
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            return next(one for one in parts if one.done()).result()
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
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

    def _ping(self, number: int) -> None:
        self._say(words.ping(number, asdict(NodeStatus.of(self._node))))

    async def _feed(self) -> str:
        """What is to be seen, and what changes of it."""
        node = self._node
        while not node.ended:
            backlog = Backlog(
                *(node, NAMESPACE, node.state.index),
                prefix=PREFIX,
                bytes_max=BACKLOG_BYTES_MAX,
                by_entry=True,
            )
            following = asyncio.ensure_future(backlog.run())
            try:
                await self._send_records()
                await self._send_changes(backlog)
            finally:
                following.cancel()
        return "the node has ended"

    async def _send_records(self) -> None:
        node = self._node
        at = (node.applied_term, node.state.index)
        for part, more in portions(node.state, PREFIX):
            self._say(words.records(*at, part, more=more))
            await self._writer.drain()

    async def _send_changes(self, backlog: Backlog) -> None:
        """Say what changes, until it is too much; and now and then that nothing did."""
        loop, told_at = asyncio.get_running_loop(), 0.0
        told = backlog.after
        while not backlog.lost:
            found = backlog.take()
            if found is not None:
                told = found.upto
                if not self._say_changes(told, plain_changes(found.changes)):
                    return
                await self._writer.drain()
            elif backlog.after > told and loop.time() - told_at > self._options.ping_s:
                # Who was told by another node that it is so late is not waited for.
                told, told_at = backlog.after, loop.time()
                self._say_changes(told, [])
            else:
                limit_s = self._options.ping_s if backlog.after > told else None
                with suppress(TimeoutError):
                    await asyncio.wait_for(backlog.move(), limit_s)

    def _say_changes(self, index: int, found: list[tuple[str, bytes | None]]) -> bool:
        """Say it, if the entry's term is still known: ids are the same everywhere."""
        term = self._node.storage.term(index)
        if term is not None:
            self._say(words.changes(term, index, found))
        return term is not None

    async def _listen(self) -> str:
        reader = self._reader
        while True:
            length = frames.body_bytes(await reader.readexactly(HEADER_BYTES))
            if length > words.WORD_BYTES_MAX:
                raise ProtocolError(f"a frame of {length} bytes")
            frame = frames.decode(await reader.readexactly(length))
            if not isinstance(frame, dict):
                raise ProtocolError("a frame holds no msgpack map")
            why = self._take(frame)
            if why:
                return why

    def _take(self, frame: Frame) -> str:
        """Act on a word; why the process must end, if it must."""
        op = frame.get("op")
        if op == words.PONG:
            self._answered = int(frame["number"])
        elif op == words.READY:
            if frame.get("version") != words.VERSION:
                raise ProtocolError(f"it speaks version {frame.get('version')!r}")
            self._serves = True
            self._ready()
        elif op == words.TROUBLE:
            return f"it cannot serve: {str(frame.get('why', ''))[:1_000]}"
        else:
            raise ProtocolError(f"no word of a web process: {op!r}")
        return ""

    async def _watch(self) -> str:
        """Ask whether it is there, until it does not say so in time."""
        loop, options = asyncio.get_running_loop(), self._options
        began_at = asked_at = slept_at = loop.time()
        asked = 0
        while True:
            await asyncio.sleep(options.ping_s)
            now = loop.time()
            if now - slept_at > 2 * options.ping_s:
                # This process did not run, and may not have heard it.
                asked_at = began_at = now
            slept_at = now
            if not self._serves:
                if now - began_at > options.start_s:
                    return f"it did not serve within {options.start_s:g} s"
            elif self._answered == asked:
                asked, asked_at = asked + 1, now
                self._ping(asked)
            elif now - asked_at > options.hang_s:
                return f"it has not answered for {now - asked_at:.1f} s"

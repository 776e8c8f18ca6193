"""The node's end of the socket to its web process: see `dtf_dask.view.feed_words`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from dtf_dask.errors import ProtocolError
from dtf_dask.frames import Frame
from dtf_dask.ha.child_link import ChildLink
from dtf_dask.ha.network import Ask, nobody
from dtf_dask.ha.node import Node
from dtf_dask.ha.node_status import NodeStatus
from dtf_dask.ha.record_feed import plain_changes, portions
from dtf_dask.ha.scheduler_backlog import Backlog
from dtf_dask.ha.scheduler_words import NAMESPACE
from dtf_dask.view import feed_words as words
from dtf_dask.view.records import PREFIX

BACKLOG_BYTES_MAX = 16 * 2**20
"""Of what a process has not taken yet; then it is told all anew."""


@dataclass(frozen=True, slots=True)
class WebLinkOptions:
    """Times of the link.

    Parameters
    ----------
    start_s
        How long a process may do nothing until it serves, as in `SchedulerLink`.
    ping_s
        Between two `ping`.
    hang_s
        How long it may take to answer. Nobody waits for it, and it gives way to others.
    """

    start_s: float = 60.0
    ping_s: float = 1.0
    hang_s: float = 15.0


class WebLink(ChildLink):
    """A node and one web process, from `hello` to the end of either.

    Parameters
    ----------
    ready
        Called when the process serves.
    ask
        Where actions go.
    """

    def __init__(
        self,
        node: Node,
        hello: Mapping[str, Any],
        ready: Callable[[], None],
        options: WebLinkOptions,
        ask: Ask = nobody,
    ) -> None:
        super().__init__(node, hello, words.WORD_BYTES_MAX, options.start_s)
        self._ready = ready
        self._options = options
        self._serves = False
        self._answered = 0
        self._ask = ask
        self._asking: set[asyncio.Task[None]] = set()

    def _end(self) -> None:
        for asking in self._asking:
            asking.cancel()

    def _greet(self) -> None:
        super()._greet()
        self._ping(0)

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

    def _take(self, frame: Frame) -> str:
        op = frame.get("op")
        if op == words.PONG:
            self._answered = int(frame["number"])
        elif op == words.READY:
            if frame.get("version") != words.VERSION:
                raise ProtocolError(f"it speaks version {frame.get('version')!r}")
            self._serves = True
            self._ready()
        elif op == words.ASK:
            number, asked = int(frame["number"]), frame["asked"]
            if not isinstance(asked, dict) or len(self._asking) >= words.ASKED_MAX:
                raise ProtocolError("it asks for too much, or for nothing")
            asking = asyncio.ensure_future(self._answer(number, asked))
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)
        elif op == words.TROUBLE:
            return f"it cannot serve: {str(frame.get('why', ''))[:1_000]}"
        else:
            raise ProtocolError(f"no word of a web process: {op!r}")
        return ""

    async def _answer(self, number: int, asked: Mapping[str, Any]) -> None:
        self._say(words.answered(number, await self._ask(asked)))

    async def _watch(self) -> str:
        loop, options = asyncio.get_running_loop(), self._options
        asked_at = slept_at = loop.time()
        asked = 0
        while True:
            await asyncio.sleep(options.ping_s)
            now = loop.time()
            if now - slept_at > 2 * options.ping_s:
                # This process did not run, and may not have heard it.
                asked_at = now
                self._start.moves(now)
            slept_at = now
            if not self._serves:
                if why := self._start.hangs(now):
                    return why
            elif self._answered == asked:
                asked, asked_at = asked + 1, now
                self._ping(asked)
            elif now - asked_at > options.hang_s:
                return f"it has not answered for {now - asked_at:.1f} s"

"""The client's side of contents: sent to a node and read from one, chunk by chunk.

A few chunks are on their way at a time, so that other requests of the same connection
wait for no more than those. What broke off goes on where it was: with the same node if
it is reached again, or with another one.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from dtf_dask.errors import (
    ContentUnavailableError,
    DtfError,
    PeerUnavailableError,
    UsageError,
)
from dtf_dask.ha.client_link import Link
from dtf_dask.ha.ledger.references import Reference, reference_wrong
from dtf_dask.ha.node_contents import CHUNK_BYTES, Source, chunk_of, named
from dtf_dask.ha.service_words import Op, Status, as_timeout_ms

_AHEAD = 4
_PAUSE_S = 0.1
_ANSWER_S = 30.0  # for one chunk: a node that hangs is given up

_Answer = tuple[Status, tuple[Any, ...]]


class ContentClient:
    """Sends contents to nodes, and reads them.

    Parameters
    ----------
    link
        A connection to a node; `PeerUnavailableError` if there is none.
    nodes
        Those that there are, the first to ask first.
    """

    def __init__(
        self,
        link: Callable[[int], Awaitable[Link]],
        nodes: Callable[[], Sequence[int]],
    ) -> None:
        self._link = link
        self._nodes = nodes

    async def put(self, source: Source, timeout_s: float) -> Reference:
        """Have a majority keep a content: see `Ledger.put_content`."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + timeout_s
        reference = await named(source)

        async def send(node: int) -> None:
            await self._send(node, source, reference)
            timeout_ms = as_timeout_ms(ends_at - loop.time())
            link = await self._link(node)
            _checked(await link.ask(Op.CONTENT_KEEP, *reference, timeout_ms))

        await self._somewhere(send, ends_at, timeout_s)
        return reference

    async def get(self, reference: Reference, timeout_s: float) -> bytes:
        """Read a content: see `Ledger.get_content`."""
        wrong = reference_wrong(*reference)
        if wrong is not None:
            raise UsageError(wrong)
        found = bytearray()
        ends_at = asyncio.get_running_loop().time() + timeout_s

        async def read(node: int) -> None:
            await self._read(node, reference, found, timeout_s)
            digest = await asyncio.to_thread(lambda: hashlib.sha256(found).digest())
            if digest != reference.digest:
                found.clear()
                raise _RefusedError(f"node {node} sends another content")

        await self._somewhere(read, ends_at, timeout_s)
        return bytes(found)

    async def _somewhere(
        self,
        do: Callable[[int], Awaitable[None]],
        ends_at: float,
        timeout_s: float,
    ) -> None:
        """Have it done by one of the nodes, before the time is over.

        Whoever has answered is believed: if all have, and none did it, it is given up.
        """
        reasons: dict[int, str] = {}
        try:
            async with asyncio.timeout_at(ends_at):
                while True:
                    unreached = False
                    for node in self._nodes():
                        try:
                            return await do(node)
                        except _RefusedError as error:
                            reasons[node] = str(error)
                        except PeerUnavailableError as error:
                            reasons[node] = str(error)
                            unreached = True
                    if not unreached:
                        break
                    await asyncio.sleep(_PAUSE_S)
        except TimeoutError:
            pass
        words = "; ".join(reasons[node] for node in sorted(reasons))
        raise ContentUnavailableError(words or f"not within {timeout_s:g} s")

    async def _send(self, node: int, source: Source, reference: Reference) -> None:
        """Send what the node lacks; as often as it breaks off and some came through."""
        least = -1
        while True:
            link = await self._link(node)
            answer = await _answer(link.ask(Op.CONTENT_ADD, *reference, 0, b""), link)
            here = _checked(answer)[0]
            if here == reference.size:
                return
            if here <= least:
                raise PeerUnavailableError(f"node {node} takes nothing")
            least = here
            try:
                return await _send_from(link, source, reference, here)
            except PeerUnavailableError:
                pass

    async def _read(
        self, node: int, reference: Reference, found: bytearray, timeout_s: float
    ) -> None:
        """Read what is not here yet."""
        link = await self._link(node)
        timeout_ms = as_timeout_ms(timeout_s)
        ahead: deque[tuple[int, asyncio.Future[_Answer]]] = deque()
        asked = len(found)
        # The first one may have to wait until the node has fetched the content.
        limit_s, wanted = timeout_s, 1
        try:
            while len(found) < reference.size:
                while asked < reference.size and len(ahead) < wanted:
                    length = min(CHUNK_BYTES, reference.size - asked)
                    read = (*reference, asked, length, timeout_ms)
                    ahead.append((length, link.ask(Op.CONTENT_READ, *read)))
                    asked += length
                length, coming = ahead.popleft()
                chunk = _checked(await _answer(coming, link, limit_s))[0]
                if type(chunk) is not bytes or len(chunk) != length:
                    raise _RefusedError(f"node {node} sends what was not asked for")
                found += chunk
                limit_s, wanted = _ANSWER_S, _AHEAD
        finally:
            _give_up(ahead)


class _RefusedError(DtfError):
    """A node has said that it does not do it."""


async def _send_from(
    link: Link, source: Source, reference: Reference, start: int
) -> None:
    """Send a content from an offset on, until all of it is there."""
    ahead: deque[tuple[int, asyncio.Future[_Answer]]] = deque()
    sent = here = start
    try:
        while here < reference.size:
            while sent < reference.size and len(ahead) < _AHEAD:
                chunk = await chunk_of(source, sent)
                add = link.ask(Op.CONTENT_ADD, *reference, sent, chunk)
                sent += len(chunk)
                ahead.append((sent, add))
            expected, coming = ahead.popleft()
            here = _checked(await _answer(coming, link))[0]
            if here != expected:
                # Another client sends the same, or what was here is gone.
                while ahead:
                    here = _checked(await _answer(ahead.popleft()[1], link))[0]
                sent = here
    finally:
        _give_up(ahead)


def _give_up(ahead: deque[tuple[int, asyncio.Future[_Answer]]]) -> None:
    for _, coming in ahead:
        coming.cancel()


async def _answer(
    coming: asyncio.Future[_Answer], link: Link, limit_s: float = _ANSWER_S
) -> _Answer:
    try:
        return await asyncio.wait_for(coming, limit_s)
    except TimeoutError:
        link.abort("a chunk was not answered in time")
        raise PeerUnavailableError(f"no answer within {limit_s:g} s") from None


def _checked(answer: _Answer) -> tuple[Any, ...]:
    status, values = answer
    if status is Status.OK:
        return values
    if status is Status.WRONG:
        raise UsageError(values[0])
    raise _RefusedError(values[-1] if values else "it was not done")

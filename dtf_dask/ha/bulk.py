"""Contents between nodes: blobs and snapshots, beside the messages; and questions.

On a connection of its own, in chunks, a few ahead: so that a heartbeat waits for one
chunk at most, and what broke off goes on where it was. Who asks sets the pace, and who
sends may set a slower one. Hashing and the disk are in threads.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from dtf_dask.errors import (
    DtfError,
    PeerUnavailableError,
    ProtocolError,
)
from dtf_dask.ha import network
from dtf_dask.ha.blobs import Part
from dtf_dask.ha.bulk_words import (
    CHUNK_BYTES_MAX,
    Answer,
    Ask,
    Chunk,
    Get,
    Kept,
    Offer,
    Refused,
    Request,
    Told,
    answered_number,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)
from dtf_dask.ha.connection import Connection
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.ha.transport_limits import TransportLimits

_REQUESTS_WAITING_MAX = 64
_OFFER_ANSWER_S = 300.0
_ASK_ANSWER_S = 15.0

_Wanted = TypeVar("_Wanted", Chunk, Kept, Told)

Dial = Callable[[], Awaitable[Connection]]
TakeOffer = Callable[[NodeId, bytes, int], Awaitable[None]]


class Contents(Protocol):
    """Where contents are. Called in threads."""

    def size(self, digest: bytes) -> int | None:
        """How long a content is; None if it is not here."""

    def read(self, digest: bytes, offset: int, length: int) -> bytes | None:
        """Some of its bytes; None if it is not here."""


class BulkServer:
    """Answers one peer, one request after the other."""

    def __init__(
        self,
        peer: NodeId,
        connection: Connection,
        contents: Sequence[Contents],
        take_offer: TakeOffer,
        answers: network.Ask,
        limits: TransportLimits,
    ) -> None:
        self._peer = peer
        self._connection = connection
        self._contents = contents
        self._take_offer, self._answers = take_offer, answers
        self._limits = limits
        self._waiting: asyncio.Queue[Request] = asyncio.Queue(_REQUESTS_WAITING_MAX)
        self._offers: set[asyncio.Task[None]] = set()
        self._asks: set[asyncio.Task[None]] = set()
        self._writable = asyncio.Event()
        self._writable.set()
        self._free_at = 0.0

    async def run(self) -> None:
        """Serve until the connection ends."""
        connection = self._connection
        connection.on_writable = self._writable.set
        connection.serve(self._take)
        serving = asyncio.ensure_future(self._serve())
        try:
            await asyncio.wait(
                (connection.closed, serving), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            tasks = [serving, *self._offers, *self._asks]
            for task in tasks:
                task.cancel()
            connection.close("no more contents")
            await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self, body: bytes) -> None:
        request = decode_request(body)
        if isinstance(request, Offer):
            if len(self._offers) >= _REQUESTS_WAITING_MAX:
                raise ProtocolError("too many contents are offered at once")
            task = asyncio.get_running_loop().create_task(self._fetch_offer(request))
            self._offers.add(task)
            task.add_done_callback(self._offers.discard)
            return
        if isinstance(request, Ask):
            if len(self._asks) >= _REQUESTS_WAITING_MAX:
                # It is a visitor of the peer who asks for so much, and not the peer.
                refused = Refused(request.number, "too much is asked at once")
                self._connection.send(encode_answer(refused))
                return
            task = asyncio.get_running_loop().create_task(self._tell(request))
            self._asks.add(task)
            task.add_done_callback(self._asks.discard)
            return
        try:
            self._waiting.put_nowait(request)
        except asyncio.QueueFull:
            raise ProtocolError("too many chunks are asked for at once") from None

    async def _serve(self) -> None:
        while True:
            request = await self._waiting.get()
            assert isinstance(request, Get)
            await self._pace(request.length)
            self._connection.send(await asyncio.to_thread(self._answer, request))
            while not self._connection.writable:
                self._writable.clear()
                await self._writable.wait()

    async def _pace(self, length: int) -> None:
        rate = self._limits.content_bytes_per_s
        if not rate:
            return
        now = asyncio.get_running_loop().time()
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)
        self._free_at = max(self._free_at, now) + length / rate

    def _answer(self, request: Get) -> bytes:
        answer: Answer = Refused(request.number, "the content is not here")
        try:
            for contents in self._contents:
                size = contents.size(request.digest)
                if size is None:
                    continue
                length = min(request.length, size - request.offset)
                content = contents.read(request.digest, request.offset, length)
                if content is not None:
                    answer = Chunk(request.number, content)
                    break
        except DtfError as error:
            answer = Refused(request.number, str(error))
        return encode_answer(answer)

    async def _fetch_offer(self, offer: Offer) -> None:
        answer: Answer = Kept(offer.number)
        try:
            await self._take_offer(self._peer, offer.digest, offer.size)
        except DtfError as error:
            answer = Refused(offer.number, str(error))
        self._connection.send(encode_answer(answer))

    async def _tell(self, ask: Ask) -> None:
        answer = await self._answers(ask.asked)
        self._connection.send(encode_answer(Told(ask.number, answer)))


class BulkClient:
    """Asks one peer. Connects when there is something to ask, and stays connected."""

    def __init__(self, peer: NodeId, dial: Dial, limits: TransportLimits) -> None:
        self._peer = peer
        self._dial = dial
        self._limits = limits
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[bytes]] = {}

    async def fetch(self, part: Part, size: int) -> None:
        """Ask for all of a content that is not here yet.

        Raises
        ------
        PeerUnavailableError
            The peer has it not, or the connection broke; what came is kept.
        """
        ahead: deque[tuple[int, asyncio.Future[bytes]]] = deque()
        asked = part.offset
        try:
            while part.offset < size:
                while asked < size and len(ahead) < self._limits.chunks_ahead:
                    length = min(self._limits.chunk_bytes, CHUNK_BYTES_MAX)
                    length = min(length, size - asked)
                    get = Get(next(self._numbers), part.digest, asked, length)
                    ahead.append((length, await self._ask(get)))
                    asked += length
                length, coming = ahead.popleft()
                body = await self._within(coming, self._limits.content_answer_s)
                await asyncio.to_thread(self._add, part, body, length)
        finally:
            for _, coming in ahead:
                coming.cancel()

    async def offer(self, digest: bytes, size: int) -> None:
        """Return when the peer has a content on its disk.

        Raises
        ------
        PeerUnavailableError
            It could not fetch it; the reason is what it said.
        """
        answered = await self._ask(Offer(next(self._numbers), digest, size))
        self._read(await self._within(answered, _OFFER_ANSWER_S), Kept)

    async def ask(self, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        """What the peer's scheduler process answers; None if it could not.

        Raises
        ------
        PeerUnavailableError
            The peer does not answer.
        """
        number = next(self._numbers)
        coming = await self._ask(Ask(number, asked))
        try:
            async with asyncio.timeout(_ASK_ANSWER_S):
                body = await coming
        except TimeoutError:
            raise PeerUnavailableError(f"node {self._peer} does not answer") from None
        finally:
            self._answers.pop(number, None)
        return self._read(body, Told).answer

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close("no more contents")

    def _add(self, part: Part, body: bytes, length: int) -> None:
        content = self._read(body, Chunk).content
        if len(content) != length:
            raise PeerUnavailableError(f"node {self._peer} answers what was not asked")
        part.add(content)

    def _read(self, body: bytes, kind: type[_Wanted]) -> _Wanted:
        """An answer of the kind that was asked for; `PeerUnavailableError` for others.

        Hashes a chunk: not for the loop.
        """
        try:
            answer = decode_answer(body)
        except ProtocolError as error:
            raise PeerUnavailableError(f"node {self._peer}: {error}") from error
        if isinstance(answer, Refused):
            raise PeerUnavailableError(f"node {self._peer}: {answer.reason}")
        if not isinstance(answer, kind):
            raise PeerUnavailableError(f"node {self._peer} answers what was not asked")
        return answer

    async def _ask(self, request: Request) -> asyncio.Future[bytes]:
        async with self._connecting:
            if self._connection is None:
                connection = await self._dial()
                connection.closed.add_done_callback(self._lost)
                self._connection = connection
                connection.serve(self._take)
        # A connection that broke meanwhile has called `_lost`, which found no request.
        if self._connection is None:
            raise PeerUnavailableError(f"the connection to node {self._peer} broke")
        coming: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._answers[request.number] = coming
        self._connection.send(encode_request(request))
        return coming

    async def _within(self, coming: asyncio.Future[bytes], seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                return await coming
        except TimeoutError:
            if self._connection is not None:
                self._connection.abort("a chunk did not come in time")
            raise PeerUnavailableError(
                f"node {self._peer} did not answer within {seconds:g} s"
            ) from None

    def _take(self, body: bytes) -> None:
        # Only the number is read here; what is large is checked in a thread.
        number = answered_number(body)
        coming = self._answers.pop(number, None)
        if coming is not None and not coming.done():
            coming.set_result(body)

    def _lost(self, _: asyncio.Future[None]) -> None:
        why = self._connection.why if self._connection is not None else ""
        self._connection = None
        waiting, self._answers = self._answers, {}
        for coming in waiting.values():
            if not coming.done():
                coming.set_exception(
                    PeerUnavailableError(f"the connection to node {self._peer}: {why}")
                )
                coming.exception()  # whoever waits is told; nobody may be

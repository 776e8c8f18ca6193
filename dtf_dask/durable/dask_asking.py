"""Calls to a scheduler that may die: asked again where that is right, by one object.

It stands in place of Dask's ``client.scheduler`` and ``worker.scheduler``, and is the
only module that knows how those make a call; `broken` says what has changed of it.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from distributed.comm.core import Comm
from distributed.core import ConnectionPool, PooledRPCCall, send_recv

from dtf_dask.comm.greeting import KEY as GREETING
from dtf_dask.durable.requests import (
    AFTER_GRAPHS,
    DONE_MAX,
    REQUEST,
    SAID,
    SAYINGS,
    Again,
    kind_of,
    request_words,
    with_time_left,
)
from dtf_dask.errors import FailoverError

logger = logging.getLogger(__name__)

VERSIONS = ("2026.3", "2026.8")
"""The oldest and the newest release of distributed that the tests were run with."""

_SAY_WHO = ("queue_get", "restart")
"""Calls in which Dask's clients could say who they are, and do not."""
PATIENCE_S = 120.0
_PAUSE_S = 0.05


def broken() -> tuple[str, ...]:
    """Say what is missing of what is used; empty if all is there."""
    missing = []
    made = tuple(inspect.signature(PooledRPCCall.__init__).parameters)
    if made != ("self", "addr", "pool", "serializers", "deserializers"):
        missing.append(f"PooledRPCCall(addr, pool, serializers, deserializers): {made}")
    if not hasattr(PooledRPCCall, "__getattr__"):
        missing.append("PooledRPCCall.__getattr__")
    missing += [
        f"{owner.__name__}.{name}"
        for owner, name in ((ConnectionPool, "connect"), (ConnectionPool, "reuse"))
        if not callable(getattr(owner, name, None))
    ]
    reuse = getattr(ConnectionPool, "reuse", None)
    missing += [
        f"{name} in ConnectionPool.reuse"
        for name in ("available", "occupied")
        if name not in getattr(getattr(reuse, "__code__", None), "co_names", ())
    ]
    if not {"comm", "reply"} <= set(inspect.signature(send_recv).parameters):
        missing.append("send_recv(comm, reply)")
    return tuple(missing)


def term_of(comm: Comm) -> int:
    """The term in which who is at the other end leads; 0 if it did not greet so."""
    said = (getattr(comm, "remote_info", None) or {}).get(GREETING)
    term = said.get("term", 0) if isinstance(said, Mapping) else 0
    return term if type(term) is int else 0


def end_old_calls(pool: ConnectionPool, address: str, term: int) -> None:
    """Break what is asked of leaders of older terms.

    They may never answer; and what one says that was stopped meanwhile is long over.
    """
    for comm in (*pool.available.get(address, ()), *pool.occupied.get(address, ())):
        if term_of(comm) < term:
            comm.abort()


class AskingAgain(PooledRPCCall):
    """Dask's calls to a scheduler, which outlive it.

    Parameters
    ----------
    rpc
        What Dask made.
    client
        The id of the client that asks; empty for a worker.
    flush
        Waits until all that the client said before is acknowledged.
    patience_s
        So long a call is asked again.
    """

    def __init__(
        self,
        rpc: PooledRPCCall,
        *,
        client: str = "",
        flush: Callable[[], Awaitable[None]] | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        super().__init__(rpc.addr, rpc.pool, rpc.serializers, rpc.deserializers)
        self.requester = uuid.uuid4().hex
        self._client = client
        self._flush = flush
        self._patience_s = patience_s
        self._number = 0
        self._done: list[int] = []
        self._saying: set[asyncio.Future[None]] = set()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        async def call(**arguments: Any) -> Any:
            return await self._call(name, arguments)

        call.__name__ = name
        return call

    def say_soon(self, what: str, **arguments: Any) -> None:
        """As `say`, for those who do not wait."""
        saying = asyncio.ensure_future(self.say(what, **arguments))
        self._saying.add(saying)

        def said(task: asyncio.Future[None]) -> None:
            self._saying.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.warning("%s %s had no effect: %s", what, arguments, error)

        saying.add_done_callback(said)

    async def all_said(self) -> None:
        """Wait for what was said and not waited for."""
        while self._saying:
            await asyncio.wait(self._saying)

    def end_calls_before(self, term: int) -> None:
        """Ask anew whatever was asked of leaders of older terms."""
        end_old_calls(self.pool, self.addr, term)

    async def say(self, what: str, **arguments: Any) -> None:
        """What Dask says in a stream, as a call that is done once."""
        assert what in SAYINGS
        await self._call(SAID, {"what": what, **arguments})

    async def _call(self, name: str, arguments: dict[str, Any]) -> Any:
        again = kind_of(name, arguments)
        if again is Again.ELSEWHERE or arguments.get("reply") is False:
            return await self._once(name, arguments)
        if name in AFTER_GRAPHS and self._flush is not None:
            await self._flush()
        if name in _SAY_WHO and self._client:
            arguments["client"] = self._client
        number, over = 0, []
        if again is Again.ONCE:
            self._number += 1
            number, over = self._number, self._done[:DONE_MAX]
            del self._done[:DONE_MAX]
            words = request_words(self.requester, number, over)
            arguments[REQUEST] = words
        try:
            answer = await self._until_answered(name, arguments, again)
        except BaseException:
            # Perhaps nobody heard that these are over: the next call says it again.
            self._done += [*over, number] if number else over
            raise
        if number:
            self._done.append(number)
        return answer

    async def _until_answered(
        self, name: str, arguments: dict[str, Any], again: Again
    ) -> Any:
        began = time.monotonic()
        while True:
            spent = time.monotonic() - began
            comm: Comm | None = None
            try:
                comm = await self.pool.connect(self.addr)
                return await self._over(
                    comm, name, with_time_left(arguments, spent) if spent else arguments
                )
            except OSError as error:
                # Of a comm that is open it is what the scheduler answered.
                if comm is not None and not comm.closed():
                    raise
                if self.pool.status.name in ("closed", "closing"):
                    raise
                if comm is not None and again is Again.NEVER:
                    return _not_known(name, arguments, error)
                if time.monotonic() - began > self._patience_s:
                    raise
            await asyncio.sleep(_PAUSE_S)

    async def _once(self, name: str, arguments: dict[str, Any]) -> Any:
        return await self._over(await self.pool.connect(self.addr), name, arguments)

    async def _over(self, comm: Comm, name: str, arguments: dict[str, Any]) -> Any:
        words = dict(arguments)
        for one, own in (
            ("serializers", self.serializers),
            ("deserializers", self.deserializers),
        ):
            if own is not None and words.get(one) is None:
                words[one] = own
        before, comm.name = comm.name, f"ConnectionPool.{name}"
        try:
            return await send_recv(comm=comm, op=name, **words)
        finally:
            self.pool.reuse(self.addr, comm)
            comm.name = before

    def __repr__(self) -> str:
        return f"<rpc to {self.addr!r}, whoever leads>"


def _not_known(name: str, arguments: dict[str, Any], error: OSError) -> Any:
    """Say that nobody knows, in the way that who asked understands.

    Raises
    ------
    FailoverError
        Unless it is a call of an actor, which takes an error as an answer.
    """
    inner = arguments["msg"].get("op") if name == "proxy" else None
    what = "the call of an actor" if inner == "actor_execute" else name
    told = FailoverError(
        f"the scheduler was gone before it answered: it is not known whether {what!r}"
        " was done, and it is not done again"
    )
    if inner == "actor_execute":
        return {"status": "error", "exception": told}
    raise told from error

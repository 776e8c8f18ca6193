"""Plain messages by way of a client's scheduler, which may be another one tomorrow.

At an address of coordinators (``dtf://``) the scheduler that answers is whoever leads.
A question that had no answer, because the leader died, is asked of the next one: so
what is asked here has to bear being asked twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import distributed

from dtf_dask.comm.address import PREFIX
from dtf_dask.comm.greeting import KEY as GREETING
from dtf_dask.errors import ClusterUnreachableError, FailoverError
from dtf_dask.quantities import format_duration

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_LOOK_S = 0.02  # between looks at the connection, which are cheap
_LONG_AWAY_S = 3.0  # by then another one should lead: somebody may want to know
_NOTICED_S = 1.0  # in which Dask notices that the connection broke, if that it was


@dataclass(frozen=True, slots=True)
class Led:
    """Another scheduler leads than before, or the same one again.

    Parameters
    ----------
    node, term
        Who leads, in words, and since which term; "" and 0 if it does not say.
    away_s
        For how long there was no connection, as seen from here.
    """

    node: str
    term: int
    away_s: float


class SchedulerLine:
    """What a run asks its workers and the scheduler.

    Parameters
    ----------
    client
        Its scheduler carries the messages.
    led
        Told when the client is connected again. See `watch`.
    long_away
        Told for how many seconds it has not been, once, if these are some.

    Attributes
    ----------
    outlives
        Whether the client is to be connected again when its scheduler dies.
    """

    def __init__(
        self,
        client: distributed.Client,
        led: Callable[[Led], None] = lambda _: None,
        long_away: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._client, self._led, self._long_away = client, led, long_away
        scheduler: Any = client.scheduler
        self.outlives = str(scheduler.address).startswith(PREFIX)
        self._connection: Any = client.scheduler_comm
        self._broke: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gone: dict[str, asyncio.Future[None]] = {}  # by who was asked
        self._back = asyncio.Event()
        self._back.set()

    @property
    def away(self) -> bool:
        """Whether there is no scheduler, as far as is known."""
        return not self._back.is_set()

    async def watch(self) -> None:
        """See the connection break, and come back; until cancelled.

        Raises
        ------
        ClusterUnreachableError
            The client has given up.
        """
        while self.outlives:
            while self._is_up():
                await asyncio.sleep(_LOOK_S)
            since = time.monotonic()
            self._back.clear()
            self._broke.set_result(None)
            told = False
            while not self._is_new():
                if self._is_over():
                    self._back.set()
                    raise ClusterUnreachableError(
                        "the client has given up: no coordinator led for"
                        f" {format_duration(round(time.monotonic() - since, 1))}"
                        " (ha.client-patience)"
                    )
                away_s = time.monotonic() - since
                if away_s > _LONG_AWAY_S and not told:
                    self._long_away(away_s)
                    told = True
                await asyncio.sleep(_LOOK_S)
            self._connection = self._client.scheduler_comm
            self._broke = asyncio.get_running_loop().create_future()
            self._back.set()
            away_s = time.monotonic() - since
            node, term = await self._leader()
            self._led(Led(node, term, away_s))

    async def settles(self) -> bool:
        """Whether who leads still waits for workers of before; False if unknown."""
        scheduler: Any = self._client.scheduler
        try:
            told: Any = await self._led_call(lambda: scheduler.dtf_standing())
        except Exception as error:  # no coordinator, or of another version
            logger.debug("who leads does not tell how it stands: %s", error)
            return False
        if not isinstance(told, dict):  # a plain scheduler answers nothing
            return False
        standing = dict(told["status"]).get("scheduler") or {}
        is_led = standing.get("role") == "leads"
        return not (is_led and standing.get("settled_after_s", -1.0) >= 0)

    async def ask(self, address: str, op: str, **arguments: Any) -> Any:
        """Send a message to a worker; its answer. `OSError` if it goes meanwhile."""
        message = {"op": op, **arguments}
        scheduler: Any = self._client.scheduler
        return await self._led_call(
            lambda: scheduler.proxy(msg=message, worker=address), self._end_of(address)
        )

    def gone(self, address: str) -> None:
        """A worker is no more: what it was asked has no answer, nor what it will be.

        Each leader would try for a while to reach it, and none might do so to the end.
        """
        end = self._end_of(address)
        if not end.done():
            end.set_result(None)

    def came(self, address: str) -> None:
        """A worker has joined: perhaps one that was gone."""
        if self._end_of(address).done():
            del self._gone[address]

    def _end_of(self, address: str) -> asyncio.Future[None]:
        """Done when a worker is no more."""
        end = self._gone.get(address)
        if end is None:
            end = self._gone[address] = asyncio.get_running_loop().create_future()
        return end

    async def tell(
        self, addresses: Iterable[str], op: str, timeout_s: float, **arguments: Any
    ) -> bool:
        """Send a message to several workers; who does not answer is left behind.

        False if there was no answer at all: perhaps nobody leads.
        """
        asked = {
            asyncio.ensure_future(self.ask(address, op, **arguments))
            for address in addresses
        }
        if not asked:
            return True
        try:
            answered, _ = await asyncio.wait(asked, timeout=timeout_s)
        finally:  # also of whoever does not wait to the end: its loop may be closed
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        return any(not one.cancelled() and one.exception() is None for one in answered)

    async def workers(self) -> dict[str, dict[str, Any]]:
        """What the scheduler knows of its workers, by address."""
        scheduler: Any = self._client.scheduler
        return dict((await self._led_call(lambda: scheduler.identity()))["workers"])

    async def _led_call(
        self,
        call: Callable[[], Awaitable[_T]],
        gone: asyncio.Future[None] | None = None,
    ) -> _T:
        """Ask whoever leads, again if that is another one before there is an answer."""
        if not self.outlives:
            return await call()
        while True:
            await self._back.wait()
            if self._is_over():
                raise OSError("the client was closed")
            broke = self._broke
            asked: asyncio.Future[_T] = asyncio.ensure_future(call())
            try:
                any_of: set[asyncio.Future[Any]] = {asked, broke}
                any_of |= {gone} if gone is not None else set()
                await asyncio.wait(any_of, return_when=asyncio.FIRST_COMPLETED)
                if asked.done():
                    return asked.result()
            except (OSError, FailoverError):
                # Of the scheduler, which has died; or told by it, of a worker. The
                # client does not know that what is asked here bears being asked twice.
                await asyncio.wait({broke}, timeout=_NOTICED_S)
                if not broke.done():
                    raise
            finally:
                asked.add_done_callback(_seen)
                asked.cancel()
            if gone is not None and gone.done():
                raise OSError("the worker is gone")

    def _is_over(self) -> bool:
        return self._client.status in ("closing", "closed")

    def _is_up(self) -> bool:
        return self._client.scheduler_comm is self._connection and not _is_closed(
            self._connection
        )

    def _is_new(self) -> bool:
        now, client = self._client.scheduler_comm, self._client
        standing = getattr(client, "durability", None)  # of a client of dtf
        return (
            now is not None
            and now is not self._connection
            and client.status == "running"
            and not _is_closed(now)
            and (standing is None or bool(standing.connected))
        )

    async def _leader(self) -> tuple[str, int]:
        """The name of who leads, and the term, as far as it says so."""
        comm = getattr(self._connection, "comm", None)
        said = getattr(comm, "remote_info", {}).get(GREETING)
        if not isinstance(said, dict):
            return "", 0
        node, term = str(said.get("node", "")), int(said.get("term", 0))
        scheduler: Any = self._client.scheduler
        try:
            told = await asyncio.wait_for(scheduler.dtf_standing(), _NOTICED_S)
            names = {str(number): name for number, name in told["names"].items()}
        except Exception as error:  # then its number has to do
            logger.debug("coordinator %s does not tell its name: %s", node, error)
            return node, term
        return str(names.get(node, node)), term


def _seen(ended: asyncio.Future[Any]) -> None:
    """Nobody asks any more what came of it, be it an error."""
    if not ended.cancelled():
        ended.exception()


def _is_closed(stream: Any) -> bool:
    comm = getattr(stream, "comm", None)
    return comm is None or bool(comm.closed())

"""A site that is served from a thread, and told what to show by the test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tornado.netutil import bind_sockets

from dtf_dask.ha.dialing import Address
from dtf_dask.view import feed_words
from dtf_dask.view.records import PREFIX, encoded, formed, record_key
from dtf_dask.web.server import served
from dtf_dask.web.site import Site

TAG = "9f2c"
WAIT_S = 60.0


def record(kind: str, name: str = "", /, **fields: Any) -> tuple[str, bytes]:
    """A record of the ledger."""
    return PREFIX + record_key(kind, name), encoded(formed(kind, fields))


class SiteRoom:
    """The site, and where it is served."""

    def __init__(self, folder: Path) -> None:
        hello = feed_words.hello(
            *("lab", 1, {"1": "a", "2": "b"}, "127.0.0.1:0"),
            tag=TAG,
            contact="dtf://127.0.0.1:1/lab",
            results=str(folder),
        )
        self._answering: set[asyncio.Future[None]] = set()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.actions: Any = None
        """Does what is asked; nobody leads before."""
        self.tails: Any = None
        """What workers answer of what runs."""
        self.asked_tails: list[Any] = []
        self.site: Site = self.within(lambda: Site(hello, self._said))
        self.address: Address = self.within(self._listen)
        self.term = self.index = 0

    def within(self, call: Callable[[], Any]) -> Any:
        """Call something in the loop's thread."""

        async def called() -> Any:
            return call()

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result(WAIT_S)

    def _said(self, frame: Mapping[str, Any]) -> None:
        """What the process says to the node."""

        async def answer() -> None:
            asked = frame["asked"]
            if "tail" in asked:
                self.asked_tails.append(asked["tail"])
                told = None if self.tails is None else {"items": self.tails}
            else:
                told = None if self.actions is None else await self.actions.ask(asked)
            self.site.hear(feed_words.answered(frame["number"], told))

        self._answering.add(asyncio.ensure_future(answer()))

    def _listen(self) -> Address:
        (socket,) = bind_sockets(0, "127.0.0.1")
        self.server = served(self.site)
        self.server.add_sockets([socket])
        host, port = socket.getsockname()
        return host, port

    def begin(self, *records: tuple[str, bytes], term: int = 1, index: int = 1) -> None:
        """What there is at first."""
        self.term, self.index = term, index
        self.hear(feed_words.records(term, index, records, more=False))

    def change(self, *records: tuple[str, bytes | None], term: int = 0) -> None:
        """What one entry changes, of a later term if one is given."""
        self.term = term or self.term
        self.index += 1
        self.hear(feed_words.changes(self.term, self.index, records))

    def hear(self, frame: Mapping[str, Any]) -> None:
        """What the node says."""
        self.within(lambda: self.site.hear(frame))

    def stand(self, **standing: Any) -> None:
        """How the node stands."""
        frame = feed_words.ping(1, standing)
        self.within(lambda: self.site.stand(frame))

    def close(self) -> None:
        """Serve no more."""
        self.within(self.server.stop)
        closing = asyncio.run_coroutine_threadsafe(
            self.server.close_all_connections(), self.loop
        )
        closing.result(WAIT_S)
        self.within(self._cancel)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
        self.site.results.close()

    def _cancel(self) -> None:
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()


@contextmanager
def site_room(folder: Path) -> Iterator[SiteRoom]:
    """One that is gone in the end."""
    room = SiteRoom(folder)
    try:
        yield room
    finally:
        room.close()

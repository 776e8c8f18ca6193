"""What a web process shows where there are no coordinators: one scheduler is asked.

A node tells its web process what is in the ledger: see `dtf_dask.view.feed_words`. The
same words are said here, of what the scheduler answers. Ids begin with when it started,
so who has seen another life of it is told all anew.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

from dtf_dask.cli.view_link import ASKED_S, NOT_UNDERSTOOD, SchedulerLine, Unanswered
from dtf_dask.view import feed_words as words
from dtf_dask.view.tails import operation
from dtf_dask.web.site import Site

_NAME = "dtf web"
_ACT_S = 15.0
_TAG_BYTES = 4


class WebSource:
    """Has a site show the scheduler at an address, as often as that starts anew.

    Parameters
    ----------
    place
        Where the site is served, ``host:port``.
    store
        Where results of runs are looked for: a file, which may come later, or a URL.
    """

    def __init__(self, address: str, place: str, store: str) -> None:
        self._line = SchedulerLine(address)
        self._place = place
        self._id = ""
        self._linked = ""
        self._answering: set[asyncio.Task[None]] = set()
        tag = hashlib.blake2b(address.encode(), digest_size=_TAG_BYTES).hexdigest()
        hello = words.hello(
            *(address, 0, {"0": _NAME}, place),
            tag=tag,
            contact=address,
            store=store,
        )
        self.site = Site(hello, self._said)
        self.site.hear(words.records(0, 0, [], more=False))

    async def run(self) -> None:
        """Ask again and again."""
        try:
            while True:
                why = await self._ask()
                self.site.stand(words.ping(0, {"unanswered": why}))
                await asyncio.sleep(ASKED_S)
        finally:
            for answering in self._answering:
                answering.cancel()
            await self._line.close()

    async def _ask(self) -> str:
        """Take in what is new: why there is nothing, if so."""
        address = self._line.address
        try:
            self._tell(await self._line.view(self._id))
            await self._link()
        except Unanswered as error:
            return f"no scheduler answers at {address}: {error.why}"
        except NOT_UNDERSTOOD as error:
            self._id = ""
            return f"the scheduler at {address} is not understood: {error}"
        return ""

    def _tell(self, answer: Mapping[str, Any]) -> None:
        life, number = map(int, answer["id"].split(":"))
        changes = [(str(key), value) for key, value in answer["changes"]]
        if answer["reset"]:
            self.site.hear(words.records(life, number, changes, more=False))
        else:
            self.site.hear(words.changes(life, number, changes))
        self._id = str(answer["id"])

    async def _link(self) -> None:
        """Have the dashboard of each life lead to the pages."""
        life = self._id.partition(":")[0]
        if life != self._linked:
            await self._line.ask("dtf_pages", _ACT_S, place=self._place)
            self._linked = life

    def _said(self, frame: Mapping[str, Any]) -> None:
        """Somebody asks for an action."""
        answering = asyncio.create_task(self._act(frame["number"], frame["asked"]))
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)

    async def _act(self, number: int, asked: Mapping[str, Any]) -> None:
        op, said = operation(asked)
        try:
            answer = await self._line.ask(op, _ACT_S, **said)
        except Unanswered:
            answer = None  # it is asked again for a while
        self.site.hear(words.answered(number, answer))

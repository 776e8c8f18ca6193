"""The web process of a node: started, watched, ended, started again.

It shows what is to be seen, and never leads: nobody waits for it, and its end disturbs
nobody.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dtf_dask.ha.child_process import child_process, why_ended
from dtf_dask.ha.network import Ask, nobody
from dtf_dask.ha.node import Node
from dtf_dask.ha.web_link import WebLink, WebLinkOptions
from dtf_dask.ha.web_status import WebStatus

_LOG = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "dtf_dask.web.process")


@dataclass(frozen=True, slots=True)
class WebOptions:
    """Times of the supervision.

    Parameters
    ----------
    pause_s, pause_max_s
        Before a process that ended is started again: doubled each time.
    steady_s
        One that lived so long was none of a row.
    alarm_crashes
        So many in a row are an alarm.
    """

    pause_s: float = 0.5
    pause_max_s: float = 60.0
    steady_s: float = 60.0
    alarm_crashes: int = 3
    link: WebLinkOptions = field(default_factory=WebLinkOptions)


class WebProcess:
    """The one of a node, from `start` until `close`.

    Parameters
    ----------
    hello
        The first word to each process: see `feed_words.hello`.
    command
        What is run, `COMMAND` if not given; the number of its socket is added.
    ask
        Where actions go that are asked for there.
    """

    def __init__(
        self,
        node: Node,
        hello: Mapping[str, Any],
        command: Sequence[str] | None = None,
        options: WebOptions | None = None,
        ask: Ask = nobody,
    ) -> None:
        self._node = node
        self._hello = hello
        self._command = command or COMMAND
        self._options = options or WebOptions()
        self._ask = ask
        self._row = 0
        self._task: asyncio.Task[None] | None = None
        node.web = WebStatus("starting", str(hello["listens_at"]))

    @property
    def status(self) -> WebStatus:
        """How it stands."""
        return self._node.web

    def start(self) -> None:
        """Look after a process from now on."""
        self._task = asyncio.ensure_future(self._guarded())

    async def close(self) -> None:
        """End it, and start none any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._set(role="none", pid=0)

    def _set(self, **changes: Any) -> None:
        self._node.web = replace(self._node.web, **changes)

    async def _guarded(self) -> None:
        """The node goes on, whatever happens to its pages."""
        try:
            await self._supervise()
        except Exception as error:
            _LOG.exception("a defect of dtf")
            why = f"a defect of dtf: {error!r}"
            self._set(role="none", pid=0, last_end=why, alarm=why)

    async def _supervise(self) -> None:
        loop, node, options = asyncio.get_running_loop(), self._node, self._options
        while not node.ended:
            began = loop.time()
            try:
                why = await self._live()
            except OSError as error:
                why = f"no process can be started: {error}"
            if node.ended:
                return
            self._row = self._row + 1 if loop.time() - began < options.steady_s else 1
            pause_s = min(options.pause_s * 2 ** (self._row - 1), options.pause_max_s)
            alarm = ""
            if self._row >= options.alarm_crashes:
                alarm = f"its web process ended {self._row} times in a row: {why}"
            crashes = self.status.crashes + 1
            self._set(role="pausing", pid=0, crashes=crashes, last_end=why, alarm=alarm)
            _LOG.error(
                "the web process of node %d ended: %s; %d in a row, the next one is"
                " started in %.1f s",
                *(node.node, why, self._row, pause_s),
            )
            await asyncio.sleep(pause_s)

    async def _live(self) -> str:
        """One process, to its end: why it ended."""
        async with child_process(self._command) as (process, connection):
            self._set(role="starting", pid=process.pid, starts=self.status.starts + 1)
            link = WebLink(
                *(self._node, self._hello, self._ready, self._options.link),
                self._ask,
            )
            why = await link.serve(connection, process.pid)
        return why_ended(why, process.returncode)

    def _ready(self) -> None:
        self._set(role="serves")
        loop = asyncio.get_running_loop()
        loop.call_later(self._options.steady_s, self._steady, self.status.pid)

    def _steady(self, pid: int) -> None:
        """A process has lived for a while: what was wrong before is over."""
        if self.status.pid == pid:
            self._row = 0
            self._set(alarm="")

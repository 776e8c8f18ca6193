"""The scheduler process of a node: started, watched, killed, started again.

A process is a shadow until its node leads; it leads once, and is killed as soon as its
node leads no more, so that nobody acts for a leader who is none. One that crashes or
hangs takes the leadership with it: another node's shadow is there already, while a new
process takes seconds to start. No two processes lead in one term, on whatever node:
what they number (runs of tasks) begins with the term.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

from dtf_dask.errors import PeerUnavailableError
from dtf_dask.frames import Frame
from dtf_dask.ha import scheduler_words as words
from dtf_dask.ha.child_process import GONE, child_process, why_ended
from dtf_dask.ha.handing_over import HandingOver
from dtf_dask.ha.node import Node
from dtf_dask.ha.raft.messages import NO_NODE, Role
from dtf_dask.ha.scheduler_link import LinkOptions, SchedulerLink
from dtf_dask.ha.scheduler_status import SchedulerStatus

_LOG = logging.getLogger(__name__)

_LOOK_S = 0.05

COMMAND = (sys.executable, "-m", "dtf_dask.standby.process")


class _End(Enum):
    OVER = auto()
    """It led, and leads no more: the next one is started at once."""
    ANEW = auto()
    """It could not follow, which is no crash; but the next may be as slow."""
    CRASH = auto()


@dataclass(frozen=True, slots=True)
class SupervisionOptions:
    """Times of the supervision.

    Parameters
    ----------
    pause_s, pause_max_s
        Before a process that crashed is started again: doubled with each crash.
    steady_s
        One that was ready and lived so long was none of a row of crashes.
    alarm_crashes
        So many in a row are an alarm.
    unready_s
        A node that leads so long without a process that is ready hands over, to each
        of the others in turn; doubled when all were asked.
    """

    pause_s: float = 0.2
    pause_max_s: float = 30.0
    steady_s: float = 60.0
    alarm_crashes: int = 3
    unready_s: float = 0.5
    link: LinkOptions = field(default_factory=LinkOptions)


class SchedulerProcess:
    """The one of a node, from `start` until `close`.

    Parameters
    ----------
    node
        Whose it is.
    hello
        The first word to each process: see `scheduler_words.hello`.
    command
        What is run, `COMMAND` if not given; the number of its socket is added.
    """

    def __init__(
        self,
        node: Node,
        hello: Mapping[str, Any],
        command: Sequence[str] | None = None,
        options: SupervisionOptions | None = None,
    ) -> None:
        self.status = SchedulerStatus("starting", str(hello["listens_at"]))
        self._node = node
        self._hello = hello
        self._command = command or COMMAND
        self._options = options or SupervisionOptions()
        self._link: SchedulerLink | None = None
        self._handing = HandingOver(node)
        self._led_in = self._elected_in = 0
        self._row = 0
        self._ready_at: float | None = None
        self._leader_seen_at = self._elected_at = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Look after a process from now on."""
        loop = asyncio.get_running_loop()
        self._leader_seen_at = loop.time()
        self._node.network.answer_by(self._answer)
        self._set()
        self._tasks = [
            loop.create_task(self._guarded(part))
            for part in (self._supervise(), self._watch_leadership())
        ]

    async def close(self) -> None:
        """Kill it, and start none any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._set(role="none", pid=0)

    async def ask(self, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        """What comes of an action; None if no process is there that could say it.

        While this node's is not ready, that of who leads is asked by way of its node.
        """
        leader = self._node.raw.core.lead
        if self._link is not None and self._link.pid:
            return await self._link.ask(asked)
        if leader in (NO_NODE, self._node.node):
            return None
        try:
            return await self._node.network.ask(leader, asked)
        except PeerUnavailableError as error:
            _LOG.info("nobody who leads hears what is asked: %s", error)
            return None

    async def _answer(self, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        """Another node asks, which takes this one for the leader."""
        link = self._link
        return None if link is None else await link.ask(asked)

    async def _guarded(self, part: Coroutine[Any, Any, None]) -> None:
        """A node that no more looks after its scheduler is of no use."""
        try:
            await part
        except Exception as error:
            _LOG.exception("a defect of dtf")
            self._node.fail(f"a defect of dtf: {error!r}")

    def _set(self, **changes: Any) -> None:
        self.status = replace(self.status, **changes)
        self._node.scheduler = self.status

    async def _supervise(self) -> None:
        loop, node, options = asyncio.get_running_loop(), self._node, self._options
        while not node.ended:
            self._ready_at = None
            why, end = await self._live()
            if node.ended:
                return
            if end is _End.OVER:
                _LOG.info("the scheduler process of node %d: %s", node.node, why)
                self._set(role="starting", pid=0, last_end=why)
                continue
            ready_at = self._ready_at or loop.time()
            steady = loop.time() - ready_at >= options.steady_s
            self._row = 1 if steady else self._row + 1
            pause_s = min(options.pause_s * 2 ** (self._row - 1), options.pause_max_s)
            if end is _End.ANEW:
                _LOG.info("the scheduler process of node %d: %s", node.node, why)
                self._set(role="pausing", pid=0, last_end=why)
                await asyncio.sleep(pause_s)
                continue
            # At once, and to whoever has not failed meanwhile.
            self._handing.begin_anew()
            self._handing.next()
            alarm = ""
            if self._row >= options.alarm_crashes:
                alarm = f"its scheduler ended {self._row} times in a row: {why}"
            self._set(
                role="pausing",
                pid=0,
                crashes=self.status.crashes + 1,
                last_end=why,
                alarm=alarm,
            )
            _LOG.error(
                "the scheduler process of node %d ended: %s; %d in a row, the next one"
                " is started in %.1f s",
                *(node.node, why, self._row, pause_s),
            )
            await asyncio.sleep(pause_s)

    async def _live(self) -> tuple[str, _End]:
        """One process, to its end: why it ended, and what follows from that."""
        try:
            async with child_process(self._command) as (process, ours):
                self._set(
                    role="starting", pid=process.pid, starts=self.status.starts + 1
                )
                self._link = link = SchedulerLink(
                    self._node,
                    self._hello,
                    beyond_term=self._led_in,
                    options=self._options.link,
                    heard=self._heard,
                )
                try:
                    why = await link.serve(ours, process.pid)
                finally:
                    # Killed now, whatever the reason: what it does it does for nobody.
                    self._link = None
                    self._led_in = max(self._led_in, link.term)
        except OSError as error:
            return f"no process can be started: {error}", _End.CRASH
        finally:
            self._node.notify()  # who waits may have to act: see _watch_leadership
        code = process.returncode
        if link.over:
            return why, _End.OVER
        if why == GONE and code == words.FENCED:
            return "it ended: this node was silent, or both were stopped", _End.OVER
        if why == GONE and code == words.ANEW:
            return "it was too slow to hear of all that changed", _End.ANEW
        return why_ended(why, code), _End.CRASH

    def _heard(self, frame: Frame) -> None:
        """A process said how far it is."""
        if frame["op"] == words.READY:
            self._set(role="shadow")
            loop = asyncio.get_running_loop()
            self._ready_at = loop.time()
            loop.call_later(self._options.steady_s, self._steady, self._link)
        elif frame["op"] == words.LEADING:
            self._set(
                role="leads",
                leading_after_s=self._since_election_s(),
                tasks=frame["tasks"],
                settled_after_s=-1.0,
            )
        elif frame["op"] == words.SETTLED:
            self._set(
                settled_after_s=self._since_election_s(),
                workers=frame["workers"],
                missing=frame["missing"],
            )
        elif frame["op"] == words.LEAD:
            self._note_election()
            self._set(
                role="taking over",
                term=frame["term"],
                led_at_s=time.time() - self._since_election_s(),
                without_leader_s=self._elected_at - self._leader_seen_at,
            )

    def _since_election_s(self) -> float:
        return asyncio.get_running_loop().time() - self._elected_at

    def _steady(self, link: SchedulerLink | None) -> None:
        """A process has lived for a while: what was wrong before is over."""
        if link is not None and link is self._link:
            self._row = 0
            self._set(alarm="")

    # Who is to lead

    async def _watch_leadership(self) -> None:
        """A leader without a process that may lead ends its term, somehow."""
        loop, node, options = asyncio.get_running_loop(), self._node, self._options
        try_at, pause_s = 0.0, options.unready_s
        while not node.ended:
            core, link = node.raw.core, self._link
            if core.lead not in (NO_NODE, node.node):
                self._leader_seen_at = loop.time()
            if core.role is not Role.LEADER or (link and link.term):
                self._handing.begin_anew()
                try_at, pause_s = 0.0, options.unready_s
                await self._next_change(None)
                continue
            try_at = try_at or loop.time() + pause_s
            if link is not None and link.pid and core.term <= self._led_in:
                # Nobody took over, and a new process is ready: it needs a new term.
                self._new_term()
            elif self._handing.under_way or loop.time() < try_at:
                pass
            elif not self._handing.next():
                self._handing.begin_anew()
                pause_s = min(pause_s * 2, options.pause_max_s)
                try_at = loop.time() + pause_s
            await self._next_change(_LOOK_S)

    async def _next_change(self, limit_s: float | None) -> None:
        """Wait; a leader that is known until then was there until it fell silent."""
        core = self._node.raw.core
        known = core.lead not in (NO_NODE, self._node.node)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._node.change(), limit_s)
        if known:
            silent_s = core.silent_ticks * self._node.options.tick_s
            self._leader_seen_at = asyncio.get_running_loop().time() - silent_s
        self._note_election()

    def _note_election(self) -> None:
        core = self._node.raw.core
        if core.role is Role.LEADER and core.term != self._elected_in:
            self._elected_at = asyncio.get_running_loop().time()
            self._elected_in = core.term

    def _new_term(self) -> None:
        node = self._node
        node.raw.step_down()
        node.raw.campaign()
        node.wake()

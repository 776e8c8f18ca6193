"""What the scheduler process of a coordinator is: a shadow, and perhaps the leader.

Everything is put together here, but for the process itself: so it runs in a test's loop
as well.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from distributed import Scheduler

from dtf_dask.comm.address import parse_contact
from dtf_dask.comm.backend import announce
from dtf_dask.comm.greeting import Greeting
from dtf_dask.config import load
from dtf_dask.durable.successor import Successor
from dtf_dask.frames import Frame
from dtf_dask.ha import scheduler_words as words
from dtf_dask.ha.elapsed import elapsed_s
from dtf_dask.ha.handshake import NodeName
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.preload import add_to_scheduler, upgrade_workers
from dtf_dask.scheduler_plugins.adapter.dashboard_link import link
from dtf_dask.scheduler_plugins.adapter.observing import Observer
from dtf_dask.standby import dask_clients, dask_makings, dask_seam, dask_start
from dtf_dask.standby.absence import away_terms
from dtf_dask.standby.actions import Actions
from dtf_dask.standby.actions_here import ActionsHere
from dtf_dask.standby.acts import Acts
from dtf_dask.standby.acts_led import Led
from dtf_dask.standby.applying import Applier
from dtf_dask.standby.away import Presence
from dtf_dask.standby.clients import Clients
from dtf_dask.standby.dask_shuffles import Shuffles
from dtf_dask.standby.durability import Durability
from dtf_dask.standby.failovers import failover_of
from dtf_dask.standby.journal import first_number
from dtf_dask.standby.leader_line import LeaderLine
from dtf_dask.standby.link import NodeLink
from dtf_dask.standby.primitives import Primitives
from dtf_dask.standby.results_here import ResultsHere
from dtf_dask.standby.shadow import Shadow
from dtf_dask.standby.silence import LOOK_S, Silence
from dtf_dask.standby.standing import Standing
from dtf_dask.standby.takeover import take_over
from dtf_dask.standby.web_here import WebHere
from dtf_dask.web.paths import pages_url

logger = logging.getLogger(__name__)


class StandbyScheduler:
    """One, from the first word of its node to the end.

    Parameters
    ----------
    ended
        Called once, with the reason why it cannot go on.
    leaves
        The same, with a code of `scheduler_words`, where it is to end at once.
    """

    def __init__(
        self,
        ended: Callable[[str], None],
        leaves: Callable[[int, str], None] | None = None,
    ) -> None:
        self.link = NodeLink(self._hear, self._pinged)
        self._ended = ended
        self._leaves = leaves or (lambda code, why: ended(why))
        self._silence: Silence | None = None
        self._early: list[Frame] | None = []
        """What was heard before the scheduler was made."""
        self._all_heard = False
        self._tasks: list[asyncio.Task[Any]] = []
        self._looking: asyncio.TimerHandle | None = None
        self._hello: Frame = {}
        self._standing: Standing | None = None
        self._told_term = 0
        self.scheduler: Scheduler
        self.applier: Applier
        self.shadow: Shadow
        self.durability: Durability
        self.clients: Clients
        self.presence: Presence
        self.results: ResultsHere
        self.actions: ActionsHere
        self.web: WebHere

    async def close(self) -> None:
        """Stop all, in a test: a process just ends."""
        await self.presence.close()
        self.actions.close()
        if self._looking is not None:
            self._looking.cancel()
        await Observer.install(self.scheduler).close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What the node says.

    def _hear(self, frame: Frame) -> None:
        if frame["op"] == words.HELLO:
            self._begin(self._prepare(frame))
        elif self._early is not None:
            self._early.append(frame)
        else:
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        if frame["op"] == words.RECORDS:
            if self._all_heard:
                self._leaves(words.ANEW, "what changed is told no longer: it is slow")
                return
            self._change(frame["records"])
            self._all_heard = not frame["more"]
        elif frame["op"] == words.CHANGES:
            self._change(frame["changes"])
        elif frame["op"] == words.LEAD:
            self._begin(self._lead(frame["term"]))
        elif frame["op"] == words.ASK:
            self.actions.take(frame)

    def _change(self, changes: Sequence[tuple[str, bytes | None]]) -> None:
        self.shadow.change((key, value) for key, value in changes)
        self.results.change((key, value) for key, value in changes)

    def _pinged(self, frame: Frame) -> None:
        if self._silence is not None:
            self._silence.heard()
        if self._standing is not None and "standing" in frame:
            self._standing.node = frame["standing"]
            self.durability.room.holds(frame["standing"]["held_bytes"])
            self._tell_failover(frame["standing"])

    def _tell_failover(self, standing: Frame) -> None:
        """Say once what it cost that this one leads."""
        term, node = self.durability.term, self._hello["node"]
        if not term or term == self._told_term:
            return
        names = self._hello["options"].get("names", {})
        found = failover_of(standing, names.get(str(node), str(node)), term)
        if found is not None:
            self._told_term = term
            Observer.install(self.scheduler).put("failover", str(term), found)

    def _begin(self, part: Any) -> None:
        async def guarded() -> None:
            try:
                await part
            except Exception as error:
                logger.exception("a scheduler cannot go on")
                self._trouble(f"{type(error).__name__}: {error}")

        self._tasks.append(asyncio.get_running_loop().create_task(guarded()))

    def _trouble(self, why: str) -> None:
        self.link.say(words.trouble(why))
        self._ended(why)

    # A shadow.

    async def _prepare(self, hello: Frame) -> None:
        missing = (
            *dask_seam.broken(),
            *dask_clients.broken(),
            *dask_start.broken(),
            *dask_makings.broken(),
        )
        if missing:
            raise RuntimeError(f"this version of Dask has no {', '.join(missing)}")
        self._hello = hello
        self.scheduler = scheduler = dask_start.make_scheduler(
            hello["listens_at"], hello["tls"], hello["options"]
        )
        self._standing = Standing(scheduler, hello)
        line = LeaderLine(scheduler, hello)
        self.results = ResultsHere(scheduler, hello, line)
        self.actions = ActionsHere(self.link, line, scheduler.handlers)
        self.presence = Presence(scheduler, away_terms(load().ha))
        self.presence.begin()
        self.applier = Applier(scheduler, self._more)
        self.applier.busy = lambda limit_s: self.link.say(words.busy(limit_s))
        self.shadow = Shadow(self.applier)
        self.durability = Durability(
            self.applier,
            self.link.propose,
            self.shadow.records,
            failed=self._trouble,
            waiting=self._waits,
        )
        self.web = WebHere(hello, line, lambda: self.shadow.records)
        scheduler.dtf_durability = self.durability  # type: ignore[attr-defined]
        await add_to_scheduler(scheduler)
        upgrade_workers(scheduler)
        for plugin in scheduler.plugins.values():
            if isinstance(plugin, Successor):
                plugin.recalling()
        early, self._early = self._early or [], None
        for frame in early:
            self._take(frame)
        self._begin(self.shadow.run())
        self._begin(self.results.run())
        self._begin(self.web.run())
        gc.collect()
        gc.freeze()  # what was imported is never looked at again
        self.link.say(words.ready(os.getpid()))

    def _more(self, operation: bytes) -> None:
        self.durability.append(operation)

    def _waits(self, why: str) -> None:
        self.clients.tell_waiting(why)

    # The leader.

    async def _lead(self, term: int) -> None:
        began = time.monotonic()
        scheduler, hello = self.scheduler, self._hello
        self._silence = Silence(elapsed_s(), time.process_time())
        self._look_for_node(self._silence)
        await self.shadow.catch_up()
        gc.freeze()  # tasks of old are many, and no garbage
        self.applier.lead()
        first = max(first_number(term), self.shadow.next_number)
        self.durability.lead(term, first)
        self._begin(self.durability.run())
        self.durability.keep_lazily(dict.fromkeys(self.shadow.unfinished))
        primitives = await Primitives.install(scheduler, self.durability)
        Shuffles.install(scheduler)
        dask_makings.install(scheduler)
        settings = load().ha
        self.clients = Clients(
            scheduler,
            self.durability,
            hello["cluster"],
            settings.client_grace_s,
            settings.raw_graphs,
        )
        self.clients.install()
        observer = Observer.install(scheduler)
        assert self._standing is not None
        observer.standing = self._standing.coordinators
        self.results.lead(
            self.durability, lambda run, seen: observer.put("run", run, seen)
        )
        acts = Acts(scheduler, Led(self.durability, self._standing, self.link))
        acts.recall()
        settled = await take_over(
            scheduler,
            self.durability,
            self.presence,
            term=term,
            listen=lambda: self._listen(term),
            schedule=self.applier.schedule,
            leading=lambda _, tasks: self.link.say(
                words.leading(time.monotonic() - began, tasks)
            ),
            order=self.durability.order,
            erred=self.applier.erred,
        )
        self.clients.tell_states()
        primitives.settle()
        observer.lead(self.durability)
        self.web.lead(observer, scheduler.handlers)
        if place := hello["options"].get("web", ""):
            link(scheduler, pages_url(place))
        await self.actions.lead(
            Actions(
                self.durability,
                acts.by_name(),
                lambda id, seen: observer.put("action", id, seen),
            ),
            self._standing.name(hello["node"]),
        )
        self.link.say(
            words.settled(
                time.monotonic() - began,
                settled.workers,
                settled.missing,
                settled.recovered,
            )
        )

    def _look_for_node(self, silence: Silence) -> None:
        """End, if the node is not heard, before anybody is answered.

        Not in a task: this is called before the tasks that wait for what was read, as
        a process that was stopped runs again.
        """
        why = silence.look(elapsed_s(), time.process_time())
        if why:
            self._leaves(words.FENCED, f"{why}: another may lead by now")
            return
        loop = asyncio.get_running_loop()
        self._looking = loop.call_later(LOOK_S, self._look_for_node, silence)

    async def _listen(self, term: int) -> None:
        hello = self._hello
        contact = parse_contact(hello["contact"])
        name = NodeName(hello["cluster"], NodeId(hello["node"]))
        announce(hello["listens_at"], contact, Greeting(name, term))
        await dask_start.listen(self.scheduler)

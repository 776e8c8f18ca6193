"""What the engine's parts share: workers, waiting tasks, running ones, what is learned.

Pure. Here is bookkeeping that keeps its invariants; what is decided is elsewhere.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from dtf_dask.scheduler_plugins.engine.engine_settings import EngineSettings
from dtf_dask.scheduler_plugins.engine.groups import Group, Places
from dtf_dask.scheduler_plugins.engine.lanes import Lane, Lanes, Task
from dtf_dask.scheduler_plugins.engine.match import (
    Capacity,
    Shape,
    Want,
    Wants,
    task_facts,
)
from dtf_dask.scheduler_plugins.engine.places import Place
from dtf_dask.scheduler_plugins.engine.stall import Stall
from dtf_dask.scheduler_plugins.engine.standing import Standing
from dtf_dask.scheduler_plugins.engine.tallies import Tallies
from dtf_dask.scheduler_plugins.engine.terms import Ask, Key, Kill, Notice, Reject
from dtf_dask.scheduler_plugins.engine.timers import Timers
from dtf_dask.scheduler_plugins.engine.tokens import Tokens
from dtf_dask.scheduler_plugins.engine.unit import Keeping
from dtf_dask.scheduler_plugins.engine.urgency import Urgency
from dtf_dask.scheduler_plugins.policies.breaker import Breakers
from dtf_dask.scheduler_plugins.policies.custom import Policies
from dtf_dask.scheduler_plugins.policies.estimate import Estimates
from dtf_dask.scheduler_plugins.policies.overload import Overload, Waiting
from dtf_dask.scheduler_plugins.policies.placement import Placement
from dtf_dask.scheduler_plugins.policies.quota import Tenants

_LANES_KEPT = 512
_REORDERED_MAX = 64  # lanes ordered anew in the time that shares may be out of date
_AT_ONCE_MAX = 16  # lanes ordered anew whenever somebody comes below its guarantee
_PAST_MAX = 10_000
_MISSES_MAX = 100  # of deadlines: the last, by how much, and when
_PATIENCE = 2.0
"""A task held on a worker has waited too long after so many times its prefetch."""


class Core:
    """The state of the engine."""

    def __init__(self, settings: EngineSettings, policies: Policies) -> None:
        self.settings = settings
        self.policies = policies
        self.overload = Overload(settings.overload)
        self.places = Places(settings)
        self.wants = Wants()
        self.lanes = Lanes()
        self.tokens = Tokens()
        self.standing = Standing(settings, self.places, self.lanes)
        self.timers = Timers()
        self.estimates = Estimates(settings.estimates)
        self.placement = Placement(self.estimates)
        self.tenants = Tenants(settings.tenants)
        self.breakers = Breakers(settings.breakers)
        self.keeping = Keeping()
        # Said to whoever counts on them.
        self.on_left: Callable[[Task], None] = lambda task: None
        self.on_barred: Callable[[Place], None] = lambda place: None
        self.running: dict[Key, Task] = {}
        self.past: dict[Key, Task] = {}  # the last that ended, for questions
        self.queued: dict[Key, Task] = {}  # on workers, behind others
        self.woken: dict[Stall, None] = {}
        self.parked: dict[Lane, None] = {}  # for tokens or a quota, not for a worker
        self.rejects: list[Reject] = []
        self.notices: list[Notice] = []
        self.kills: list[Kill] = []
        self.kill_counts: dict[Key, int] = {}
        urgency = Urgency(settings, self.estimates, policies)
        self.due = urgency.due
        self.estimate = urgency.estimate
        self.expected_s = urgency.expected_s
        self.rank = {one.name: rank for rank, one in enumerate(settings.classes)}
        self.patience_queued_s = _PATIENCE * settings.prefetch_s
        self.freed_count = 0  # how often a worker got more room
        self.met = 0  # deadlines
        self.missed = 0
        self.tallies = Tallies()
        self.misses: deque[tuple[Key, float, float]] = deque(maxlen=_MISSES_MAX)
        self.shares = bool(settings.tenants.quotas)
        self._tenant = ""  # the only one so far
        self._lanes_max = _LANES_KEPT
        self._wants_max = settings.wants_max
        self.accept_names: tuple[str, ...] = ()
        """What lanes tell apart, beside needs, classes and tenants."""
        self._seq = 0
        self._reorder_at = -math.inf
        self._reordered = 0  # lanes, the last time

    # -- waiting ----------------------------------------------------------------

    def new_task(self, ask: Ask, now: float) -> Task:
        """A task that is ready; ValueError for a need that nothing can meet."""
        want = self.want(ask)
        self._seq += 1
        return Task(ask, want, self._seq, now)

    def want(self, ask: Ask) -> Want:
        """What a task wants; groups are split if it asks something new."""
        count = len(self.wants)
        want = self.wants.of(ask.need)
        if len(self.wants) != count:
            if count >= self._wants_max:
                self._forget_wants(want)
            if self.places.learn(want):
                self._regrouped()
        return want

    def _forget_wants(self, newest: Want) -> None:
        """Keep only what is wanted now; groups need not differ in anything else."""
        self.lanes.drop_empty()
        waiting, running = self.lanes.tasks.values(), self.running.values()
        needed = dict.fromkeys(task.want for task in (*waiting, *running))
        self.wants.forget({*needed, newest})
        self._wants_max = max(self.settings.wants_max, 2 * len(needed))
        self.places.forget(needed)
        self._regrouped()

    def set_due(self, task: Task, now: float) -> None:
        """Since when it is due: its place in the order."""
        task.due, task.latest = self.due(task.ask, task.ready_at, now)

    def wait(self, task: Task, now: float) -> None:
        """It waits for a worker from now on."""
        ask = task.ask
        if ask.tenant != self._tenant:
            self.shares = self.shares or bool(self._tenant)
            self._tenant = ask.tenant
        lane = self.lane_for(ask, task.want)
        if lane.backlog is not None:
            if ask.deadline is None:
                task.work_s = self.expected_s(ask)
            else:
                task.work_s = ask.deadline - task.latest
        self.lanes.tasks[task.key] = task
        task.state = "waiting"
        if not lane.live:
            self.tenants.waits(ask.tenant, 1, now)
        lane.push(task)
        if lane.head() is task:
            if task.due < lane.settled:
                lane.unsettle()
            lane.level = 0
            self.lanes.race(lane, self.key(lane, task, now), task.seq)

    def take(self, task: Task, now: float) -> None:
        """It waits no longer."""
        lane = task.lane
        self.lanes.take(task)
        task.state = "gone"
        if lane is not None and not lane.live:
            self.tenants.waits(lane.tenant, -1, now)
        if task.unit is not None:
            self.on_left(task)

    def key(
        self, lane: Lane, task: Task, now: float, gives_way_s: float = 0.0
    ) -> float:
        """A lane's place in the race: when its head is due, by its tenant's share.

        Neither that nor giving way to scarce work costs a task its deadline.
        """
        due = task.due + gives_way_s
        if self.shares:
            due += self.tenants.offset_s(lane.tenant, now)
        return min(due, task.latest)

    def hold(self, task: Task) -> None:
        """It waits for something other than a worker."""
        task.state = "held"
        self.lanes.hold(task)

    def lane_of(self, task: Task) -> Lane:
        """The lane of tasks like this one."""
        return self.lane_for(task.ask, task.want)

    def lane_for(self, ask: Ask, want: Want) -> Lane:
        """The same, of a task that there is not yet."""
        key: tuple[Any, ...] = (want, ask.priority_class, ask.tenant)
        if self.accept_names:
            facts = task_facts(ask)
            key += tuple(facts.get(name) for name in self.accept_names)
        lane = self.lanes.find(key)
        if lane is None:
            if len(self.lanes) > self._lanes_max:
                self.lanes.drop_empty()
                self._lanes_max = max(_LANES_KEPT, 2 * len(self.lanes))
            lane = self.lanes.added(key, want, ask, task_facts(ask))
            self.standing.fill(lane)
        return lane

    def lowest_rank(self) -> int:
        """The rank of the least important class that waits."""
        last = len(self.rank)
        ranks = [self.rank.get(o.priority_class, last) for o in self.lanes if o.live]
        return max(ranks, default=last)

    def shed(self, now: float) -> None:
        """Keep no more waiting tasks than the bound allows."""
        overload, tasks = self.overload, self.lanes.tasks
        length = len(tasks)
        self.notices += overload.update(length, now)
        if not overload.excess(length):
            return
        last = len(self.rank)
        waiting = (
            Waiting(
                *(task.key, self.rank.get(task.ask.priority_class, last), task.seq),
                class_name=task.ask.priority_class,
            )
            for task in tasks.values()
        )
        for reject in overload.shed(waiting, length):
            self.take(tasks[reject.key], now)
            self.rejects.append(reject)

    # -- lanes and groups -------------------------------------------------------

    def race(self, lane: Lane, now: float) -> None:
        """Let a lane try again whatever there is."""
        head = lane.head()
        if head is not None:
            lane.level = 0
            self.lanes.race(lane, self.key(lane, head, now), head.seq)

    def refresh(self, now: float) -> None:
        """Order anew what has changed beneath: rare workers, shares of tenants."""
        turned, self.tenants.turned = self.tenants.turned, False
        if turned and self._reordered <= _AT_ONCE_MAX:
            # The thread it has just lost would be gone to a borrower, for who knows
            # how long.
            self._reorder_at = now
        if self.standing.weighed(now):
            for lane in self.lanes:
                self.race(lane, now)
        elif self.shares and now >= self._reorder_at:
            key, count = partial(self._waiting_key, now=now), 0
            for group in self.places.groups:
                for stall in group.stalls.values():
                    stall.reorder(key)
                    count += 1 + len(stall.lanes)
            # The cheaper it is, the more often.
            self._reordered, few = count, min(1.0, count / _REORDERED_MAX)
            self._reorder_at = now + few * self.settings.refresh_s

    def _waiting_key(self, lane: Lane, group: Group, now: float) -> float:
        head = lane.head()
        if head is None:
            return 0.0
        return self.key(lane, head, now, lane.offsets.get(group, 0.0))

    def group_entered(self, group: Group, now: float) -> None:
        """There is a new group, or one that can do more: lanes look at it."""
        for lane in self.standing.entered(group):
            self.race(lane, now)

    def _regrouped(self) -> None:
        for lane in self.lanes:
            self.standing.fill(lane)
            head = lane.head()
            if head is not None:
                self.lanes.race(lane, head.due, head.seq)

    def accepts_changed(self, now: float) -> None:
        """Workers came that look at more of a task than lanes tell apart."""
        names = {
            name
            for group in self.places.groups
            if group.accept is not None
            for name in group.accept.names
        }
        wanted = tuple(sorted(names & {"prefix", "timeout"}))
        if set(wanted) <= set(self.accept_names):
            return
        self.accept_names = wanted
        tasks = sorted(self.lanes.tasks.values(), key=lambda task: task.seq)
        for lane in self.lanes:
            if lane.live:
                self.tenants.waits(lane.tenant, -1, now)
        self.lanes.clear()
        self.parked = {}
        for task in tasks:
            if task.lane is None:
                self.lanes.hold(task)
            else:
                self.wait(task, now)

    # -- workers ----------------------------------------------------------------

    def freed(self, place: Place) -> None:
        """A worker may have more room than before."""
        group = place.group
        if group is None:
            return
        self.freed_count += 1
        for stall in group.stalls.values():
            if stall.put(place) and stall.lanes:
                self.woken[stall] = None

    def rebar(self, place: Place, now: float) -> None:
        """Whether a worker gets anything, as its breaker and its own word have it."""
        reason = self.breakers.allows(place.name, "", "", now)
        if place.paused:
            reason = "it is paused"
        if bool(reason) == bool(place.barred):
            place.barred = reason
            return
        place.bar(reason)
        if reason:
            self.on_barred(place)
        else:
            self.freed(place)

    def unpark(self, now: float) -> None:
        """Tokens or quotas may be free again."""
        parked, self.parked = self.parked, {}
        for lane in parked:
            self.race(lane, now)

    def may_start(self, task: Task) -> bool:
        """Whether its tenant may have more."""
        return not self.tenants.may_start(task.ask.tenant, task.want.need.amounts)

    def capacity_lacks(self, place: Place, shape: Shape) -> tuple[str, ...]:
        """Why even an idle worker has no room for it; groups differ in memory."""
        if shape.plain:
            return ()
        return Capacity.of(place.offer).lacks(shape)

    # -- running ----------------------------------------------------------------

    def grant(self, task: Task, place: Place, now: float) -> None:
        """A task gets its room: on the worker, of tokens, of its tenant's share."""
        self.take(task, now)
        task.state = "granted"
        task.granted_at = now
        task.brisk = task.queued or self.brisk(task.ask, place.kind)
        place.take(task)
        self.running[task.key] = task
        self.tallies.of[task.ask.priority_class].running += 1
        if task.queued:
            task.look_at = now + self.patience_queued_s
            self.queued[task.key] = task
        if task.want.tokens:
            self.tokens.take(task.want.tokens)
        ask = task.ask
        self.tenants.started(ask.tenant, task.want.need.amounts, now)
        if not self.breakers.quiet:
            self.breakers.started(place.name, ask.name, place.kind, now)
            self.rebar(place, now)

    def brisk(self, ask: Ask, kind: str) -> bool:
        """Whether it may be over before the next is there; who knows nothing hopes."""
        estimate, prefetch_s = self.estimate(ask, kind), self.settings.prefetch_s
        return estimate.seconds <= prefetch_s or estimate.source == "default"

    def kill(self, task: Task, reason: str) -> None:
        """Ask for the end of a running task, once."""
        if not task.kill and task.place is not None:
            task.kill = reason
            self.kills.append(Kill(task.key, task.place.name, reason))

    def begun(self, tasks: list[Task], now: float) -> None:
        """Threads have become free for these, on the workers that hold them."""
        for task in tasks:
            self.queued.pop(task.key, None)
            task.begun_at = now

    def release(self, task: Task, now: float) -> None:
        """A task takes no room any more."""
        del self.running[task.key]
        self.tallies.of[task.ask.priority_class].running -= 1
        task.state = "gone"
        place = task.place
        assert place is not None
        self.queued.pop(task.key, None)
        self.past[task.key] = task
        if len(self.past) > _PAST_MAX:
            del self.past[next(iter(self.past))]
        sharers = place.sharers(task) if task.gpus else ()
        self.begun(place.give(task), now)
        if task.want.tokens:
            self.tokens.give(task.want.tokens)
        self.tenants.ended(task.ask.tenant, task.want.need.amounts, now)
        if self.parked:
            self.unpark(now)
        self.freed(place)
        for other in sharers:
            self.freed(other)

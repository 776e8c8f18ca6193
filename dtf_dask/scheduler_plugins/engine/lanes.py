"""Waiting tasks, the most urgent first. Pure.

Tasks that want the same, of one class and tenant, stand in one lane. Within a lane the
order is by an urgency that never changes, so nothing is ever sorted anew:

    u = min(ready + patience of the class - priority * step, deadline - estimate)

It is the time from which the task is due: whoever has waited out its class's patience
is due now, and so is what must start now to meet its deadline. That is ageing and least
laxity at once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, Literal

from dtf_dask.scheduler_plugins.engine.match import Want
from dtf_dask.scheduler_plugins.engine.terms import Ask, Key
from dtf_dask.scheduler_plugins.policies.admission import Backlog

if TYPE_CHECKING:
    from dtf_dask.scheduler_plugins.engine.groups import Group
    from dtf_dask.scheduler_plugins.engine.places import Place
    from dtf_dask.scheduler_plugins.engine.stall import Stall
    from dtf_dask.scheduler_plugins.engine.unit import Unit

State = Literal["waiting", "held", "granted", "gone"]


class Task:
    """One task that waits or runs, and what was decided of it."""

    __slots__ = (
        *("ask", "begun_at", "brisk", "cpu", "due", "estimate_s", "gpus"),
        *(
            "granted_at",
            "key",
            "kill",
            "lane",
            "late_s",
            "latest",
            "look_at",
            "place",
            "queued",
            "ready_at",
            "revoked",
            "score",
            "seq",
            "takes_s",
        ),
        *("shape", "state", "unit", "want", "work_s"),
    )

    def __init__(self, ask: Ask, want: Want, seq: int, now: float) -> None:
        self.ask = ask
        self.key = ask.key
        self.want = want
        self.shape = want.shape
        self.seq = seq
        self.ready_at = now
        self.due = now
        self.latest = math.inf  # to begin at, for its deadline
        self.state: State = "waiting"
        self.lane: Lane | None = None
        self.unit: Unit | None = None
        self.place: Place | None = None
        self.gpus: tuple[int, ...] = ()
        self.cpu = want.shape.cpu
        self.queued = False  # it is on a worker, behind others
        self.estimate_s = 0.0
        self.takes_s: float | None = None  # at most, where it runs; None if unasked
        self.granted_at = 0.0
        self.begun_at: float | None = None
        self.brisk = False  # it ends soon after it has begun
        self.kill = ""
        self.late_s: float | None = None  # for its deadline, when it has ended
        self.look_at = 0.0  # whether it is better off elsewhere
        self.revoked = False
        self.score = 0
        self.work_s = 0.0  # what it was reckoned at in its lane's backlog

    @property
    def waits(self) -> bool:
        """Whether it is to be placed still."""
        return self.state == "waiting" or self.state == "held"


class Lane:
    """Waiting tasks that any worker treats alike.

    ``groups`` are those whose workers can run them, ``offers`` the same with their
    scores, in the order in which they are to be had: ``levels`` are the seconds by
    which the lane gives way to scarcer work, and how many of the offers that opens.
    """

    __slots__ = (
        *(
            "active",
            "alarm",
            "backlog",
            "facts",
            "groups",
            "heap",
            "keys",
            "level",
            "levels",
            "live",
        ),
        *("missing", "offers", "offsets", "priority_class", "scores", "serial"),
        *("settled", "source", "tenant", "threads", "want"),
    )

    def __init__(
        self,
        want: Want,
        priority_class: str,
        tenant: str,
        facts: dict[str, Any],
        serial: int,
    ) -> None:
        self.want = want
        self.priority_class = priority_class
        self.tenant = tenant
        self.facts = facts
        self.serial = serial
        self.heap: list[tuple[float, int, Task]] = []
        self.live = 0
        self.groups: list[Group] = []
        self.threads = 0  # of all these groups
        self.offers: list[tuple[Group, int]] = []
        self.scores: dict[Group, int] = {}
        self.offsets: dict[Group, float] = {}
        self.levels: list[tuple[float, int]] = [(0.0, 0)]
        self.level = 0
        self.backlog: Backlog | None = None  # for forecasts, if anybody asks
        self.alarm = False  # whether it is looked at when its head is due
        # Where it waits for room: its key in each stall, and those it is not in.
        self.keys: dict[Stall, float] = {}
        self.missing: list[Stall] = []
        self.settled = -math.inf  # the due time of the head that they know
        self.active: float | None = None  # its key in the race for room
        self.source: Stall | None = None  # whose room let it race

    def arrange(self, offers: list[tuple[float, int, Group]]) -> None:
        """Set what it can have: seconds of giving way, score, group."""
        offers.sort(key=lambda offer: (offer[0], -offer[1], offer[2].index))
        self.offers = [(group, score) for _, score, group in offers]
        self.scores = dict(self.offers)
        self.offsets = {group: offset for offset, _, group in offers}
        self.levels = []
        for count, (offset, _, _) in enumerate(offers, start=1):
            if self.levels and self.levels[-1][0] == offset:
                self.levels.pop()
            self.levels.append((offset, count))
        self.levels = self.levels or [(0.0, 0)]
        self.level = 0
        self.unsettle()

    @property
    def able(self) -> int:
        """How many workers can run its tasks."""
        wanted = self.want.workers
        if wanted is None:
            return sum(len(group.members) for group in self.groups)
        return sum(name in group.members for group in self.groups for name in wanted)

    def unsettle(self) -> None:
        """It must be put in its place anew, in every stall of its groups."""
        shape = self.want.shape
        self.keys = {}
        self.settled = -math.inf
        self.missing = [group.stall(shape) for group, _ in self.offers]

    def head(self) -> Task | None:
        """The most urgent task; those that are gone are dropped when they are met."""
        heap = self.heap
        while heap:
            due, _, task = heap[0]
            if task.lane is self and task.due == due:
                return task
            heappop(heap)
        return None

    def push(self, task: Task) -> None:
        """Take in a task that is not in the lane."""
        task.lane = self
        self.live += 1
        if self.backlog is not None:
            self.backlog.add(task.due, task.work_s)
        heappush(self.heap, (task.due, task.seq, task))

    def removed(self, task: Task) -> None:
        """One of its tasks has gone; the heap forgets it when it meets it."""
        self.live -= 1
        if self.backlog is not None:
            self.backlog.remove(task.due, task.work_s)
        if len(self.heap) > 2 * self.live + 64:
            self.heap = [(task.due, task.seq, task) for task in self.tasks()]
            heapify(self.heap)

    def tasks(self) -> Iterator[Task]:
        """All that wait, each once, the most urgent about first."""
        seen: set[int] = set()
        for due, seq, task in self.heap:
            if task.lane is self and task.due == due and seq not in seen:
                seen.add(seq)
                yield task


class Lanes:
    """All lanes, the tasks in them by key, and the race of those that may have room."""

    def __init__(self) -> None:
        self.tasks: dict[Key, Task] = {}
        self.held_of: Counter[str] = Counter()  # by class
        self._lanes: dict[tuple[Any, ...], Lane] = {}
        self._serial = 0
        self._race: list[tuple[float, int, int, Lane]] = []

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def __len__(self) -> int:
        return len(self._lanes)

    @property
    def held(self) -> int:
        """How many tasks wait for something other than a worker."""
        return self.held_of.total()

    def find(self, key: tuple[Any, ...]) -> Lane | None:
        """The lane of tasks that are alike in this."""
        return self._lanes.get(key)

    def added(
        self, key: tuple[Any, ...], want: Want, ask: Ask, facts: dict[str, Any]
    ) -> Lane:
        """A new lane for tasks like this one."""
        self._serial += 1
        lane = Lane(want, ask.priority_class, ask.tenant, facts, self._serial)
        self._lanes[key] = lane
        return lane

    def hold(self, task: Task) -> None:
        """A task waits for something other than a worker."""
        self.tasks[task.key] = task
        self.held_of[task.ask.priority_class] += 1

    def take(self, task: Task) -> None:
        """A task waits no longer."""
        del self.tasks[task.key]
        lane, task.lane = task.lane, None
        if lane is not None:
            lane.removed(task)
        else:
            self.held_of[task.ask.priority_class] -= 1

    def race(
        self, lane: Lane, key: float, seq: int, source: Stall | None = None
    ) -> None:
        """Let a lane try to get room; earlier, if it races already."""
        if lane.active is not None:
            if lane.active <= key:
                return
        else:
            lane.source = source
        lane.active = key
        heappush(self._race, (key, seq, lane.serial, lane))

    def next_key(self) -> float | None:
        """The key of the lane whose turn it is."""
        race = self._race
        while race and race[0][3].active != race[0][0]:
            heappop(race)
        return race[0][0] if race else None

    def turn(self) -> Lane:
        """The lane whose turn it is; it is out of the race then."""
        lane = heappop(self._race)[3]
        lane.active = None
        return lane

    def clear(self) -> None:
        """Forget everything."""
        self.tasks.clear()
        self.held_of.clear()
        self._lanes.clear()
        self._race.clear()

    def drop_empty(self) -> None:
        """Forget lanes in which nobody waits."""
        self._lanes = {k: lane for k, lane in self._lanes.items() if lane.live}

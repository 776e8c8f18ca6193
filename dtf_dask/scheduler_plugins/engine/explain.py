"""Why a task waits, or why it runs where it runs, in words to act on. Pure."""

from __future__ import annotations

from dtf_dask.explanation import Explanation, Lack
from dtf_dask.quantities import format_duration
from dtf_dask.scheduler_plugins.engine.after import Afters
from dtf_dask.scheduler_plugins.engine.choose import Chooser
from dtf_dask.scheduler_plugins.engine.core import Core
from dtf_dask.scheduler_plugins.engine.forecast import Forecast
from dtf_dask.scheduler_plugins.engine.gang import Gangs
from dtf_dask.scheduler_plugins.engine.lanes import Lane, Task
from dtf_dask.scheduler_plugins.engine.match import needs_text
from dtf_dask.scheduler_plugins.engine.terms import Key

_LACKS_MAX = 20
_SHOWN_MAX = 5
_MEMBERS_MAX = 200


class Explainer:
    """Answers for one task at a time."""

    def __init__(
        self,
        core: Core,
        chooser: Chooser,
        gangs: Gangs,
        afters: Afters,
        forecast: Forecast,
    ) -> None:
        self._core = core
        self._chooser = chooser
        self._gangs = gangs
        self._afters = afters
        self._forecast = forecast

    def explain(self, key: Key, now: float) -> Explanation | None:
        """What is known of it; None if nothing is."""
        core = self._core
        task = core.running.get(key)
        if task is not None:
            return self._granted(task, now)
        task = core.lanes.tasks.get(key)
        if task is not None:
            return self._waiting(task, now)
        past = core.past.get(key)
        if past is not None:
            return self._granted(past, now)
        left = self._afters.left(key)
        if left:
            return Explanation(key, "held", "", why=_runs_after(left))
        return None

    def _granted(self, task: Task, now: float) -> Explanation:
        place = task.place
        assert place is not None
        return Explanation(
            key=task.key,
            state="running",
            needs=needs_text(task.want),
            worker=place.name,
            why=self._decision(task, now),
        )

    def _decision(self, task: Task, now: float) -> str:
        """The words of a decision that was taken."""
        place, settings = task.place, self._core.settings
        assert place is not None
        waited = format_duration(round(max(0.0, task.granted_at - task.ready_at), 3))
        words = [f"waited {waited}", f"a worker of kind {place.kind}"]
        if task.queued:
            words.append("held there until a thread is free, for it is short")
        prefer = task.want.prefer
        if prefer is not None:
            score = prefer.score(place.offer.facts)
            words.append(f"preferred by {score} of 100 ({prefer})")
        learned = self._core.placement.score(task.ask.name, place.kind)
        if settings.weight_learned and learned != 50:
            words.append(f"{learned} of 100 by how fast such tests ran there")
            fastest = self._core.placement.fastest(task.ask.name)
            if fastest is not None:
                sure = f"{fastest.confidence:.0%} sure"
                words.append(f"fastest on {fastest.group}, {sure}")
        near = task.ask.near.get(place.name)
        if near:
            share = near / sum(task.ask.near.values())
            words.append(f"holds {share:.0%} of its inputs")
        if task.gpus:
            words.append(f"gpu {', '.join(map(str, task.gpus))}")
        if task.kill:
            words.append(f"is being ended: {task.kill}")
        if task.late_s is not None:
            early = format_duration(round(abs(task.late_s), 3))
            when = "after" if task.late_s > 0 else "before"
            words.append(f"ended {early} {when} its deadline")
        return "; ".join(words)

    def _waiting(self, task: Task, now: float) -> Explanation:
        core = self._core
        lane = core.lane_of(task)
        lacks, busy = self._workers(task, lane, now)
        held = self._held(task)
        position = eta_s = None
        if not held and lane.groups:
            position = self._position(task, lane)
            eta_s = self._eta_s(task, lane, now)
        return Explanation(
            key=task.key,
            state="held" if task.state == "held" else "waiting",
            needs=needs_text(task.want),
            lacks=lacks,
            busy=busy,
            position=position,
            eta_s=eta_s,
            why=held,
            help=self._help(task, lane, busy),
        )

    def _held(self, task: Task) -> str:
        """What it waits for that is no worker, in words."""
        core, unit = self._core, task.unit
        left = self._afters.left(task.key)
        if left:
            return _runs_after(left)
        if unit is not None and not unit.large:
            ready = len(unit.tasks) + len(unit.started)
            if not unit.complete:
                return f"its gang {unit.name!r}: {ready} of {unit.size} are ready"
            if unit.kept:
                names = ", ".join(place.name for place in unit.kept[:_SHOWN_MAX])
                return f"its gang {unit.name!r}: workers are kept free for it ({names})"
            return f"its gang {unit.name!r}: {len(unit.tasks)} workers at once"
        if unit is not None and unit.kept:
            return f"worker {unit.kept[0].name} is kept free for it"
        words = core.tokens.lacks(task.want.tokens)
        if words:
            return "; ".join(words)
        return core.tenants.may_start(task.ask.tenant, task.want.need.amounts)

    def _workers(
        self, task: Task, lane: Lane, now: float
    ) -> tuple[tuple[Lack, ...], int]:
        """What workers lack, and how many could run it and have no room."""
        core = self._core
        found: dict[tuple[str, ...], list[str]] = {}
        busy = 0
        bars = self._chooser.bars(task, lane, now)
        wanted = task.want.workers
        for group in core.places.groups:
            reasons = group.refuses(lane)
            if reasons:
                for number, (name, place) in enumerate(group.members.items()):
                    # Alike in the answer, they may differ in what they have.
                    if number and number < _MEMBERS_MAX:
                        reasons = group.refuses(lane, place)
                    found.setdefault(reasons, []).append(name)
                continue
            for name, place in group.members.items():
                words = ""
                if wanted is not None and name not in wanted:
                    words = "is not one of the workers asked for"
                elif place.barred:
                    words = core.breakers.allows(name, "", "", now) or place.barred
                elif bars is not None and bars(place):
                    words = self._bar(task, place.name, now)
                if words:
                    found.setdefault((words,), []).append(name)
                else:
                    busy += 1
        lacks = [
            Lack(len(names), min(names), reasons) for reasons, names in found.items()
        ]
        lacks.sort(key=lambda lack: (-lack.workers, lack.example))
        return tuple(lacks[:_LACKS_MAX]), busy

    def _bar(self, task: Task, name: str, now: float) -> str:
        place = self._core.places.workers[name]
        if name in task.ask.avoid:
            return "it failed there, and there are others"
        ask = task.ask
        words = self._core.breakers.allows(name, ask.name, place.kind, now)
        if not words and self._core.policies.filters:
            words = "; ".join(self._core.policies.filter(ask, place.view()))
        kept = None if words else next(self._chooser.kept(place, task), None)
        if kept is not None:
            unit, other = kept
            whose = "a larger task" if unit.large else f"the gang {unit.name!r}"
            what = "it is" if other is place else "a device that it shares is"
            words = f"{what} kept free for {whose}"
        return words or "a policy rules it out"

    def _position(self, task: Task, lane: Lane) -> int:
        """How many are more urgent, among those that can have some of its workers."""
        first = (task.due, task.seq)
        count = 0
        for other in self._core.lanes:
            if other.live and not lane.scores.keys().isdisjoint(other.scores):
                count += sum(1 for one in other.tasks() if (one.due, one.seq) < first)
        return count

    def _eta_s(self, task: Task, lane: Lane, now: float) -> float | None:
        unit = task.unit
        if unit is not None and unit.kept:
            return max(0.0, unit.start_at - now)
        if not lane.threads:
            return None
        return self._forecast.ahead_s(lane, task.due, now) / lane.threads

    def _help(self, task: Task, lane: Lane, busy: int) -> str:
        """What would let it run."""
        needs = needs_text(task.want)
        never = self._core.tokens.never(task.want.tokens)
        if never:
            return f"start workers that bring what is missing: {'; '.join(never)}"
        if not lane.groups:
            return f"start a worker with {needs}"
        unit = task.unit
        if unit is not None and not unit.large:
            able = lane.able
            if able < unit.size:
                return f"start {unit.size - able} more workers with {needs}"
            if not unit.complete:
                return "submit the other members of its gang"
        if not busy:
            return f"start a worker with {needs}, or look at those that are shut"
        return ""


def _runs_after(left: tuple[Key, ...]) -> str:
    few = ", ".join(str(key)[:100] for key in left[:_SHOWN_MAX])
    more = len(left) - _SHOWN_MAX
    return f"it runs after {few}" + (f" and {more} more" if more > 0 else "")

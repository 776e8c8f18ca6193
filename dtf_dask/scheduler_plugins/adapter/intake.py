"""Which of Dask's tasks are the engine's, and what they ask."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from distributed.scheduler import TaskState

from dtf_dask.annotation_values import DURATION_S_MAX, TASK_NAME_LENGTH_MAX
from dtf_dask.errors import TaskRefusedError
from dtf_dask.hints import shown
from dtf_dask.scheduler_plugins.adapter import asks, upstream
from dtf_dask.scheduler_plugins.adapter.actors import Actors
from dtf_dask.scheduler_plugins.adapter.asks import NOTHING, Own, Wishes
from dtf_dask.scheduler_plugins.adapter.governed import Governed, Key
from dtf_dask.scheduler_plugins.adapter.holding import Holding, error_of
from dtf_dask.scheduler_plugins.engine.terms import Ask

ANNOTATION = "dtf"
_NEAR_INPUTS_MAX = 64
_KNOWN_MAX = 1024
_SHOWN_MAX = 5
OVER = frozenset({"memory", "erred", "forgotten"})
"""States of Dask in which a task is over, at least for now."""
_OWN = ("name", "deadline", "expected")
_Read = tuple[Wishes | TaskRefusedError, Own | None]


class Intake:
    """Reads tasks as they are submitted, and once more when they are ready.

    Parameters
    ----------
    govern_all
        Whether plain root tasks are the engine's too, and not only those that ask
        something of it.
    """

    def __init__(
        self, holding: Holding, *, govern_all: bool, default_class: str
    ) -> None:
        self._holding = holding
        self._govern_all = govern_all
        self._default_class = default_class
        self.actors = Actors(holding, default_class=default_class)
        self._plain = replace(asks.PLAIN, priority_class=default_class)
        self._awaited: dict[Key, list[Governed]] = {}
        self._strict: dict[Key, list[Governed]] = {}  # run after it only if it did well
        self._restricted: dict[Key, None] = {}
        self._recalled: dict[Key, Governed] = {}
        self._known: dict[Any, Wishes | TaskRefusedError] = {}
        # Most tasks of a graph have one object for their annotation.
        self._newest: tuple[Any, _Read] = (None, (self._plain, NOTHING))

    def submitted(self, keys: Iterable[Key]) -> None:
        """Tasks came, and none of them has been moved yet."""
        holding = self._holding
        now, wall_now = holding.clock(), holding.wall()
        special: list[Governed] = []
        for key in keys:
            ts = holding.scheduler.tasks[key]
            if ts.actor and ts.state == "released":
                self.actors.submitted(ts)
            if key in holding.tasks or not self.governs(ts):
                continue
            if ts.state != "released" and not holding.recalling:
                continue
            task, refused = self._taken(ts, now, wall_now)
            holding.tasks[key] = task
            holding.places[key] = None
            if ts.dependencies:
                holding.unready[key] = None
            if refused is not None:
                holding.refuse(task, refused)
            elif task.wishes is not self._plain:
                if task.wishes.retries is not None and not ts.retries:
                    ts.retries = task.wishes.retries
                special.append(task)
        if holding.recalling:  # what they wait for is known when all is told
            self._recalled.update((task.key, task) for task in special)
            return
        # Only now, for a task may name one that came with it.
        for task in special:
            if task.ask.after:
                self._look_out(task)
                self._wait_for_foreign(task)
        self._admit(special, now)

    def governs(self, ts: TaskState) -> bool:
        """Whether a task is the engine's: it asks something, or it is a plain root.

        An actor never is: Dask cannot hold one; see `actors`.
        """
        if ts.actor or ts.run_spec is None:
            return False
        if ts.resource_restrictions or (
            ts.annotations and ANNOTATION in ts.annotations
        ):
            return True
        restricted = ts.worker_restrictions or ts.host_restrictions
        return self._govern_all and not ts.dependencies and not restricted

    def over(self, key: Key, finish: str) -> None:
        """A task is over, for whoever waits for just that."""
        if self._strict:
            self._tell_strict(key, finish)
        if self._awaited:
            for task in self._awaited.pop(key, ()):
                assert task.after is not None
                task.after.discard(key)
                if not task.after and task.stage == "after":
                    task.stage = "known"
                    self._holding.arrive(task)

    def ask_now(self, task: Governed, ts: TaskState) -> Ask:
        """What it asks, with what is known only now that its inputs are there."""
        changed: dict[str, Any] = {}
        posts = self._holding.posts
        if task.avoid:
            changed["avoid"] = task.avoid
        if ts.dependencies:
            changed["near"] = posts.holders(ts, _NEAR_INPUTS_MAX)
        restricted = ts.worker_restrictions or ts.host_restrictions
        if restricted and not ts.loose_restrictions:
            self._restricted[task.key] = None
            names = posts.names(ts.worker_restrictions, ts.host_restrictions)
            changed["need"] = replace(task.wishes.need, workers=names)
        if changed:
            task.ask = replace(task.ask, **changed)
        return task.ask

    def worker_joined(self) -> None:
        """Dask's restrictions name addresses and hosts: a new worker may be meant."""
        restricted, self._restricted = self._restricted, {}
        for key in restricted:
            task = self._holding.tasks.get(key)
            if task is not None and task.stage == "held":
                self._holding.engine.withdraw(key, self._holding.clock())
                task.stage = "known"
                self._holding.arrive(task)

    def recalled(self) -> list[Governed]:
        """Tasks of old that want more than a place, as they were submitted; once."""
        recalled, self._recalled = self._recalled, {}
        return list(recalled.values())

    def link(self, task: Governed) -> None:
        """See for whom a task of old waits still: who is forgotten has ended."""
        if task.ask.after:
            tasks = self._holding.scheduler.tasks
            left = tuple(key for key in task.ask.after if key in tasks)
            task.ask = replace(task.ask, after=left)
            self._look_out(task)
            self._wait_for_foreign(task)

    def forgotten(self, key: Key) -> None:
        """A task is no more."""
        self._recalled.pop(key, None)

    def clear(self) -> None:
        """No task is there any more."""
        self._recalled.clear()
        self.actors.clear()
        self._awaited.clear()
        self._strict.clear()
        self._restricted.clear()

    def _taken(
        self, ts: TaskState, now: float, wall_now: float
    ) -> tuple[Governed, TaskRefusedError | None]:
        wishes, own = self._read(ts)
        name = ts.prefix.name
        # A submission that was written down counts from then, whoever reads it.
        at_s = getattr(ts.run_spec, "at_s", None)
        if at_s is not None and at_s < wall_now:
            now, wall_now = now - (wall_now - at_s), at_s
        if isinstance(wishes, TaskRefusedError):
            plain = Ask(ts.key, name, asks.PLAIN.need)
            return Governed(ts.key, plain, asks.PLAIN, now), wishes
        assert ts.priority is not None
        refused = None
        try:
            ask = asks.ask(
                ts.key,
                name,
                wishes,
                now=now,
                wall_now=wall_now,
                priority=-ts.priority[0],
                nested=ts.priority[1] % 1 != 0,
                own=own,
            )
        except TaskRefusedError as error:
            refused, ask = error, Ask(ts.key, name, wishes.need)
        if wishes.upstream.edges and refused is None:
            refused = _edges_refused(ts, wishes)
        return Governed(ts.key, ask, wishes, now), refused

    def _read(self, ts: TaskState) -> _Read:
        annotation = ts.annotations.get(ANNOTATION) if ts.annotations else None
        resources = ts.resource_restrictions
        if resources:
            return self._read_both(annotation, resources)
        if annotation is None:
            return self._plain, NOTHING
        if annotation is not self._newest[0]:
            self._newest = (annotation, self._read_both(annotation, None))
        return self._newest[1]

    def _read_both(self, annotation: Any, resources: Any) -> _Read:
        try:
            # Tasks that ask the same share what was read, whatever these are.
            rest = dict(annotation or ())
            name, deadline = rest.pop("name", None), rest.pop("deadline", None)
            own = Own(name, deadline, rest.pop("expected", None))
            values = rest.values()
            known = (*rest, *values, *map(type, values), *(resources or {}).items())
            found = self._known.get(known)
        except (TypeError, ValueError):  # no mapping, or it holds lists
            return self._read_anew(annotation, resources), None
        if found is None:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            found = self._known[known] = self._read_anew(rest, resources)
        if own == NOTHING or isinstance(found, TaskRefusedError):
            return found, NOTHING
        if not _is_plain(own):
            said = dict(zip(_OWN, own, strict=True))
            read = self._read_anew(said, None)
            if isinstance(read, TaskRefusedError):
                return read, None
            own = read.own
        return found, own

    def _read_anew(
        self, annotation: object, resources: object
    ) -> Wishes | TaskRefusedError:
        try:
            return asks.read(annotation, resources, self._default_class)
        except TaskRefusedError as error:
            return error

    def _look_out(self, task: Governed) -> None:
        """For the failure of those that it does not want to run after if they fail."""
        key: Key
        for key in task.ask.after:
            ts = self._holding.scheduler.tasks.get(key)
            if ts is None or (word := task.wishes.upstream.of_after(key)) == "run":
                continue
            if ts.state == "erred":
                self._holding.doom(
                    task, upstream.without(word, key, upstream.reason(ts))
                )
            elif ts.state not in OVER:
                self._strict.setdefault(key, []).append(task)

    def _tell_strict(self, key: Key, finish: str) -> None:
        strict = self._strict.pop(key, ())
        if not strict or finish == "memory":
            return
        ts = self._holding.scheduler.tasks.get(key)
        why = None if finish == "forgotten" or ts is None else upstream.reason(ts)
        for task in strict:
            word = task.wishes.upstream.of_after(key)
            self._holding.doom(task, upstream.without(word, key, why))

    def _wait_for_foreign(self, task: Governed) -> None:
        """Of the tasks that it runs after, look oneself for those not the engine's."""
        holding = self._holding
        keep, after = [], set()
        key: Key
        for key in task.ask.after:
            ts = holding.scheduler.tasks.get(key)
            if ts is not None and ts.state in OVER:
                continue
            if key in holding.tasks or ts is None:
                keep.append(key)  # the engine knows it, or refuses it
            else:
                after.add(key)
                self._awaited.setdefault(key, []).append(task)
        task.after = after
        task.ask = replace(task.ask, after=tuple(keep))

    def _admit(self, tasks: list[Governed], now: float) -> None:
        if not tasks:
            return
        ours = self._holding.tasks
        asks = [task.ask for task in tasks]
        answers = self._holding.engine.admit(asks, now, known=ours.__contains__)
        for task, answer in zip(tasks, answers, strict=True):
            task.note = answer.warning
            if answer.refused is not None:
                self._holding.refuse(task, error_of(answer.refused))


def _edges_refused(ts: TaskState, wishes: Wishes) -> TaskRefusedError | None:
    known = {dts.key for dts in ts.dependencies} | set(wishes.after)
    strangers = wishes.upstream.strangers(known)
    if not strangers:
        return None
    few = ", ".join(shown(key) for key in sorted(known, key=str)[:_SHOWN_MAX])
    more = f" and {len(known) - _SHOWN_MAX} more" if len(known) > _SHOWN_MAX else ""
    return TaskRefusedError(
        f"this task is refused: on_upstream_failure names {shown(strangers[0])}, on "
        f"which it does not depend; it depends on {few or 'nothing'}{more}"
    )


def _is_plain(own: Own) -> bool:
    """Whether all of it is as `annotations.validate` returns it."""
    name, deadline, expected_s = own
    if name is not None and not (
        isinstance(name, str)
        and 0 < len(name) <= TASK_NAME_LENGTH_MAX
        and name.isprintable()
    ):
        return False
    return (deadline is None or _in_seconds(deadline)) and (
        expected_s is None or _in_seconds(expected_s)
    )


def _in_seconds(value: object) -> bool:
    return isinstance(value, float) and 0 < value <= DURATION_S_MAX

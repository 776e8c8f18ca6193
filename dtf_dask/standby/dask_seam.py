"""What the shadow and the leader lean on in Dask's scheduler, to have tasks made.

`broken` names what an installed version no longer has; a contract test keeps it empty.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Mapping
from inspect import signature
from typing import Any

from distributed import Scheduler
from distributed.client import SourceCode
from distributed.scheduler import ClientState, Computation, TaskState

from dtf_dask.standby.dask_moving import transitions, waiting
from dtf_dask.standby.dask_takeover import made_of
from dtf_dask.standby.graphs import opaque_tasks
from dtf_dask.standby.submitted import Submitted
from dtf_dask.submission.table import Row

Key = Any
"""Dask's keys are narrower than those of tables, and its scheduler is typed by them."""
VERSIONS = ("2026.3", "2026.8")
"""The oldest and the newest release of distributed that the tests were run with."""

AT_ONCE = 1_000
"""Tasks that are made before others have a turn: some tens of milliseconds."""
_NOT_YET = frozenset({"workers", "restrictions"})
"""Annotations that mean something only where workers are known."""

_CALLED: dict[str, tuple[str, ...]] = {
    "new_task": ("key", "spec", "state", "computation"),
    "_apply_annotations": ("tasks", "annotations_by_type", "global_annotations"),
    "_set_priorities": (
        *("internal_priority", "submitting_task", "user_priority"),
        *("fifo_timeout", "start", "tasks"),
    ),
    "client_desires_keys": ("keys", "client"),
    "_client_releases_keys": ("keys", "cs", "recommendations"),
    "stimulus_queue_slots_maybe_opened": ("stimulus_id",),
    "transitions": ("recommendations", "stimulus_id"),
    "_transition": ("key", "finish", "stimulus_id"),
    "send_all": ("client_msgs", "worker_msgs"),
    "report": ("msg", "ts", "client"),
    "report_on_key": ("key", "client"),
    "remove_client": ("client", "stimulus_id"),
    "stimulus_retry": ("keys", "client"),
    "_clear_task_state": (),
}


def broken() -> tuple[str, ...]:
    """Say what is missing of what the functions below use; empty if all is there."""
    missing = []
    for name, parameters in _CALLED.items():
        function = getattr(Scheduler, name, None)
        if function is None:
            missing.append(f"Scheduler.{name}")
            continue
        known = signature(function).parameters
        missing += [
            f"Scheduler.{name}({one})" for one in parameters if one not in known
        ]
    missing += [
        f"TaskState.{name}"
        for name in (
            *("run_spec", "dependencies", "dependents", "who_wants", "annotations"),
            *("priority", "actor", "exception_blame", "retries", "suspicious"),
            *("host_restrictions", "worker_restrictions", "loose_restrictions"),
            *("resource_restrictions", "add_dependency"),
        )
        if not hasattr(TaskState, name)
    ]
    if SourceCode._fields[0] != "code":
        missing.append("SourceCode.code")
    return tuple(missing)


def make_tasks(
    scheduler: Any,
    given: Submitted,
    at_s: float,
    rows: Collection[tuple[int, Row]],
    *,
    schedules: bool,
    anew: Collection[Key] = (),
) -> Generator[None, None, list[TaskState]]:
    """Make the tasks of a submission, ``released``; answers those that are new.

    It pauses after each `AT_ONCE`, for others to have a turn.

    Parameters
    ----------
    rows
        Those of them that are to be made; what they need is known, or among them.
    schedules
        Whether workers are known, by which restrictions mean something.
    anew
        Keys that are known, and to be made all the same.
    """
    specs = opaque_tasks(given.table, at_s)
    computation = _computation(scheduler, given)
    made: list[TaskState] = []
    waiting = list(rows)
    for begin in range(0, len(waiting), AT_ONCE):
        if begin:
            yield
        part = waiting[begin : begin + AT_ONCE]
        new: list[TaskState] = []
        touched = [
            _task(scheduler, row.key, specs[row.key], computation, new, anew)
            for _, row in part
        ]
        made += new
        _annotate(scheduler, touched, part, new, schedules=schedules)
        scheduler._set_priorities(
            internal_priority={row.key: place for place, row in part},
            submitting_task=given.submitting_task,
            user_priority=0,
            fifo_timeout=given.fifo_timeout,
            start=at_s,
            tasks=touched,
        )
        _observe(scheduler, touched, given)
    for key in given.actors:
        if key in scheduler.tasks:
            scheduler.tasks[key].actor = True
    return made


def submit(
    scheduler: Any, client: str, given: Submitted, why: str, *, schedules: bool
) -> Generator[None, None, None]:
    """Tell plugins of a submission's tasks, and have those run that are wanted.

    Parameters
    ----------
    schedules
        Without, nothing runs; only what depends on a failure fails.
    """
    tasks = scheduler.tasks
    touched = [tasks[row.key] for _, row in given.rows if row.key in tasks]
    wanted = set(given.table.wanted)
    keys = wanted.difference(ts.key for ts in touched)  # those that were known
    for begin in range(0, max(1, len(touched)), AT_ONCE):
        if begin:
            yield
        part = touched[begin : begin + AT_ONCE]
        keys.update(ts.key for ts in part if ts.key in wanted)
        tell_plugins(scheduler, client, part, keys, why)
        keys = set()
    recommended: dict[Key, Any] = {}
    if schedules:
        recommended = waiting(tasks[key] for key in given.table.wanted if key in tasks)
    for ts in touched:
        for dts in ts.dependencies:
            if dts.exception_blame:
                ts.exception_blame = dts.exception_blame
                recommended[ts.key] = "erred"
                break
    if len(touched) <= AT_ONCE:
        if recommended:
            scheduler.transitions(recommended, why)
    else:
        yield from transitions(scheduler, recommended, why)


def tell_plugins(
    scheduler: Any,
    client: str,
    tasks: Iterable[TaskState],
    wanted: set[Key],
    why: str,
) -> None:
    """Have plugins hear of tasks as they do of a graph."""
    plugins = list(scheduler.plugins.values())
    if not plugins:
        return
    annotations: dict[str, dict[Key, Any]] = {}
    keys = []
    priority = {}
    for ts in tasks:
        keys.append(ts.key)
        priority[ts.key] = ts.priority
        for name, value in (ts.annotations or {}).items():
            annotations.setdefault(name, {})[ts.key] = value
    for plugin in plugins:
        try:
            plugin.update_graph(
                scheduler,
                client=client,
                keys=wanted,
                tasks=keys,
                annotations=annotations,
                priority=priority,
                stimulus_id=why,
            )
        except Exception:
            # As Dask does: a plugin of somebody else fails alone.
            scheduler_log().exception("a plugin failed in update_graph")


def scheduler_log() -> Any:
    """Where Dask's scheduler logs."""
    import logging

    return logging.getLogger("distributed.scheduler")


def known_client(scheduler: Any, client: str) -> ClientState:
    """A client's state, which is made if there is none."""
    found = scheduler.clients.get(client)
    if found is None:
        found = scheduler.clients[client] = ClientState(client)
    return found


def restrict(scheduler: Any, tasks: Iterable[TaskState]) -> None:
    """Bind tasks to workers by their annotations, now that workers are known."""
    for ts in tasks:
        if ts.annotations and is_restricted(ts):
            _apply(scheduler, [ts], ts.annotations)


def is_restricted(ts: TaskState) -> bool:
    """Whether a task is bound to workers by what it is annotated with."""
    return bool(ts.annotations) and not _NOT_YET.isdisjoint(ts.annotations or ())


def _task(
    scheduler: Any,
    key: Key,
    spec: Any,
    computation: Computation,
    new: list[TaskState],
    anew: Collection[Key],
) -> TaskState:
    tasks = scheduler.tasks
    ts = tasks.get(key)
    if ts is None:
        ts = scheduler.new_task(key, spec, "released", computation=computation)
        new.append(ts)
    elif key in anew:
        make_anew(ts, spec)
        new.append(ts)
    elif ts.run_spec is None:
        spec.made = made_of(ts)  # what workers have is the value that was scattered
        ts.run_spec = spec
    elif len(ts.dependencies) != len(spec.dependencies) or any(
        dts.key not in spec.dependencies for dts in ts.dependencies
    ):
        scheduler_log().warning(
            "%r was submitted again with other dependencies, while it is known by the"
            " first: the first ones stay. Use other keys for other tasks",
            key,
        )
        return ts
    for dependency in spec.dependencies:
        ts.add_dependency(tasks[dependency])
    return ts


def is_value(ts: TaskState | None) -> bool:
    """Whether a task was scattered, and is nothing that could be computed yet."""
    return ts is not None and ts.run_spec is None


def make_anew(ts: TaskState, spec: Any) -> None:
    """Have a task be another one of its key, as if it had been forgotten before."""
    for dts in ts.dependencies:
        dts.dependents.discard(ts)
    ts.dependencies.clear()
    ts.run_spec, ts.annotations, ts.priority = spec, None, None


def _annotate(
    scheduler: Any,
    touched: Iterable[TaskState],
    part: Iterable[tuple[int, Row]],
    made: list[TaskState],
    *,
    schedules: bool,
) -> None:
    if not made:
        return
    new = {ts.key for ts in made}
    groups: dict[int, tuple[Mapping[str, Any], list[TaskState]]] = {}
    for ts, (_, row) in zip(touched, part, strict=True):
        if row.annotations and ts.key in new:
            groups.setdefault(id(row.annotations), (row.annotations, []))[1].append(ts)
    for shared, tasks in groups.values():
        if schedules or _NOT_YET.isdisjoint(shared):
            _apply(scheduler, tasks, shared)
            continue
        _apply(
            scheduler,
            tasks,
            {name: one for name, one in shared.items() if name not in _NOT_YET},
        )
        for ts in tasks:
            ts.annotations = dict(shared)


def _apply(
    scheduler: Any, tasks: list[TaskState], annotations: Mapping[str, Any]
) -> None:
    scheduler._apply_annotations(
        tasks=tasks, annotations_by_type={}, global_annotations=dict(annotations)
    )


def _computation(scheduler: Any, given: Submitted) -> Computation:
    if scheduler.computations and not scheduler.is_idle:
        computation = scheduler.computations[-1]
    else:
        computation = Computation()
        scheduler.computations.append(computation)
    if given.code:
        computation.code.add(_code(given))
    return computation


def _code(given: Submitted) -> tuple[SourceCode, ...]:
    return tuple(SourceCode(*one) for one in given.code)


def _observe(scheduler: Any, touched: Iterable[TaskState], given: Submitted) -> None:
    spans = scheduler.extensions.get("spans")
    if spans is not None:
        collections: Any = given.span.get("collections")
        spans.observe_tasks(
            touched,
            code=_code(given),
            span_metadata={"collections": list(collections)} if collections else {},
        )

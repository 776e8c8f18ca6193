"""The private names of Dask's scheduler by which a failure spreads, or does not.

Nothing here decides. All failures go through the few entries of Dask's table of
transitions that end in "erred": those of a worker's word, of workers that died, of
time limits, and of tasks that we let fail ourselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from dask._task_spec import DataNode
from distributed import Scheduler
from distributed.protocol import Serialized, serialize
from distributed.scheduler import TaskState

Found: TypeAlias = Mapping[TaskState, BaseException] | BaseException | None
_Table: TypeAlias = Mapping[tuple[Any, Any], Callable[..., Any]]


class Settled(NamedTuple):
    """What becomes of the dependents of a task that fails; the others fail with it.

    Parameters
    ----------
    runs
        They run all the same, and get this in place of the result.
    skipped
        They fail with this instead.
    """

    runs: dict[TaskState, BaseException]
    skipped: dict[TaskState, BaseException]


def watched(
    table: _Table,
    failing: Callable[[TaskState, list[TaskState], str], Settled | None],
    failed: Callable[[TaskState, list[TaskState]], Found],
) -> dict[tuple[Any, Any], Callable[..., Any]]:
    """Dask's table of transitions, asking how failures spread.

    Parameters
    ----------
    failing
        Hears of a task that is about to fail, its dependents that would fail with it,
        and why; says what becomes of them.
    failed
        Hears of a task that is about to fail because some that it depends on had
        failed before it was submitted. It runs, with these in place of their results;
        or fails with another error; or as in Dask.
    """
    return {
        (start, finish): (
            _watched(start, act, failing, failed) if finish == "erred" else act
        )
        for (start, finish), act in table.items()
    }


def _watched(start: str, act: Any, failing: Any, failed: Any) -> Callable[..., Any]:
    def erred(state: Any, key: Any, stimulus_id: str, **more: Any) -> Any:
        ts: TaskState = state.tasks[key]
        if start == "released" and ts.exception_blame is not ts:
            broken = [dts for dts in ts.dependencies if dts.exception_blame]
            found = failed(ts, broken)
            if isinstance(found, BaseException):
                blame_itself(ts, found)
            elif found is not None:
                for dts in broken:
                    cut(ts, dts, found[dts])
                ts.exception_blame = None
                wanted = ts.who_wants or ts.waiters
                return {**({key: "waiting"} if wanted else {}), **_left(broken)}, {}, {}
        # As Dask does: of one that never ran, whoever has no result; else who waits.
        near = ts.dependents if start in ("released", "memory") else ts.waiters
        with_it = [
            dts
            for dts in near or ()
            if dts.state in ("waiting", "released") and not dts.who_has
        ]
        settled = failing(ts, with_it, _why(ts, more)) if with_it else None
        if settled is None:
            return act(state, key, stimulus_id, **more)
        for dts, error in settled.runs.items():
            cut(dts, ts, error)
        recommended, *messages = act(state, key, stimulus_id, **more)
        for dts, error in settled.skipped.items():
            blame_itself(dts, error)
        for dts in settled.runs:
            if dts.state == "waiting" and not dts.waiting_on:
                recommended[dts.key] = "processing"
        return {**recommended, **_left([ts] if settled.runs else ())}, *messages

    return erred


def fail(scheduler: Scheduler, key: Any, error: BaseException) -> None:
    """Let a task end with an error of ours, from whatever state it is in.

    As Dask does when it times out (`Scheduler._check_unrunnable_task_timeouts`).
    """
    ts = scheduler.tasks.get(key)
    if ts is None or ts.state in ("memory", "erred", "forgotten"):
        return
    why = f"dtf-fail-{time.time()}"
    if ts.state in ("waiting", "released") or (ts.actor and ts.state == "no-worker"):
        # There is no such entry in the table, or not for an actor: it goes the way of
        # those whose input failed, and is what failed itself.
        follow = {}
        if ts.state == "no-worker":
            follow = scheduler.transition(key, "released", stimulus_id=why)
        blame_itself(ts, error)
        scheduler.transitions({**follow, key: "erred"}, why)
    else:
        follow = scheduler.transition(
            key,
            "erred",
            exception=_packed(error),
            exception_text=str(error),
            cause=key,
            stimulus_id=why,
        )
        scheduler.transitions(follow, why)


def blame_itself(ts: TaskState, error: BaseException) -> None:
    """Let this be what a task fails with, once it does."""
    ts.exception, ts.exception_text = _packed(error), str(error)
    ts.exception_blame = ts


def cut(ts: TaskState, dts: TaskState, value: Any) -> None:
    """Let a task run with a value of ours instead of an input.

    Parameters
    ----------
    ts
        Which depends on ``dts``.
    value
        What it gets in its place.
    """
    assert ts.run_spec is not None
    ts.run_spec = ts.run_spec.substitute({dts.key: DataNode(None, value)})
    ts.dependencies.discard(dts)
    dts.dependents.discard(ts)
    if ts.waiting_on:
        ts.waiting_on.discard(dts)
    if dts.waiters:
        dts.waiters.discard(ts)
    ts.has_lost_dependencies = False


def _left(cut_off: Iterable[TaskState]) -> dict[Any, str]:
    """What nobody wants and nobody depends on any more: Dask would keep it for ever."""
    return {
        ts.key: "forgotten" for ts in cut_off if not ts.dependents and not ts.who_wants
    }


def _why(ts: TaskState, more: Mapping[str, Any]) -> str:
    """Why it fails, in words; Dask has none for some of its own errors."""
    blamed = ts.exception_blame or ts
    text = more.get("exception_text") or blamed.exception_text
    if not text and blamed.suspicious == 1:
        return "its worker died while it ran"
    if not text and blamed.suspicious:
        return f"{blamed.suspicious} workers died while they ran it"
    return str(text or "")


def _packed(error: BaseException) -> Any:
    return Serialized(*serialize(error))

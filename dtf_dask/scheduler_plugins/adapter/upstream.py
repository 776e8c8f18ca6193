"""What becomes of tasks when one that they depend on fails for good.

In Dask they all fail. Here a task may say that it is skipped, or that it runs all the
same and is given the error in place of the result.
"""

from __future__ import annotations

from collections.abc import Mapping

from distributed import Scheduler
from distributed.scheduler import TaskState

from dtf_dask.errors import UpstreamFailedError
from dtf_dask.scheduler_plugins.adapter import dask_grants
from dtf_dask.scheduler_plugins.adapter.governed import Governed, Key

_WORDS_MAX = 500


def settle(
    scheduler: Scheduler,
    tasks: Mapping[Key, Governed],
    failing: TaskState,
    why: str,
) -> list[Key]:
    """See to the dependents of a task before Dask lets it fail.

    Parameters
    ----------
    failing
        Which Dask is about to let fail, and with it those that depend on it.

    Returns
    -------
    list
        Tasks that wait for nothing any more; to be let go on once it has failed.
    """
    if not failing.waiters:
        return []
    free: list[Key] = []
    skipped: list[tuple[Key, UpstreamFailedError]] = []
    stack, seen = [failing], {failing}
    while stack:
        one = stack.pop()
        for dependent in sorted(one.waiters or (), key=lambda ts: ts.priority or ()):
            task = tasks.get(dependent.key)
            wish = "fail" if task is None else task.wishes.upstream
            error = UpstreamFailedError(
                f"{_shown(failing.key)} failed: {why[:_WORDS_MAX]}"
            )
            if wish == "run":
                dask_grants.cut(dependent, one, error)
                if not dependent.waiting_on:
                    free.append(dependent.key)
                continue
            if dependent in seen:
                continue
            seen.add(dependent)
            stack.append(dependent)
            if wish == "skip":
                skipped.append(
                    (dependent.key, UpstreamFailedError(f"it was skipped: {error}"))
                )
    for key, error in skipped:
        dask_grants.fail(scheduler, key, error)
    return free


def _shown(key: Key) -> str:
    return repr(key)[:_WORDS_MAX]

"""What becomes of tasks when one that they depend on fails for good.

In Dask they all fail. Here a task may say that it is skipped, or that it runs all the
same and is given the error in place of the result; of all that it depends on, or of
each by its key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from distributed.scheduler import TaskState

from dtf_dask.errors import UpstreamFailedError
from dtf_dask.scheduler_plugins.adapter.dask_failures import Found, Settled
from dtf_dask.scheduler_plugins.adapter.governed import Governed, Key

_WORDS_MAX = 500
_SKIPPED = "it was skipped: "


def failing(
    tasks: Mapping[Key, Governed], ts: TaskState, near: Iterable[TaskState], why: str
) -> Settled:
    """Say what becomes of those that would fail with a task.

    Parameters
    ----------
    ts
        Which Dask is about to let fail.
    near
        Those that depend on it, and have not run.
    """
    cause = _cause(ts, why)
    settled = Settled({}, {})
    for dependent in near:
        task = tasks.get(dependent.key)
        word = "fail" if task is None else task.wishes.upstream.of_input(ts.key)
        if word == "run":
            settled.runs[dependent] = UpstreamFailedError(cause)
        elif word == "skip":
            settled.skipped[dependent] = UpstreamFailedError(_SKIPPED + cause)
    return settled


def failed(
    tasks: Mapping[Key, Governed], ts: TaskState, broken: Iterable[TaskState]
) -> Found:
    """Say what becomes of a task when some that it depends on have failed already.

    One that is to fail with any of them fails; if not, one is enough to skip it.
    """
    task = tasks.get(ts.key)
    if task is None:
        return None
    causes: dict[TaskState, BaseException] = {}
    skip: UpstreamFailedError | None = None
    for one in sorted(broken, key=lambda one: one.priority or ()):
        word = task.wishes.upstream.of_input(one.key)
        if word == "fail":
            return None
        cause = _cause(one, reason(one))
        causes[one] = UpstreamFailedError(cause)
        if word == "skip" and skip is None:
            skip = UpstreamFailedError(_SKIPPED + cause)
    # There may be none any more: it was cut off from all that failed just now.
    return causes if skip is None else skip


def reason(ts: TaskState) -> str:
    """Why a task has failed, in words, if that is known."""
    return str((ts.exception_blame or ts).exception_text or "")


def without(word: str, key: Key, why: str | None) -> UpstreamFailedError:
    """The error of a task that runs after another, and does not want to if it failed.

    Parameters
    ----------
    word
        "skip" or "fail".
    why
        It failed; None if it was cancelled.
    """
    cause = f"{_shown(key)} was cancelled" if why is None else _failed(key, why)
    return UpstreamFailedError(_SKIPPED + cause if word == "skip" else cause)


def _cause(ts: TaskState, why: str) -> str:
    """What failed first, in words: not each that was skipped on the way here."""
    return _failed((ts.exception_blame or ts).key, why)


def _failed(key: Key, why: str) -> str:
    if why.startswith(_SKIPPED):
        return why.removeprefix(_SKIPPED)
    return f"{_shown(key)} failed" + (f": {why[:_WORDS_MAX]}" if why else "")


def _shown(key: Key) -> str:
    return repr(key)[:_WORDS_MAX]

"""Moves tasks of Dask's scheduler as it does, with pauses, or in quiet.

`dask_seam.broken` says what an installed version no longer has of what is used here.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Generator, Iterable, Mapping
from operator import attrgetter
from typing import Any

from distributed.scheduler import TaskState

Key = Any
"""Dask's keys are narrower than those of tables, and its scheduler is typed by them."""
_TURN_S, _LOOK_EACH = 0.03, 32
"""How long tasks are moved before others have a turn. What is said to the node passes
a socket that holds little: it needs many turns, and who is not heard is ended."""
_UNDER_WAY = frozenset({"waiting", "processing", "queued", "no-worker", "memory"})


def release(
    scheduler: Any, client: str, keys: Collection[Key], why: str
) -> Generator[None, None, None]:
    """What `Scheduler.client_releases_keys` does, with pauses if much is forgotten."""
    cs = scheduler.clients.get(client)
    if cs is None:
        return
    recommended: dict[Key, Any] = {}
    scheduler._client_releases_keys(keys=keys, cs=cs, recommendations=recommended)
    yield from transitions(scheduler, recommended, why)
    scheduler.stimulus_queue_slots_maybe_opened(stimulus_id=why)


def wanted_above(
    tasks: Mapping[Any, TaskState], keys: Iterable[Key]
) -> dict[str, list[Key]]:
    """What clients want of some tasks, and of those that need them, by client.

    From the top, or what is wanted below would be thought to be needed there.
    """
    above = {key: tasks[key] for key in keys if key in tasks}
    stack = list(above.values())
    while stack:
        for dependent in stack.pop().dependents:
            if dependent.key not in above:
                above[dependent.key] = dependent
                stack.append(dependent)
    found: dict[str, list[Key]] = {}
    for ts in reversed(above.values()):
        for cs in ts.who_wants or ():
            found.setdefault(cs.client_key, []).append(ts.key)
    return dict(sorted(found.items()))


def forget_unneeded(scheduler: Any, tasks: Iterable[TaskState], why: str) -> None:
    """Forget those of some tasks that nobody wants and nothing depends on."""
    recommended = {
        ts.key: "forgotten" for ts in tasks if not ts.dependents and not ts.who_wants
    }
    if recommended:
        scheduler.transitions(recommended, why)


def retry_quietly(scheduler: Any, keys: Iterable[Key], why: str) -> None:
    """What `Scheduler.stimulus_retry` does, where nothing is to run yet."""
    stack = list(keys)
    while stack:
        key = stack.pop()
        ts = scheduler.tasks.get(key)
        if ts is None or ts.state != "erred":
            continue
        stack += [dts.key for dts in ts.dependencies if dts.state == "erred"]
        more, _, _ = scheduler._transition(key, "released", why)
        stack += [one for one, finish in more.items() if finish == "waiting"]


def waiting(wanted: Iterable[TaskState]) -> dict[Key, Any]:
    """Recommend that tasks run, the most urgent first, as Dask has it."""
    released = [ts for ts in wanted if ts.state == "released"]
    released.sort(key=attrgetter("priority"), reverse=True)
    return {ts.key: "waiting" for ts in released}


def transitions(
    scheduler: Any, recommended: Mapping[Key, Any], why: str
) -> Generator[None, None, None]:
    """What `Scheduler.transitions` does, with pauses for others to have a turn."""
    left: dict[Key, Any] = dict(recommended)
    while left:
        clients: dict[str, list[Any]] = {}
        workers: dict[str, list[Any]] = {}
        turn_ends, count = time.monotonic() + _TURN_S, 0
        while left and (count % _LOOK_EACH or time.monotonic() < turn_ends):
            count += 1
            key, finish = left.popitem()
            ts = scheduler.tasks.get(key)
            if finish == "waiting" and ts is not None and ts.state in _UNDER_WAY:
                continue  # somebody else was faster, in another turn
            more, client_messages, worker_messages = scheduler._transition(
                key, finish, why
            )
            left.update(more)
            for one, messages in client_messages.items():
                clients.setdefault(one, []).extend(messages)
            for one, messages in worker_messages.items():
                workers.setdefault(one, []).extend(messages)
        scheduler.send_all(clients, workers)
        if left:
            yield

"""Carries out what was planned for the inventories of workers, a slice at a time.

Between two slices the process may answer its node. Nobody may change tasks meanwhile:
what is needed is known only when all is told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from distributed import Scheduler

from dtf_dask.durable.inventory import Inventory, Running
from dtf_dask.durable.successor import Attempt, Successor
from dtf_dask.standby import dask_adopting, dask_makings, dask_takeover
from dtf_dask.standby.adoption import Plan, plan
from dtf_dask.submission.table import Key

SLICE = 500
Pause = Callable[[], Awaitable[object]]


@dataclass(slots=True)
class Adopted:
    """What was taken over.

    Parameters
    ----------
    counts
        Tasks by what became of them.
    attempts
        What runs, and what runs though it is not wanted.
    failed
        Tasks of which an attempt failed that no leader before had counted.
    """

    counts: dict[str, int] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    failed: list[Key] = field(default_factory=list)


async def adopt(
    scheduler: Scheduler,
    brought: Mapping[str, Inventory],
    pause: Pause,
    schedule: Callable[[], None],
) -> Adopted:
    """Take over what workers have, then have computed what is missing.

    Parameters
    ----------
    pause
        Lets the process answer others.
    schedule
        Called in between: from then on tasks may wait for workers.
    """
    view = dask_takeover.SchedulerView(scheduler)
    made, adopted = plan(brought, view), Adopted()
    await pause()
    acts = dask_adopting.Adopting(scheduler)
    done = dict.fromkeys(("memory", "running", "erred", "freed"), 0)
    for number, (key, result) in enumerate(made.memory.items(), 1):
        done["memory"] += acts.memory(key, result)
        if number % SLICE == 0:
            await pause()
    for key, (worker, running) in made.running.items():
        if acts.running(key, worker, running):
            done["running"] += 1
            adopted.attempts.append(_attempt(worker, running))
    for key, (worker, erred) in made.erred.items():
        if acts.erred(key, worker, erred):
            done["erred"] += 1
            adopted.failed.append(key)
    acts.finish()
    _told_of_known(scheduler, made)
    for worker, keys in made.free.items():
        dask_adopting.free(scheduler, worker, keys)
        done["freed"] += len(keys)
    adopted.attempts += _unwanted(made, brought)
    adopted.counts = done
    schedule()
    await _want_all(scheduler, acts, adopted, pause)
    return adopted


async def _want_all(
    scheduler: Scheduler,
    acts: dask_adopting.Adopting,
    adopted: Adopted,
    pause: Pause,
) -> None:
    """Tell plugins what runs, have computed what is missing, free the rest."""
    successors = [
        plugin for plugin in scheduler.plugins.values() if isinstance(plugin, Successor)
    ]
    for plugin in successors:
        plugin.adopted(adopted.attempts)
    adopted.counts["lost"] = len(dask_takeover.forget_lost_values(scheduler))
    keys = dask_takeover.wanted(scheduler)
    adopted.counts["wanted"] = len(keys)
    for at in range(0, len(keys), SLICE):
        dask_takeover.want(scheduler, keys[at : at + SLICE])
        if not at:  # workers need not wait until all the others are told
            for plugin in successors:
                plugin.resumed()
        await pause()
    acts.drop_unneeded()
    for plugin in successors:
        plugin.settled()


def reconcile(
    scheduler: Scheduler, worker: str, inventory: Inventory
) -> dict[str, int]:
    """Compare one worker with what a scheduler that schedules has of it."""
    brought = {worker: inventory}
    made = plan(brought, dask_takeover.SchedulerView(scheduler))
    for where, key in made.lost:
        dask_adopting.lose_copy(scheduler, where, key)
    acts = dask_adopting.Adopting(scheduler)
    begun = []
    for key, result in made.memory.items():
        acts.memory(key, result)
    for key, (where, running) in made.running.items():
        if acts.running(key, where, running):
            begun.append(_attempt(where, running))
    for key, (where, erred) in made.erred.items():
        acts.erred(key, where, erred)
    acts.finish()
    _told_of_known(scheduler, made)
    for where, keys in made.free.items():
        dask_adopting.free(scheduler, where, keys)
    begun += _unwanted(made, brought)
    if begun:
        for plugin in list(scheduler.plugins.values()):
            if isinstance(plugin, Successor):
                plugin.adopted(begun)
    acts.drop_unneeded()
    for where, key in made.again:
        dask_adopting.send_again(scheduler, where, key)
    return {
        "kept": len(made.kept),
        "finished": len(made.finished) + len(made.memory),
        "failed": len(made.failed) + len(made.erred),
        "taken": len(made.running),
        "again": len(made.again),
        "lost": len(made.lost),
        "freed": sum(map(len, made.free.values())),
    }


def _told_of_known(scheduler: Scheduler, made: Plan) -> None:
    """What is known of tasks that the scheduler has somewhere already."""
    for where, key in made.copies:
        dask_adopting.add_copy(scheduler, where, key)
    for where, keys in made.untold.items():
        dask_makings.tell(scheduler, where, keys)
    for where, key in made.known_erred:
        dask_adopting.remember_erred(scheduler, where, key)
    for where, running in made.kept:
        dask_adopting.kept(scheduler, where, running)
    for where, held in made.finished:
        dask_adopting.finished(scheduler, where, held)
    for where, erred in made.failed:
        dask_adopting.failed(scheduler, where, erred)


def _attempt(worker: str, running: Running, *, wanted: bool = True) -> Attempt:
    return Attempt(
        running.key,
        worker,
        running.for_s,
        running.seceded,
        running.gpus,
        wanted=wanted,
    )


def _unwanted(made: Plan, brought: Mapping[str, Inventory]) -> list[Attempt]:
    freed: list[tuple[str, Running]] = list(made.freed)
    for worker, inventory in brought.items():
        freed += [(worker, one) for one in inventory.parting]
    return [_attempt(worker, one, wanted=False) for worker, one in freed]

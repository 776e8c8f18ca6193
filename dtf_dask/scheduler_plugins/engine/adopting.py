"""Tasks of another engine's time: those that run are taken over where they run. Pure.

An engine that takes over from one that died is told of all tasks again. What that one
decided holds: who runs keeps its room, and who was admitted is not judged again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dtf_dask.scheduler_plugins.engine.after import Afters
from dtf_dask.scheduler_plugins.engine.core import Core
from dtf_dask.scheduler_plugins.engine.devices import Card, Device, named, pick
from dtf_dask.scheduler_plugins.engine.gang import Gangs
from dtf_dask.scheduler_plugins.engine.lanes import Task
from dtf_dask.scheduler_plugins.engine.places import Place
from dtf_dask.scheduler_plugins.engine.terms import Ask, Gpu, Reject


class Run(NamedTuple):
    """An attempt that runs.

    Parameters
    ----------
    begun_at
        Since when, by the engine's clock: before this engine was made, maybe.
    gpus
        Its devices, as `dtf_dask.grant` names them.
    """

    ask: Ask
    worker: str
    begun_at: float
    gpus: tuple[int | str, ...] = ()


class Adopting:
    """Takes over what was admitted and granted before."""

    def __init__(self, core: Core, gangs: Gangs, afters: Afters) -> None:
        self._core, self._gangs, self._afters = core, gangs, afters

    def known(self, asks: Sequence[Ask]) -> list[Reject]:
        """These were admitted; who would wait for itself is refused all the same."""
        for ask in asks:
            if ask.gang is not None:
                self._gangs.expect(ask)
        return list(self._afters.register(asks, lambda key: True).values())

    def run(self, run: Run, now: float) -> bool:
        """Account for one that runs; False if that cannot be.

        Its worker is unknown, or somebody has that for itself.
        """
        core, ask = self._core, run.ask
        place = core.places.workers.get(run.worker)
        if place is None or ask.key in core.running:
            return False
        try:
            task = core.new_task(ask, now)
        except ValueError:
            return False
        if place.exclusive or (task.shape.exclusive and place.held):
            return False
        waiting = core.lanes.tasks.get(ask.key)
        if waiting is not None:
            core.take(waiting, now)
        self._gangs.went(ask)
        task.ready_at = task.granted_at = begun_at = min(run.begun_at, now)
        core.set_due(task, now)
        task.begun_at, task.state = begun_at, "granted"
        task.brisk = core.brisk(ask, place.kind)
        place.take(task, _devices(place, task, run.gpus))
        place.shrunk = bool(place.overuse())
        core.running[task.key] = task
        core.tallies.of[task.ask.priority_class].running += 1
        if task.want.tokens:
            core.tokens.take(task.want.tokens)
        core.tenants.started(ask.tenant, task.want.need.amounts, now)
        return True

    def began(self, ask: Ask, *, over: bool = False) -> None:
        """The gang of this one had started; perhaps it has ended already."""
        self._gangs.went(ask, over=over)

    def broken(self, ask: Ask) -> None:
        """The gang of this one will never be whole."""
        self._gangs.expect(ask).broken = True

    def settled(self) -> None:
        """All are known. As many may wait as do, whatever the bound."""
        core = self._core
        self._gangs.complete()
        core.overload.recalled(len(core.lanes.tasks))


def _devices(place: Place, task: Task, gpus: tuple[int | str, ...]) -> list[Device]:
    """What it has, by its worker's word; of what is gone, or another's, nothing."""
    shape = task.shape
    found = named(place.devices.values(), gpus)
    if shape.devices and not gpus:
        found = pick(place.devices.values(), shape)
    mine = [d for d in found if (d.idle if shape.gpu else not d.card.whole)]
    while len(mine) < shape.devices:
        mine.append(Device(Gpu("", -1, 0), Card()))
    return mine[: shape.devices]

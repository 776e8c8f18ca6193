"""When a worker will have room, by what its tasks are expected to take. Pure."""

from __future__ import annotations

from dtf_dask.scheduler_plugins.engine.core import Core
from dtf_dask.scheduler_plugins.engine.lanes import Task
from dtf_dask.scheduler_plugins.engine.match import Shape
from dtf_dask.scheduler_plugins.engine.places import Place

_LATE_SHARE = 0.5


def expected_end(core: Core, task: Task, place: Place, now: float) -> float:
    """When a running task ends. One that is late takes half again what it took."""
    takes_s = task.takes_s
    if takes_s is None:
        # Asked once: what is learned meanwhile changes little.
        estimate = core.estimate(task.ask, place.kind)
        takes_s = task.takes_s = estimate.seconds + estimate.spread_s
    begun_at = task.granted_at if task.begun_at is None else task.begun_at
    end = begun_at + takes_s
    if end <= now:
        end = now + max(_LATE_SHARE * (now - begun_at), core.settings.prefetch_s)
    return end


def free_at(core: Core, place: Place, shape: Shape, now: float) -> float:
    """When so much will be free on a worker that could have it, if nothing is added.

    Devices are counted as if each task that ends freed its own wholly, those that run
    on other workers too: a bound from below, good enough to choose by.
    """
    if place.fits(shape):
        return now
    cpu = place.threads - place.cpu - place.foreign
    memory = place.offer.memory - place.memory
    custom = {
        name: place.offer.resources.get(name, 0) - place.custom.get(name, 0.0)
        for name, _ in shape.custom
    }
    idle = sum(device.idle and device.gpu.usable for device in place.devices.values())
    ends = [
        (expected_end(core, task, place, now), task.seq, task)
        for task in place.held.values()
    ]
    if shape.devices:
        ends += _elsewhere(core, place, now)
    at = now
    for at, _, task in sorted(ends):
        if task.place is not place:
            idle += 1
        elif not task.queued:
            cpu += task.cpu
            memory += task.shape.memory
            idle += len(task.gpus)
            for name, amount in task.shape.custom:
                if name in custom:
                    custom[name] += amount
        if shape.exclusive or cpu < shape.cpu or memory < shape.memory:
            continue
        if idle < shape.devices or any(
            custom[n] < amount for n, amount in shape.custom
        ):
            continue
        return at
    return at


def _elsewhere(core: Core, place: Place, now: float) -> list[tuple[float, int, Task]]:
    """The tasks of other workers on a device of this one, each for each device."""
    return [
        (expected_end(core, task, task.place, now), task.seq, task)
        for device in place.devices.values()
        for task in device.card.tasks.values()
        if task.place is not None and task.place is not place
    ]

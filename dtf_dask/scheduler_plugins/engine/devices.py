"""GPUs, and which tasks have them; one that several workers advertise is one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from dtf_dask.grant import is_device_id
from dtf_dask.scheduler_plugins.engine.match import Shape
from dtf_dask.scheduler_plugins.engine.terms import Gpu, Key

if TYPE_CHECKING:
    from dtf_dask.scheduler_plugins.engine.lanes import Task
    from dtf_dask.scheduler_plugins.engine.places import Place

_CLOSE = 1e-6  # amounts are sums of floats


class Card:
    """What is taken of one GPU, all or parts of its memory, and who advertises it."""

    __slots__ = ("__weakref__", "named", "places", "tasks", "used", "whole")

    def __init__(self, *, named: bool = False) -> None:
        self.named = named  # others may have it too
        self.places: dict[Place, float] = {}  # with the memory that each says it has
        self.tasks: dict[Key, Task] = {}
        self.used = 0.0
        self.whole = False

    def take(self, task: Task) -> None:
        """A task has it, or a part of it."""
        self.tasks[task.key] = task
        self._count()

    def give(self, task: Task) -> None:
        """A task has nothing of it any more."""
        self.tasks.pop(task.key, None)
        self._count()

    def restore(self, tasks: dict[Key, Task]) -> None:
        """Just these have it."""
        self.tasks = tasks
        self._count()

    def _count(self) -> None:
        shapes = [task.shape for task in self.tasks.values()]
        self.whole = any(shape.gpu for shape in shapes)
        self.used = sum(shape.gpu_memory for shape in shapes if not shape.gpu)


class Device:
    """A GPU as one worker has it."""

    __slots__ = ("card", "gpu")

    def __init__(self, gpu: Gpu, card: Card) -> None:
        self.gpu = gpu
        self.card = card

    @property
    def free(self) -> float:
        """Bytes of its memory that nobody has, if nobody has all of it.

        Workers that have it too may say that it has less.
        """
        return min(self.card.places.values()) - self.card.used

    @property
    def idle(self) -> bool:
        """Whether no task has any of it."""
        return not self.card.whole and self.card.used <= _CLOSE


class Cards:
    """The cards of the cluster, by the id of the device, while anybody has them.

    Only what starts like an id of NVIDIA's is one: other names are the same on many
    machines, so each worker's device of such a name is another one.
    """

    def __init__(self) -> None:
        self._named: WeakValueDictionary[str, Card] = WeakValueDictionary()

    def of(self, gpu: Gpu) -> Card | None:
        """The card of a device that others may have too; None if none can."""
        if not is_device_id(gpu.id):
            return None
        card = self._named.get(gpu.id)
        if card is None:
            card = self._named[gpu.id] = Card(named=True)
        return card


def named(devices: Iterable[Device], names: Iterable[int | str]) -> list[Device]:
    """The devices of these ids or numbers, as far as they are there."""
    wanted = set(names)
    return [d for d in devices if d.gpu.id in wanted or d.gpu.index in wanted]


def pick(devices: Iterable[Device], shape: Shape) -> list[Device]:
    """The devices for a task: the smallest that do; none if there is no room."""
    able = [d for d in devices if d.gpu.usable]
    if shape.gpu:
        able = [d for d in able if d.idle and d.gpu.memory >= shape.gpu_memory]
        able.sort(key=lambda d: (d.gpu.memory, d.gpu.index))
        return able[: shape.gpu] if len(able) >= shape.gpu else []
    able = [d for d in able if not d.card.whole and d.free >= shape.gpu_memory]
    # A part goes where it leaves least: whole devices stay whole.
    return [min(able, key=lambda d: (d.free, d.gpu.index))] if able else []


def clashes(
    starting: Sequence[tuple[Task, Place]], *, idle: bool = False
) -> list[Place]:
    """Of workers that are to get these tasks at once, those with no devices left.

    They may have had room for their task, but in devices that another one has too.

    Parameters
    ----------
    idle
        As if no task had any device now.
    """
    pairs = [(task, place) for task, place in starting if task.shape.devices]
    cards = [d.card for _, place in pairs for d in place.devices.values()]
    before = {card: dict(card.tasks) for card in cards}
    left: list[Place] = []
    for card in before if idle else ():
        card.restore({})
    for task, place in pairs:
        picked = pick(place.devices.values(), task.shape)
        if not picked:
            left.append(place)
        for device in picked:
            device.card.take(task)
    for card, tasks in before.items():
        card.restore(tasks)
    return left

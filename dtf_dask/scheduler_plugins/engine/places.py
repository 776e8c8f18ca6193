"""A worker: what it has, what is taken of it, what it holds. Pure.

A worker is filled by its threads, by amounts (memory, devices, custom ones), and beyond
its threads by short tasks that it begins when a thread is free.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dtf_dask.scheduler_plugins.engine.devices import Card, Cards, Device, pick
from dtf_dask.scheduler_plugins.engine.lanes import Task
from dtf_dask.scheduler_plugins.engine.match import Shape
from dtf_dask.scheduler_plugins.engine.terms import Key, Offer
from dtf_dask.scheduler_plugins.policies.custom import WorkerView

if TYPE_CHECKING:
    from dtf_dask.scheduler_plugins.engine.groups import Group
    from dtf_dask.scheduler_plugins.engine.unit import Unit

_CLOSE = 1e-6  # amounts are sums of floats


class Place:
    """One worker of the cluster.

    ``load`` orders the workers of a group: threads taken or promised, over threads.
    ``barred`` says why it gets nothing now, in words; "" if it does. ``brisk`` are the
    tasks it runs that end soon: only behind these it holds others.
    """

    __slots__ = (
        *(
            "barred",
            "brisk",
            "cards",
            "cpu",
            "custom",
            "devices",
            "exclusive",
            "foreign",
            "group",
        ),
        *("held", "kind", "load", "memory", "name", "offer", "paused", "queue"),
        *("prefetch_max", "prefetch_s", "queue_s", "reserved", "serial", "shrunk"),
        *("_cards", "free", "joined_at", "threads"),
    )

    def __init__(
        self, name: str, offer: Offer, serial: int, now: float, cards: Cards
    ) -> None:
        self.name = name
        self.serial = serial
        self.joined_at = now
        self.kind = ""
        self.group: Group | None = None
        self.held: dict[Key, Task] = {}
        # The devices of those that have some; what they are stays so while they run.
        self.cards: dict[Key, tuple[Card, ...]] = {}
        self.devices: dict[int, Device] = {}
        self._cards = cards
        self.queue: dict[Key, Task] = {}
        self.queue_s = 0.0
        self.prefetch_s = 0.0  # of each thread that is free soon
        self.prefetch_max = 0
        self.foreign = 0
        self.paused = False
        self.barred = ""
        self.exclusive: Task | None = None
        self.reserved: Unit | None = None
        self.shrunk = False
        self.free = False  # whether it has a thread to give
        self.apply(offer)

    def apply(self, offer: Offer) -> list[Task]:
        """It has this from now on; returns tasks whose devices are gone."""
        self.offer = offer
        self.threads = offer.threads
        self.cpu = 0.0
        self.brisk = 0
        self.memory = 0.0
        self.custom: dict[str, float] = {}
        self._connect()
        bereft = []
        for task in self.held.values():
            self._add(task)
            if not all(map(self._usable, task.gpus, self.cards.get(task.key, ()))):
                bereft.append(task)
        self.shrunk = bool(self.overuse())
        self.reload()
        return bereft

    def disconnect(self) -> None:
        """It has no devices any more; what runs on them still does."""
        for device in self.devices.values():
            device.card.places.pop(self, None)
        self.devices = {}

    def shares(self, other: Place) -> bool:
        """Whether it has a device that another worker has too."""
        return any(other in device.card.places for device in self.devices.values())

    def sharers(self, task: Task) -> list[Place]:
        """The other workers that have a device of a task of this one."""
        found: dict[Place, None] = {}
        for card in self.cards.get(task.key, ()):
            found.update(dict.fromkeys(card.places))
        found.pop(self, None)
        return list(found)

    def reload(self) -> None:
        """Count its load anew."""
        taken = self.cpu + self.foreign
        free = taken < self.threads and not self.barred and self.exclusive is None
        if free is not self.free:
            self.free = free
            if self.group is not None:
                self.group.free += 1 if free else -1
        if self.threads > 0 and self.exclusive is None:
            self.load = (taken + len(self.queue)) / self.threads
        else:
            self.load = math.inf

    def bar(self, reason: str) -> None:
        """It gets nothing from now on, for this reason; "" lets it have work again."""
        self.barred = reason
        self.reload()

    def fits(self, shape: Shape) -> bool:
        """Whether such a task could begin at once."""
        if self.barred or self.exclusive is not None:
            return False
        if self.cpu + self.foreign + shape.cpu > self.threads:
            return False
        return shape.plain or self._has_room(shape)

    def fits_without(self, shape: Shape, tasks: list[Task]) -> bool:
        """Whether such a task could begin at once if these had ended."""
        if shape.exclusive and (self.foreign or len(tasks) < len(self.held)):
            return False
        for task in tasks:
            self._subtract(task)
        fits = self.fits(shape) if not shape.exclusive else not self.barred
        for task in tasks:
            self._add(task)
        return fits

    def fits_both(self, shape: Shape, other: Shape) -> bool:
        """Whether two tasks could begin at once, devices apart."""
        if shape.exclusive or other.exclusive or not self.fits(shape):
            return False
        if shape.devices and other.devices:
            return False
        amounts = dict(shape.custom)
        for name, amount in other.custom:
            amounts[name] = amounts.get(name, 0.0) + amount
        free = self.offer.resources
        return (
            self.fits(other)
            and self.cpu + self.foreign + shape.cpu + other.cpu <= self.threads
            and self.memory + shape.memory + other.memory <= self.offer.memory
            and all(
                self.custom.get(name, 0.0) + amount <= free.get(name, 0) + _CLOSE
                for name, amount in amounts.items()
            )
        )

    def view(self) -> WorkerView:
        """What policies are told of it."""
        free = {
            "cpu": max(0.0, self.threads - self.cpu - self.foreign),
            "gpu": float(sum(d.idle and d.gpu.usable for d in self.devices.values())),
            "memory": self.offer.memory - self.memory,
        }
        for name, amount in self.offer.resources.items():
            free[name] = amount - self.custom.get(name, 0.0)
        running = len(self.held) - len(self.queue)
        facts, threads = self.offer.facts, self.threads
        return WorkerView(self.name, self.kind, facts, threads, running, free)

    def may_queue(self) -> bool:
        """Whether it may hold one more short task than it can begin."""
        brisk = self.brisk
        return (
            self.queue_s < self.prefetch_s * brisk
            and len(self.queue) < self.prefetch_max * brisk
            and not self.barred
            and self.exclusive is None
            and self.reserved is None
        )

    def take(self, task: Task, devices: list[Device] | None = None) -> None:
        """A task gets its room here; which devices, too, if it has none already."""
        shape = task.shape
        if shape.devices:
            picked = devices or pick(self.devices.values(), shape)
            picked.sort(key=lambda device: device.gpu.index)
            task.gpus = tuple(device.gpu.index for device in picked)
            self.cards[task.key] = tuple(device.card for device in picked)
        task.place = self
        self.held[task.key] = task
        if task.queued:
            self.queue[task.key] = task
            self.queue_s += task.estimate_s
        else:
            self._add(task)
        self.reload()

    def give(self, task: Task) -> list[Task]:
        """A task takes no room any more; returns those that begin in its stead."""
        del self.held[task.key]
        if self.queue.pop(task.key, None) is None:
            self._subtract(task)
        else:
            self._unqueue(task)
        if task.gpus:
            del self.cards[task.key]
        begun = self.promote()
        if self.shrunk:
            self.shrunk = bool(self.overuse())
        return begun

    def promote(self) -> list[Task]:
        """Let queued tasks take the threads that are free."""
        begun = []
        while self.queue and self.cpu + self.foreign + 1 <= self.threads:
            task = self.queue.pop(next(iter(self.queue)))
            self._unqueue(task)
            self._add(task)
            begun.append(task)
        self.reload()
        return begun

    def begin(self, task: Task) -> Task | None:
        """A queued task has begun; returns the one it has changed places with."""
        if self.queue.pop(task.key, None) is None:
            return None
        self._unqueue(task)
        self._add(task)
        for other in self.held.values():
            late = not other.queued and other.begun_at is None and other is not task
            if late and other.shape.plain:
                self._subtract(other)
                other.queued = True
                self.queue[other.key] = other
                self.queue_s += other.estimate_s
                self.reload()
                return other
        self.shrunk = bool(self.overuse())
        self.reload()
        return None

    def secede(self, task: Task) -> list[Task]:
        """A task gives its thread back and goes on beside it."""
        self.begin(task)
        if task.cpu:
            self.cpu -= task.cpu
            task.cpu = 0.0
            self.slowed(task)
        return self.promote()

    def slowed(self, task: Task) -> None:
        """A task that it runs does not end soon."""
        if task.brisk and not task.queued:
            self.brisk -= 1
        task.brisk = False

    def overuse(self) -> str:
        """What is taken beyond what there is, in words; "" if nothing is."""
        if self.cpu > self.threads:
            return f"{self.cpu:g} of {self.threads} threads"
        if self.memory > self.offer.memory + _CLOSE:
            return f"{self.memory:g} of {self.offer.memory} B memory"
        for name, used in self.custom.items():
            if used > self.offer.resources.get(name, 0) + _CLOSE:
                return f"{used:g} of {self.offer.resources.get(name, 0):g} {name}"
        for key, cards in self.cards.items():
            for index, card in zip(self.held[key].gpus, cards, strict=True):
                device = self.devices.get(index)
                if device is None or device.card is not card:
                    continue  # what it runs on is gone
                if card.used > device.gpu.memory + _CLOSE:
                    return f"memory of gpu {index}"
        return ""

    def _connect(self) -> None:
        """Have the devices that it offers, and no others."""
        running = {
            index: card
            for key, cards in self.cards.items()
            for index, card in zip(self.held[key].gpus, cards, strict=True)
            if not card.named
        }
        self.disconnect()
        for gpu in self.offer.gpus:
            card = self._cards.of(gpu) or running.get(gpu.index) or Card()
            card.places[self] = gpu.memory
            self.devices[gpu.index] = Device(gpu, card)

    def _usable(self, index: int, card: Card) -> bool:
        device = self.devices.get(index)
        return device is not None and device.card is card and device.gpu.usable

    def _has_room(self, shape: Shape) -> bool:
        if shape.exclusive and (self.held or self.foreign):
            return False
        if self.memory + shape.memory > self.offer.memory and shape.memory:
            return False
        resources = self.offer.resources
        for name, amount in shape.custom:
            free = resources.get(name, 0) - self.custom.get(name, 0.0)
            if amount > free + _CLOSE:
                return False
        return not shape.devices or bool(pick(self.devices.values(), shape))

    def _unqueue(self, task: Task) -> None:
        task.queued = False
        self.queue_s -= task.estimate_s
        if not self.queue:
            self.queue_s = 0.0  # no drift of floats

    def _add(self, task: Task) -> None:
        if task.queued:
            return
        self.cpu += task.cpu
        self.brisk += task.brisk
        if not task.shape.plain:
            self._count(task, 1)

    def _subtract(self, task: Task) -> None:
        self.cpu -= task.cpu
        self.brisk -= task.brisk
        if not task.shape.plain:
            self._count(task, -1)

    def _count(self, task: Task, sign: int) -> None:
        shape = task.shape
        self.memory += sign * shape.memory
        for name, amount in shape.custom:
            self.custom[name] = self.custom.get(name, 0.0) + sign * amount
        if task.gpus:
            for card in self.cards[task.key]:
                card.take(task) if sign > 0 else card.give(task)
        if shape.exclusive:
            self.exclusive = task if sign > 0 else None
        if not self.held:
            self.memory = 0.0
            self.custom = {}

"""What must hold of the engine at any time, as assertions; tests ask after every event.

Pure.
"""

from __future__ import annotations

import math
from collections import Counter

from dtf_dask.grant import is_device_id
from dtf_dask.scheduler_plugins.engine.core import Core
from dtf_dask.scheduler_plugins.engine.devices import Card
from dtf_dask.scheduler_plugins.engine.groups import Group
from dtf_dask.scheduler_plugins.engine.places import Place

_CLOSE = 1e-6


def check(core: Core) -> None:
    """Assert them all.

    Raises
    ------
    AssertionError
        That says what does not hold.
    """
    for place in core.places:
        _check_place(place)
    for group in core.places.groups:
        _check_group(group)
    _check_tasks(core)
    _check_kept(core)
    _check_devices(core)
    for name, used in core.tokens.used.items():
        total = core.tokens.total.get(name, 0.0)
        fine = used <= total + _CLOSE or name in core.tokens.shrunk
        assert fine, f"{used} of {total} tokens {name} in use"


def _check_place(place: Place) -> None:
    assert place.shrunk or not place.overuse(), f"{place.name}: {place.overuse()}"
    begun = [task for task in place.held.values() if not task.queued]
    queued = [task for task in place.held.values() if task.queued]
    assert [t.key for t in queued] == [k for k in place.held if k in place.queue]
    queue_max = place.prefetch_max * place.threads
    assert len(queued) == len(place.queue) <= queue_max + place.shrunk * 10**9
    assert place.brisk == sum(task.brisk for task in begun)
    cpu = sum(task.cpu for task in begun)
    memory = sum(task.shape.memory for task in begun)
    assert abs(place.cpu - cpu) < _CLOSE, f"{place.name}: {place.cpu} is not {cpu}"
    assert abs(place.memory - memory) < 1, f"{place.name}: memory is miscounted"
    free = place.cpu + place.foreign < place.threads
    free = free and not place.barred and place.exclusive is None
    assert place.free is free, f"{place.name}: free is {place.free}"
    for task in begun:
        alone = not task.shape.exclusive or len(place.held) == 1 or place.shrunk
        assert alone, f"{place.name}: {task.key} is not alone"
        for name, amount in task.shape.custom:
            assert amount <= place.custom[name] + _CLOSE
    for task in place.held.values():
        count = len(place.cards.get(task.key, ()))
        assert count == len(task.gpus) == task.shape.devices, (
            f"{task.key}: {count} gpus"
        )
    with_cards = [task.key for task in place.held.values() if task.gpus]
    assert sorted(map(repr, place.cards)) == sorted(map(repr, with_cards))
    for device in place.devices.values():
        assert place in device.card.places, f"{place.name}: a device is not its own"


def _check_devices(core: Core) -> None:
    """Whichever workers have a device, no two tasks have the same of it."""
    whole: dict[Card, int] = {}
    parts: dict[Card, float] = {}
    most: dict[Card, float] = {}
    named: dict[str, Card] = {}
    for place in core.places:
        for device in place.devices.values():
            card, gpu = device.card, device.gpu
            most[card] = max(gpu.memory, most.get(card, 0.0))
            if is_device_id(gpu.id):
                assert named.setdefault(gpu.id, card) is card, f"{gpu.id} is two"
            else:
                assert list(card.places) == [place], (
                    f"{gpu.id} of {place.name} is shared"
                )
        for task in place.held.values():
            for card in place.cards.get(task.key, ()):
                if task.shape.gpu:
                    whole[card] = whole.get(card, 0) + 1
                else:
                    parts[card] = parts.get(card, 0.0) + task.shape.gpu_memory
                if place.shrunk or place not in card.places:
                    most[card] = math.inf  # it has less of it than before
    assert all(count == 1 for count in whole.values()), "a device is given twice"
    assert not whole.keys() & parts.keys(), "a device is whole and shared"
    for card in dict.fromkeys((*most, *whole, *parts)):
        assert card.whole is (card in whole), "a device is miscounted"
        used = parts.get(card, 0.0)
        assert abs(card.used - used) < 1, (
            f"a device's memory: {card.used} is not {used}"
        )
        assert used <= most.get(card, math.inf) + _CLOSE, "more than a device has"


def _check_group(group: Group) -> None:
    members = group.members.values()
    assert members, "a group without workers"
    assert group.threads == sum(place.threads for place in members)
    assert group.free == sum(place.free for place in members)
    assert group.capacity.memory == max(place.offer.memory for place in members)
    assert all(place.group is group for place in members)


def _check_tasks(core: Core) -> None:
    held = [task for place in core.places for task in place.held.values()]
    assert len(held) == len(core.running), "a task is on two workers, or on none"
    for task in held:
        assert core.running[task.key] is task
        assert task.state == "granted"
    running = Counter(task.ask.priority_class for task in held)
    tallied = {name: tally.running for name, tally in core.tallies.of.items()}
    assert running == Counter(tallied), "running tasks are miscounted"
    assert not core.running.keys() & core.lanes.tasks.keys(), "it waits and runs"
    for key, task in core.lanes.tasks.items():
        assert task.key == key
        assert task.state in ("waiting", "held"), task.state
        assert (task.lane is not None) is (task.state == "waiting")
    held_back = Counter(
        task.ask.priority_class
        for task in core.lanes.tasks.values()
        if task.state == "held"
    )
    assert core.lanes.held_of == held_back, "tasks that are held back are miscounted"
    for lane in core.lanes:
        assert lane.live == sum(1 for _ in lane.tasks()), "a lane is miscounted"
    queued = [key for place in core.places for key in place.queue]
    assert set(queued) == core.queued.keys(), "what workers hold is miscounted"


def _check_kept(core: Core) -> None:
    kept = [place for unit in core.keeping.units for place in unit.kept]
    assert len(kept) == len(set(kept)), "a worker is kept twice"
    for unit in core.keeping.units:
        assert len(unit.kept) == len(unit.tasks), "workers are kept for part of a gang"
        assert all(place.reserved is unit for place in unit.kept)
    for place in core.places:
        assert place.reserved is None or place.reserved in core.keeping.units

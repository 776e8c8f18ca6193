"""The cluster: its workers, in groups of those that are alike to all demands. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dtf_dask.demand import Expression
from dtf_dask.scheduler_plugins.engine.devices import Cards
from dtf_dask.scheduler_plugins.engine.engine_settings import EngineSettings
from dtf_dask.scheduler_plugins.engine.lanes import Lane, Task
from dtf_dask.scheduler_plugins.engine.match import (
    Capacity,
    Shape,
    Want,
    hardware_lacks,
    kind_of,
)
from dtf_dask.scheduler_plugins.engine.places import Place
from dtf_dask.scheduler_plugins.engine.stall import Stall
from dtf_dask.scheduler_plugins.engine.terms import Offer
from dtf_dask.scheduler_plugins.engine.traits import Traits


class Group:
    """Workers of which any does for a task if one does.

    ``kind`` is the kind of machine; several groups may be of one kind.
    """

    __slots__ = (
        *("accept", "capacity", "free", "index", "kind", "members", "rarity"),
        *("signature", "stalls", "threads"),
    )

    def __init__(self, index: int, signature: tuple[Any, ...], place: Place) -> None:
        self.index = index
        self.signature = signature
        self.kind = place.kind
        self.accept: Expression | None = place.offer.accept
        self.capacity = Capacity.of(place.offer)
        self.members: dict[str, Place] = {}
        self.threads = 0
        self.free = 0  # workers that have a thread to give
        # How rare the workers are that the choosiest work here can have: 0 to 1.
        self.rarity = 0.0
        self.stalls: dict[Shape, Stall] = {}

    @property
    def example(self) -> Place:
        """One of its workers."""
        return next(iter(self.members.values()))

    def stall(self, shape: Shape) -> Stall:
        """Where tasks of this shape meet its workers."""
        stall = self.stalls.get(shape)
        if stall is None:
            stall = self.stalls[shape] = Stall(self, shape, len(self.stalls))
            for place in self.members.values():
                stall.put(place)
        return stall

    def lacks(self, want: Want, place: Place | None = None) -> tuple[str, ...]:
        """Why its workers, with nothing on them, do not do for a want."""
        reasons = self.capacity.lacks(want.shape)
        reasons += hardware_lacks(want, (place or self.example).offer.facts)
        if want.workers is not None and self.members.keys().isdisjoint(want.workers):
            reasons += ("is not one of the workers asked for",)
        return reasons

    def refuses(self, lane: Lane, place: Place | None = None) -> tuple[str, ...]:
        """Why its workers do not run the tasks of a lane; empty if they do.

        In the words of this one, or of any.
        """
        reasons = self.lacks(lane.want, place)
        if self.accept is not None and not self.accept.evaluate(lane.facts):
            words = "; ".join(self.accept.lacks(lane.facts))
            reasons += (f"accepts only {self.accept} (the task {words})",)
        return reasons

    def add(self, place: Place) -> bool:
        """Take in a worker; whether the group can do more than before."""
        place.group = self
        self.free += place.free
        self.members[place.name] = place
        self.threads += place.threads
        return self.remembered(0, place.offer.memory)

    def remove(self, place: Place, memory: int, threads: int) -> None:
        """A worker, that had so much, has left."""
        del self.members[place.name]
        place.group = None
        self.free -= place.free
        self.threads -= threads
        for stall in self.stalls.values():
            stall.drop(place)
        self.remembered(memory, 0)

    def remembered(self, before: int, now: int) -> bool:
        """A member's memory has changed; whether the largest is larger than before."""
        largest = self.capacity.memory
        if before == largest and now < before and self.members:
            members = self.members.values()
            self.capacity.memory = max(member.offer.memory for member in members)
        elif now > largest:
            self.capacity.memory = now
        return self.capacity.memory > largest


class Places:
    """All workers by name, and their groups."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self.traits = Traits()
        self.workers: dict[str, Place] = {}
        self._cards = Cards()
        self._groups: dict[tuple[Any, ...], Group] = {}
        self._serial = 0
        self.threads = 0

    @property
    def groups(self) -> Iterable[Group]:
        """All groups, the oldest first."""
        return self._groups.values()

    def __iter__(self) -> Iterator[Place]:
        return iter(self.workers.values())

    def join(self, name: str, offer: Offer, now: float) -> tuple[Place, bool]:
        """A worker is here; whether lanes must look at its group anew."""
        self._serial += 1
        place = Place(name, offer, self._serial, now, self._cards)
        self.workers[name] = place
        return place, self._enter(place)

    def change(self, place: Place, offer: Offer) -> tuple[list[Task], bool]:
        """A worker has other things than before.

        Returns the tasks whose devices are gone, and whether lanes must look at its
        group anew.
        """
        group = place.group
        assert group is not None
        if place.offer == offer:
            return [], False
        before, threads = place.offer.memory, place.threads
        bereft = place.apply(offer)
        place.kind = kind_of(offer)
        if self._signature(place) == group.signature:
            return bereft, group.remembered(before, offer.memory)
        group.remove(place, before, threads)
        self.threads -= threads
        self._drop_if_empty(group)
        self._enter(place)
        return bereft, True

    def leave(self, name: str) -> Place | None:
        """A worker is gone, with what it holds."""
        place = self.workers.pop(name, None)
        if place is None or place.group is None:
            return None
        place.disconnect()
        group = place.group
        group.remove(place, place.offer.memory, place.threads)
        self.threads -= place.threads
        self._drop_if_empty(group)
        return place

    def learn(self, want: Want) -> bool:
        """Something new is asked: split the groups whose members differ in it."""
        questions = self.traits.new_in(want)
        if not questions:
            return False
        groups = list(self._groups.values())
        self._groups = {}
        for group in groups:
            kept = False  # by the first of its members' signatures
            before = group.signature
            for place in list(group.members.values()):
                answers = self.traits.answers(questions, place.offer)
                signature = (*before, *answers)
                home = self._groups.get(signature)
                if home is None and not kept:
                    home = self._groups[signature] = group
                    group.signature = signature
                    kept = True
                if home is None:
                    home = self._new(signature, place)
                if home is not group:
                    group.remove(place, place.offer.memory, place.threads)
                    home.add(place)
        return len(self._groups) > len(groups)

    def forget(self, wants: Iterable[Want]) -> None:
        """Form the groups anew by what these ask, and nobody else."""
        self.traits = Traits()
        for want in wants:
            self.traits.new_in(want)
        groups, self._groups = self._groups, {}
        for group in groups.values():
            for place in list(group.members.values()):
                group.remove(place, place.offer.memory, place.threads)
                self.threads -= place.threads
                self._enter(place)

    def _new(self, signature: tuple[Any, ...], place: Place) -> Group:
        self._serial += 1
        group = self._groups[signature] = Group(self._serial, signature, place)
        return group

    def _enter(self, place: Place) -> bool:
        settings, threads = self._settings, place.threads
        place.kind = kind_of(place.offer)
        place.prefetch_s = settings.prefetch_s
        place.prefetch_max = settings.prefetch_max
        self.threads += threads
        signature = self._signature(place)
        group = self._groups.get(signature)
        fresh = group is None
        if group is None:
            group = self._new(signature, place)
        return group.add(place) or fresh

    def _signature(self, place: Place) -> tuple[Any, ...]:
        """What makes workers alike. Memory does not: those of one kind differ in it."""
        capacity = Capacity.of(place.offer)
        answers = self.traits.of(place.offer)
        accept = place.offer.accept
        return (place.kind, capacity.threads, capacity.gpus, accept, *answers)

    def _drop_if_empty(self, group: Group) -> None:
        if not group.members:
            del self._groups[group.signature]

"""Workers of one group with room for one shape of task, and who waits for it. Pure.

Both are heaps that are set right where they are looked at. So an event that frees room
on one worker costs the same whether ten tasks wait or a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING

from dtf_dask.scheduler_plugins.engine.lanes import Lane
from dtf_dask.scheduler_plugins.engine.match import Shape
from dtf_dask.scheduler_plugins.engine.places import Place

if TYPE_CHECKING:
    from dtf_dask.scheduler_plugins.engine.groups import Group

Bars = Callable[[Place], bool]
"""Whether a worker is out of the question for one task, though it has room."""


class Stall:
    """Where lanes of one shape meet the workers of one group."""

    __slots__ = ("_loads", "_places", "group", "lanes", "serial", "shape")

    def __init__(self, group: Group, shape: Shape, serial: int) -> None:
        self.group = group
        self.shape = shape
        self.serial = serial
        self._places: list[tuple[float, str, int, Place]] = []
        self._loads: dict[str, float] = {}  # with which each is to be found above
        self.lanes: list[tuple[float, int, int, Lane]] = []

    def put(self, place: Place) -> bool:
        """A worker has more room than before; whether that is enough."""
        shape = self.shape
        if not (place.fits(shape) or (shape.plain and place.may_queue())):
            return False
        if self._loads.get(place.name) != place.load:
            self._loads[place.name] = place.load
            entry = (place.load, place.name, place.serial, place)
            heappush(self._places, entry)
            if len(self._places) > 2 * len(self._loads) + 64:
                self._compact()
        return True

    def drop(self, place: Place) -> None:
        """A worker has left the group."""
        self._loads.pop(place.name, None)

    def best(self, bars: Bars | None = None) -> Place | None:
        """The least loaded worker that has room, if only behind what it runs."""
        places = self._places
        if not places:
            return None
        loads, shape = self._loads, self.shape
        aside: list[tuple[float, str, int, Place]] = []
        found = None
        while places:
            load, name, _, place = places[0]
            if loads.get(name) != load or place.group is not self.group:
                heappop(places)
            elif place.load != load:
                loads[name] = place.load
                heapreplace(places, (place.load, name, place.serial, place))
            elif not (place.fits(shape) or (shape.plain and place.may_queue())):
                del loads[name]
                heappop(places)
            elif bars is not None and bars(place):
                aside.append(heappop(places))
            else:
                found = place
                break
        for entry in aside:
            heappush(places, entry)
        return found

    def wait(self, lane: Lane, key: float, seq: int) -> None:
        """A lane waits for room here."""
        lane.keys[self] = key
        heappush(self.lanes, (key, seq, lane.serial, lane))

    def has_free(self) -> bool:
        """Whether a worker could begin such a task at once."""
        place = self.best()
        return place is not None and place.fits(self.shape)

    def next_waiting(self) -> Lane | None:
        """The most urgent lane that waits here; it does so no longer."""
        lanes = self.lanes
        while lanes:
            key, _, _, lane = heappop(lanes)
            if lane.keys.get(self) == key:
                del lane.keys[self]
                lane.missing.append(self)
                if lane.live:
                    return lane
        return None

    @property
    def most_urgent(self) -> float | None:
        """The key of the most urgent lane that waits here; None if none does."""
        lanes = self.lanes
        while lanes:
            key, _, _, lane = lanes[0]
            if lane.keys.get(self) == key and lane.live:
                return key
            heappop(lanes)
            if lane.keys.get(self) == key:
                del lane.keys[self]
                lane.missing.append(self)
        return None

    def reorder(self, key_of: Callable[[Lane, Group], float]) -> None:
        """Order those that wait anew, for keys that have changed."""
        entries = []
        for key, seq, serial, lane in self.lanes:
            if lane.keys.get(self) == key:
                lane.keys[self] = key_of(lane, self.group)
                entries.append((lane.keys[self], seq, serial, lane))
        heapify(entries)
        self.lanes = entries

    def _compact(self) -> None:
        """Keep one entry of each worker: there are several that say the same."""
        loads, group = self._loads, self.group
        kept = {e[1]: e for e in self._places if loads.get(e[1]) == e[0]}
        self._places = [e for e in kept.values() if e[3].group is group]
        heapify(self._places)

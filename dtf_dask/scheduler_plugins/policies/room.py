"""Who may submit how much: room in the queue is given out before tasks are sent. Pure.

Clients that ask are granted room for a number of tasks, each grant for a short time.
What is granted and has not come counts as if it waited already, so that together they
never send more than the queue may hold. Who asks while there is none stands in line.
The last of the room is kept for urgent work: it does not wait until others start.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class RoomSettings:
    """How room is given out.

    Parameters
    ----------
    lease_s
        Room that is not used within this time is anybody's again. Clients let go of it
        after half of it, so that what they send meanwhile still arrives in time.
    portion_max
        What a client may get beyond what it asks for, so that it need not ask again
        for each task.
    portion_share
        And which part of the free room that may be. Under pressure nobody is given
        more at once.
    asking_max
        Clients that stand in line; others are told to ask again.
    """

    lease_s: float = 10.0
    portion_max: int = 10_000
    portion_share: float = 0.125
    asking_max: int = 10_000


class Level(NamedTuple):
    """How full the queue is, and how full it may be.

    ``pressed_at`` is the number of tasks from which on clients are slowed down. Half
    of what may wait beyond it is kept for urgent work.
    """

    waiting: int
    bound: int
    pressed_at: int
    shedding: bool


class Asking(NamedTuple):
    """A client in line: for how many tasks, and how many at least, all or none."""

    number: int
    client: str
    want: int
    least: int
    urgent: bool = False


@dataclass(slots=True)
class _Lease:
    count: int
    until: float


class Room:
    """The room of one queue."""

    def __init__(self, settings: RoomSettings | None = None) -> None:
        self._settings = settings or RoomSettings()
        self._leases: dict[str, deque[_Lease]] = {}  # the oldest first
        self._lines: tuple[dict[int, Asking], ...] = ({}, {})  # the urgent, and others
        self._asked = 0
        self.leased = 0
        """Tasks that may come yet."""

    @property
    def lease_s(self) -> float:
        """For how long what is granted may be used."""
        return self._settings.lease_s / 2

    @property
    def asking(self) -> int:
        """How many clients stand in line."""
        return sum(map(len, self._lines))

    def ask(
        self, client: str, want: int, least: int, *, urgent: bool = False
    ) -> int | None:
        """Stand in line; the number of this request, or None if the line is full."""
        if self.asking >= self._settings.asking_max:
            return None
        self._asked += 1
        least = max(1, least)
        asking = Asking(self._asked, client, max(want, least), least, urgent)
        self._lines[not urgent][self._asked] = asking
        return self._asked

    def withdraw(self, number: int) -> None:
        """A client does not wait any longer."""
        for line in self._lines:
            line.pop(number, None)

    def came(self, client: str, count: int) -> None:
        """A client has sent tasks: they are in the queue, or will never be."""
        leases = self._leases.get(client)
        if leases is None:
            return
        while leases and count > 0:
            used = min(leases[0].count, count)
            leases[0].count -= used
            self.leased -= used
            count -= used
            if not leases[0].count:
                leases.popleft()
        if not leases:
            del self._leases[client]

    def left(self, client: str) -> None:
        """A client is gone, and what it was granted is anybody's."""
        self.leased -= sum(one.count for one in self._leases.pop(client, ()))
        for line in self._lines:
            for asking in [one for one in line.values() if one.client == client]:
                del line[asking.number]

    def serve(self, level: Level, now: float) -> list[tuple[Asking, int]]:
        """Who gets what now, first come, first served; these stand in line no more."""
        self._expire(now)
        served = []
        for line in self._lines:
            while line:
                asking = next(iter(line.values()))
                count = self._share(asking, level)
                if not count:
                    break
                del line[asking.number]
                until = now + self._settings.lease_s
                lease = _Lease(count, until)
                self._leases.setdefault(asking.client, deque()).append(lease)
                self.leased += count
                served.append((asking, count))
        return served

    def _free(self, level: Level, urgent: bool) -> int:
        if level.shedding:
            return 0
        kept = 0 if urgent else (level.bound - level.pressed_at) // 2
        return max(0, level.bound - kept - level.waiting - self.leased)

    def _share(self, asking: Asking, level: Level) -> int:
        """How much of the room the first in line gets; 0 if it has to wait."""
        free = self._free(level, asking.urgent)
        if asking.least > free:
            # What cannot be cut is let through alone, if it is larger than all room.
            alone = not (level.waiting or self.leased or level.shedding)
            return asking.least if alone else 0
        settings = self._settings
        portion = min(settings.portion_max, int(settings.portion_share * free))
        calm = level.pressed_at - level.waiting - self.leased
        if calm > 0:
            count = max(portion, min(asking.want, calm))
        else:
            count = min(portion, asking.want)
        return min(free, max(count, asking.least))

    def _expire(self, now: float) -> None:
        for client, leases in list(self._leases.items()):
            while leases and leases[0].until <= now:
                self.leased -= leases.popleft().count
            if not leases:
                del self._leases[client]

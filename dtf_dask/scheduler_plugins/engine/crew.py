"""Workers that come, change and go. Pure."""

from __future__ import annotations

from dtf_dask.scheduler_plugins.engine.core import Core
from dtf_dask.scheduler_plugins.engine.endings import Endings
from dtf_dask.scheduler_plugins.engine.gang import Gangs
from dtf_dask.scheduler_plugins.engine.places import Place
from dtf_dask.scheduler_plugins.engine.terms import Key, Notice, Offer


class Crew:
    """What is heard of workers, and what follows from it."""

    def __init__(self, core: Core, gangs: Gangs, endings: Endings) -> None:
        self._core = core
        self._gangs = gangs
        self._endings = endings

    def changed(self, name: str, offer: Offer, now: float) -> None:
        """A worker is there, with this."""
        core = self._core
        place = core.places.workers.get(name)
        if place is None:
            place, fresh = core.places.join(name, offer, now)
            core.tokens.add(offer.tokens)
            self._entered(place, fresh, now)
            return
        if place.offer == offer:
            return
        core.tokens.add(place.offer.tokens, -1)
        core.tokens.add(offer.tokens)
        if place.reserved is not None:
            self._gangs.dissolve(place.reserved)
        bereft, fresh = core.places.change(place, offer)
        for task in bereft:
            reason = f"a device that {task.key!r} runs on is lost"
            core.notices.append(Notice("hardware", name, reason))
            if task.ask.preemptible:
                core.kill(task, reason)
        self._entered(place, fresh, now)

    def left(self, name: str, now: float) -> list[Key]:
        """A worker is gone, and what it held is lost; returns the keys."""
        core = self._core
        place = core.places.workers.get(name)
        if place is None:
            return []
        place.bar("it has left")
        self._gangs.place_left(place)
        held = list(place.held.values())
        for task in held:
            self._endings.end(task, "lost", None, now)
        core.places.leave(name)
        core.tokens.add(place.offer.tokens, -1)
        core.breakers.worker_left(name)
        self._counted()
        return [task.key for task in held]

    def loaded(self, name: str, foreign: int, now: float) -> None:
        """So many of its threads are taken by others."""
        core = self._core
        place = core.places.workers.get(name)
        if place is None or place.foreign == foreign:
            return
        less = foreign < place.foreign
        place.foreign = max(0, foreign)
        core.begun(place.promote(), now)
        if less:
            core.freed(place)

    def paused(self, name: str, paused: bool, now: float) -> None:
        """It takes nothing for now, or again."""
        place = self._core.places.workers.get(name)
        if place is not None and place.paused != paused:
            place.paused = paused
            self._core.rebar(place, now)

    def health(self, name: str, ok: bool, reason: str, now: float) -> None:
        """What its own check says."""
        core = self._core
        core.breakers.health(name, ok, reason)
        place = core.places.workers.get(name)
        if place is not None:
            core.rebar(place, now)

    def quarantine(self, name: str, reason: str, now: float) -> None:
        """Somebody wants it to be sent nothing, or no more if there is no reason."""
        core = self._core
        core.breakers.quarantine(name, reason)
        place = core.places.workers.get(name)
        if place is not None:
            core.rebar(place, now)

    def _entered(self, place: Place, fresh: bool, now: float) -> None:
        """It is in a group that it was not in before, or can do more."""
        core = self._core
        self._counted()
        group = place.group
        assert group is not None
        core.rebar(place, now)
        if group.accept is not None:
            core.accepts_changed(now)
        if fresh:
            core.group_entered(group, now)
        core.begun(place.promote(), now)
        core.freed(place)
        if core.parked:
            core.unpark(now)
        self._gangs.stirred = True

    def _counted(self) -> None:
        core = self._core
        core.tenants.threads = core.places.threads
        core.breakers.workers = len(core.places.workers)

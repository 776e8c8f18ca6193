"""Which workers each lane can have, in which order, and when others go before it. Pure.

Scarce workers are protected: work that runs nearly anywhere takes others first, and
gives way for a while where work waits that runs nearly nowhere else. Without that it
takes the best machines, and the choosy work comes last.
"""

from __future__ import annotations

import math

from dtf_dask.scheduler_plugins.engine.engine_settings import EngineSettings
from dtf_dask.scheduler_plugins.engine.groups import Group, Places
from dtf_dask.scheduler_plugins.engine.lanes import Lane, Lanes

_SHARE = 20  # of the time: one part of so many is what weighing costs at most
_LANE_WORKER_S = 2e-7  # about what it costs for one lane and one worker
_RARITY_STEPS = 8


class Standing:
    """Matches lanes with groups."""

    def __init__(self, settings: EngineSettings, places: Places, lanes: Lanes) -> None:
        self._settings = settings
        self._places = places
        self._lanes = lanes
        self._stale = False
        self._weighed_at = -math.inf

    def fill(self, lane: Lane) -> None:
        """Find the groups that can run the tasks of a lane."""
        lane.groups = [g for g in self._places.groups if not g.refuses(lane)]
        self.arrange(lane)
        rarity = self._rarity(lane)
        if any(group.rarity < rarity for group in lane.groups):
            self._stale = True

    def arrange(self, lane: Lane) -> None:
        """Score the groups of a lane, and say by how much it gives way in each."""
        lane.groups = [group for group in lane.groups if group.members]
        lane.threads = sum(group.threads for group in lane.groups)
        rarity, settings = self._rarity(lane), self._settings
        prefer = lane.want.prefer
        offers = []
        for group in lane.groups:
            excess = max(0.0, group.rarity - rarity)
            score = round(settings.weight_scarcity * 100 * (1 - excess))
            if prefer is not None:
                answer = self._places.traits.answer(prefer, group.example.offer)
                score += settings.weight_prefer * answer
            offers.append((settings.scarcity_s * excess, score, group))
        lane.arrange(offers)

    def entered(self, group: Group) -> list[Lane]:
        """There is a new group, or one that can do more; returns who can have it."""
        lanes = []
        for lane in self._lanes:
            if group not in lane.scores and not group.refuses(lane):
                lane.groups.append(group)
                self.arrange(lane)
                lanes.append(lane)
        self._stale = True
        return lanes

    def weighed(self, now: float) -> bool:
        """Weigh anew which workers are scarce, if that has changed, and not too often.

        Returns whether it did: then all lanes are arranged anew.
        """
        passed_s = now - self._weighed_at
        cost_s = len(self._lanes) * len(self._places.workers) * _LANE_WORKER_S
        if not self._stale or passed_s < cost_s * _SHARE:
            return False
        self._stale = False
        self._weighed_at = now
        self._weigh()
        for lane in self._lanes:
            self.arrange(lane)
        return True

    def _weigh(self) -> None:
        """How rare each group's workers are, for the choosiest that wait for them."""
        for group in self._places.groups:
            group.rarity = 0.0
        for lane in self._lanes:
            lane.groups = [group for group in lane.groups if group.members]
            lane.threads = sum(group.threads for group in lane.groups)
            rarity = self._rarity(lane)
            for group in lane.groups:
                group.rarity = max(group.rarity, rarity)

    def _rarity(self, lane: Lane) -> float:
        """0 for what runs nearly anywhere, towards 1 for what runs nearly nowhere."""
        total = self._places.threads
        if not total or not lane.threads:
            return 0.0
        steps = _RARITY_STEPS * (total - lane.threads) // total
        return steps / _RARITY_STEPS

"""How long a task is expected to take, and from when on it is due. Pure."""

from __future__ import annotations

import math

from dtf_dask.scheduler_plugins.engine.engine_settings import EngineSettings
from dtf_dask.scheduler_plugins.engine.terms import Ask
from dtf_dask.scheduler_plugins.policies.custom import Policies
from dtf_dask.scheduler_plugins.policies.estimate import Estimate, Estimates, told

PRIORITY_MAX = 1e6


class Urgency:
    """Reckons a task's place in the order; see `lanes`."""

    def __init__(
        self, settings: EngineSettings, estimates: Estimates, policies: Policies
    ) -> None:
        self._settings = settings
        self._estimates = estimates
        self._policies = policies
        self._patience = {one.name: one.patience_s for one in settings.classes}

    def due(self, ask: Ask, ready_at: float, now: float) -> tuple[float, float]:
        """Since when a task is due, and when it must begin for its deadline."""
        settings = self._settings
        patience = self._patience.get(ask.priority_class)
        if patience is None:
            patience = settings.classes[-1].patience_s
        due = ready_at + patience
        if self._policies.orders:
            due += self._policies.order(ask, now)
        if ask.priority:
            priority = min(max(ask.priority, -PRIORITY_MAX), PRIORITY_MAX)
            due -= priority * settings.priority_step_s
        if ask.deadline is None:
            return due, math.inf
        latest = ask.deadline - self.expected_s(ask)
        return (due if due < latest else latest), latest

    def expected_s(self, ask: Ask, kind: str = "") -> float:
        """How long it will take, on some kind of worker."""
        return self.estimate(ask, kind).seconds

    def estimate(self, ask: Ask, kind: str) -> Estimate:
        """The same, with what stands behind it."""
        expected_s = ask.expected_s
        if expected_s is not None:
            return told(expected_s, ask.guessed)
        return self._estimates.of(
            ask.name, kind, self._settings.default_s, ask.priority_class
        )

"""Policies that others write: filters, scores and orders beside our own. Pure.

A policy is an object with one of three methods, named and enabled by configuration. It
looks at values and answers with a value; what it answers is bounded, and a policy that
raises, or answers with nonsense, is switched off, with a notice, and the scheduler goes
on without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from dtf_dask.scheduler_plugins.engine.terms import Ask, Notice

POLICIES_MAX = 32
"""So many policies may be enabled: each is called for every task and worker."""

REASONS_MAX = 8
REASON_LENGTH_MAX = 300
"""Of one filter's answer; what is beyond is cut off."""

SCORE_MAX = 100
SCORE_NEUTRAL = 50

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class WorkerView:
    """What a policy may know of a worker. Not to be changed.

    ``free`` is what it has left, by name: ``cpu`` (threads), ``memory`` (bytes),
    ``gpu``, custom resources. ``group`` is the kind of worker under which durations
    are learned.
    """

    name: str
    group: str
    facts: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    threads: int = 0
    running: int = 0
    free: Mapping[str, float] = field(default_factory=lambda: _EMPTY)


@runtime_checkable
class Filter(Protocol):
    """Says which workers a task may not run on."""

    def filter(self, ask: Ask, worker: WorkerView) -> tuple[str, ...]:
        """Why not, in words that a user can act on; empty if it may."""


@runtime_checkable
class Score(Protocol):
    """Says which workers a task had better run on."""

    def score(self, ask: Ask, worker: WorkerView) -> int:
        """From 0 (rather not) to 100 (the best there is)."""


@runtime_checkable
class Order(Protocol):
    """Says which tasks are to run sooner, or later."""

    def order(self, ask: Ask, now: float) -> float:
        """By how many seconds it is later; earlier below 0."""


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """``order_cap_s`` is the most that all orders together move a task."""

    order_cap_s: float = 3600.0


class _Broken(Exception):
    """A policy answered with what is no answer."""


class Policies:
    """The policies that are enabled, in the order of their names.

    Parameters
    ----------
    policies
        By name. One object may be a filter, a score and an order at once.

    Raises
    ------
    ValueError
        If one is neither, or if there are too many: a broken configuration fails the
        start and not the first task.
    """

    def __init__(
        self,
        policies: Mapping[str, object] = _EMPTY,
        settings: PolicySettings | None = None,
    ) -> None:
        self._settings = settings or PolicySettings()
        if len(policies) > POLICIES_MAX:
            raise ValueError(f"{len(policies)} policies, at most {POLICIES_MAX} may be")
        self._filters: dict[str, Filter] = {}
        self._scores: dict[str, Score] = {}
        self._orders: dict[str, Order] = {}
        self._notices: list[Notice] = []
        self.disabled: dict[str, str] = {}
        """Those that were switched off, and why."""
        for name, policy in sorted(policies.items()):
            self._enable(name, policy)

    def __bool__(self) -> bool:
        return bool(self._filters or self._scores or self._orders)

    @property
    def filters(self) -> bool:
        """Whether there is any, so that nobody makes views in vain."""
        return bool(self._filters)

    @property
    def scores(self) -> bool:
        """Whether there is any."""
        return bool(self._scores)

    @property
    def orders(self) -> bool:
        """Whether there is any."""
        return bool(self._orders)

    def filter(self, ask: Ask, worker: WorkerView) -> tuple[str, ...]:
        """Why it may not run there, by all filters; each reason names its filter."""
        reasons: list[str] = []
        for name, policy in list(self._filters.items()):
            answer = self._ask(name, _reasons, policy.filter, ask, worker)
            for reason in answer or ():
                reasons.append(f"{reason} ({name})")
        return tuple(reasons)

    def score(self, ask: Ask, worker: WorkerView) -> int:
        """The mean of all scores, 0 to 100; 50 where there are none."""
        scores = []
        for name, policy in list(self._scores.items()):
            answer = self._ask(name, _score, policy.score, ask, worker)
            if answer is not None:
                scores.append(answer)
        return round(sum(scores) / len(scores)) if scores else SCORE_NEUTRAL

    def order(self, ask: Ask, now: float) -> float:
        """By how many seconds a task is later, by all orders; within the cap."""
        total_s = 0.0
        for name, policy in list(self._orders.items()):
            total_s += self._ask(name, _seconds, policy.order, ask, now) or 0.0
        cap_s = self._settings.order_cap_s
        return min(max(total_s, -cap_s), cap_s)

    def take_notices(self) -> list[Notice]:
        """Which were switched off since the last call."""
        notices, self._notices = self._notices, []
        return notices

    def _enable(self, name: str, policy: object) -> None:
        known = False
        if isinstance(policy, Filter):
            self._filters[name] = policy
            known = True
        if isinstance(policy, Score):
            self._scores[name] = policy
            known = True
        if isinstance(policy, Order):
            self._orders[name] = policy
            known = True
        if isinstance(policy, type):
            raise ValueError(f"policy {name!r} is a class: an object of it is needed")
        if not known:
            raise ValueError(
                f"policy {name!r} has no method filter(ask, worker),"
                " score(ask, worker) or order(ask, now)"
            )

    def _ask(
        self,
        name: str,
        read: Callable[[Any], Any],
        method: Callable[..., Any],
        *given: Any,
    ) -> Any:
        """What a policy says; None, and it is switched off, if it fails to."""
        try:
            return read(method(*given))
        except Exception as error:  # it is somebody else's code
            what = _said(error)
            for table in (self._filters, self._scores, self._orders):
                table.pop(name, None)
            self.disabled[name] = what
            self._notices.append(
                Notice("policy", name, f"switched off: {what}. Scheduling goes on.")
            )
            return None


def _said(error: Exception) -> str:
    try:
        words = str(error)[:REASON_LENGTH_MAX]
    except Exception:  # even its words are somebody else's code
        words = "(no words)"
    if isinstance(error, _Broken):
        return words
    return f"it raised {type(error).__name__}: {words}"


def _reasons(answer: Any) -> tuple[str, ...]:
    if not isinstance(answer, tuple | list) or not all(
        isinstance(reason, str) for reason in answer
    ):
        raise _Broken(f"filter() is to give a tuple of reasons, not {_shown(answer)}")
    return tuple(reason[:REASON_LENGTH_MAX] for reason in answer[:REASONS_MAX])


def _score(answer: Any) -> int:
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        raise _Broken(f"score() is to give a number, not {_shown(answer)}")
    if not 0 <= answer <= SCORE_MAX:
        raise _Broken(f"score() is to give 0 to {SCORE_MAX}, not {_shown(answer)}")
    return round(answer)


def _seconds(answer: Any) -> float:
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        raise _Broken(f"order() is to give a number of seconds, not {_shown(answer)}")
    if not math.isfinite(answer):
        raise _Broken(f"order() is to give a finite number, not {_shown(answer)}")
    return float(answer)


def _shown(answer: Any) -> str:
    return f"{type(answer).__name__} {answer!r}"[:80]

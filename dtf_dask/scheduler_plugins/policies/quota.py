"""Tenants: a fair share of the threads, guarantees that others may borrow, caps. Pure.

A tenant's usage is the threads it has now, and the mean of those it had of late: what
is long ago counts for less, by a half-life. Who has more than its share waits a little
longer, at most ``share_cap_s``: without that bound, tasks with deadlines would pay for
fairness. Nothing is kept free for anybody: a tenant that is alone has everything, and a
guaranteed share means to be served first, not that threads stand idle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from dtf_dask.quantities import format_size

_LEVEL_MIN = 0.01  # threads; a tenant that waits for nothing and had less is forgotten
_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Quota:
    """What one tenant may have.

    Parameters
    ----------
    weight
        Its fair share, in relation to those of the others.
    guaranteed_share
        Of all threads: while it has less, it is served before those who have theirs.
    share_max
        Of all threads: the most it may have, at least one thread.
    amounts_max
        The most it may have of other things: ``gpu``, ``memory``, custom resources.

    Raises
    ------
    ValueError
        If a number makes no sense.
    """

    weight: float = 1.0
    guaranteed_share: float = 0.0
    share_max: float = 1.0
    amounts_max: Mapping[str, float] = field(default_factory=lambda: _EMPTY)

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise ValueError(f"weight must be more than 0, not {self.weight}")
        if not 0 <= self.guaranteed_share <= self.share_max <= 1:
            raise ValueError(
                "shares are between 0 and 1, and the guaranteed one is no larger than"
                f" the largest: not {self.guaranteed_share} and {self.share_max}"
            )
        for name, amount in self.amounts_max.items():
            if not 0 <= amount < math.inf:
                raise ValueError(f"{name} must not be negative, as {amount} is")


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """Quotas by tenant, and how fair share is reckoned.

    Parameters
    ----------
    quotas, default
        Of the tenants named, and of each other one.
    half_life_s
        After so long usage counts half.
    share_cap_s
        The most that fair share moves a tenant forward, or back.
    guarantee_lead_s
        How much a tenant comes forward that has less than what is guaranteed to it.
    tenants_max
        Tenants remembered; those that have or want something are, whatever it says.

    Raises
    ------
    ValueError
        If a number makes no sense, or more than everything is guaranteed.
    """

    quotas: Mapping[str, Quota] = field(default_factory=lambda: _EMPTY)
    default: Quota = field(default_factory=Quota)
    half_life_s: float = 600.0
    share_cap_s: float = 60.0
    guarantee_lead_s: float = 3600.0
    tenants_max: int = 1000

    def __post_init__(self) -> None:
        if not 0 < self.half_life_s < math.inf:
            raise ValueError(f"half_life_s must be more than 0, not {self.half_life_s}")
        if not (0 <= self.share_cap_s < math.inf and self.guarantee_lead_s >= 0):
            raise ValueError("share_cap_s and guarantee_lead_s must not be negative")
        guaranteed = sum(quota.guaranteed_share for quota in self.quotas.values())
        if guaranteed > 1 + 1e-9:
            raise ValueError(f"quotas guarantee {guaranteed:.0%} of all threads")


class _Level:
    """The decayed mean of a number that changes in steps.

    Between steps it nears the number, by half in each half-life: so it is exact
    whenever it is asked for, and needs no timer. ``rate`` is ln 2 / half-life.
    """

    __slots__ = ("current", "stamp", "value")

    def __init__(self, now: float) -> None:
        self.current = 0.0
        self.value = 0.0
        self.stamp = now

    def at(self, now: float, rate: float) -> float:
        passed_s = now - self.stamp
        if passed_s > 0:
            current = self.current
            self.value = current + (self.value - current) * math.exp(-passed_s * rate)
            self.stamp = now
        return self.value

    def step(self, change: float, now: float, rate: float) -> None:
        if now > self.stamp:
            self.at(now, rate)
        self.current += change


class _Tenant:
    """What one tenant has, wants and had."""

    __slots__ = ("level", "moved", "others", "quota", "tasks", "waiting")

    def __init__(self, quota: Quota, now: float) -> None:
        self.quota = quota
        self.level = _Level(now)  # of threads
        self.others: dict[str, float] = {}  # of what the quota bounds
        self.tasks = 0
        self.waiting = 0
        self.moved = False  # since it was last taken down

    @property
    def present(self) -> bool:
        return self.tasks > 0 or self.waiting > 0


class Tenants:
    """Who had how much, whose turn it is, and who may have no more."""

    def __init__(self, settings: TenantSettings | None = None) -> None:
        self._settings = settings or TenantSettings()
        self._rate = math.log(2) / self._settings.half_life_s
        self._tenants: dict[str, _Tenant] = {}
        # Sums over those present, so that an event and a question cost O(1).
        self._sum = _Level(0.0)
        self._weights = 0.0
        self._present = 0
        self._threads = 0
        self.turned = False
        """Whether somebody came below its guarantee, or has it again; to be reset."""

    @property
    def threads(self) -> int:
        """Of all workers; to be set as they come and go."""
        return self._threads

    @threads.setter
    def threads(self, count: int) -> None:
        self._threads, self.turned = count, True

    def offset_s(self, tenant: str, now: float) -> float:
        """By how much its tasks are later (or earlier, below 0) than they would be.

        Between -``share_cap_s`` and ``share_cap_s``: the relation of what it has and
        had to its fair share of what all have and had that want something now. A
        tenant below its guarantee is ``guarantee_lead_s`` earlier besides.
        """
        record = self._tenants.get(tenant)
        if record is None:
            quota, current, used = self._quota(tenant), 0.0, 0.0
        else:
            quota, level = record.quota, record.level
            current = level.current
            used = (current + level.at(now, self._rate)) / quota.weight
        lead_s = 0.0
        if self._lacks(quota, current):
            lead_s = self._settings.guarantee_lead_s
        total = self._sum
        mean = total.current + total.at(now, self._rate)
        if mean <= 0 or used < 0 or self._weights <= 0:
            return -lead_s
        mean /= self._weights
        return self._settings.share_cap_s * ((used - mean) / (used + mean)) - lead_s

    def may_start(self, tenant: str, amounts: tuple[tuple[str, float], ...]) -> str:
        """Why the tenant may not start a task that uses these amounts now, or "".

        The cap is hard. What it says about threads is never less than one.
        """
        record = self._tenants.get(tenant)
        quota = record.quota if record else self._quota(tenant)
        if quota.share_max < 1.0:
            wanted = _threads(amounts)
            most = max(1.0, quota.share_max * self.threads)
            used = record.level.current if record else 0.0
            if used + wanted > most + 1e-9:
                return (
                    f"tenant {tenant!r} uses {used:.4g} of the {most:.4g} threads that"
                    f" its quota allows, this needs {wanted:.4g}"
                )
        if quota.amounts_max:
            for name, amount in amounts:
                limit = quota.amounts_max.get(name)
                if limit is None or not amount:
                    continue
                used = record.others.get(name, 0.0) if record else 0.0
                if used + amount > limit + 1e-9:
                    say = _size if "memory" in name else _number
                    return (
                        f"tenant {tenant!r} uses {say(used)} of the {say(limit)} of"
                        f" {name} that its quota allows, this needs {say(amount)}"
                    )
        return ""

    def waits(self, tenant: str, change: int, now: float) -> None:
        """So many more of its tasks wait (fewer, below 0).

        Optional: those who want something count when shares are compared.
        """
        record = self._record(tenant, now)
        before = record.present
        record.waiting = max(0, record.waiting + change)
        if record.present != before:
            self._moved(record, now)

    def started(
        self, tenant: str, amounts: tuple[tuple[str, float], ...], now: float
    ) -> None:
        """One of its tasks was granted, and holds these amounts until it has ended."""
        self._step(tenant, amounts, 1, now)

    def ended(
        self, tenant: str, amounts: tuple[tuple[str, float], ...], now: float
    ) -> None:
        """One of its tasks gave back what it held; the same amounts as at its start."""
        self._step(tenant, amounts, -1, now)

    def moved(self, now: float) -> list[tuple[str, float]]:
        """Threads each tenant had of late, of those that had some since the last call.

        What the others had decays by itself, wherever it was written down.
        """
        rows = []
        for name, record in self._tenants.items():
            if record.tasks or record.moved:
                record.moved = False
                rows.append((name, record.level.at(now, self._rate)))
        return rows

    def recall(self, tenant: str, level: float, age_s: float, now: float) -> None:
        """So many threads it had of late, so long ago; it adds to what it had since."""
        level *= math.exp(-max(0.0, age_s) * self._rate)
        if level < _LEVEL_MIN:
            return
        record = self._record(tenant, now)
        record.level.at(now, self._rate)
        record.level.value += level
        if record.present:
            self._sum.at(now, self._rate)
            self._sum.value += level

    def _step(
        self, tenant: str, amounts: tuple[tuple[str, float], ...], sign: int, now: float
    ) -> None:
        record = self._tenants.get(tenant) or self._record(tenant, now)
        before = record.tasks > 0 or record.waiting > 0
        record.moved = True
        threads = sign * _threads(amounts)
        record.tasks += sign
        limits = record.quota.amounts_max
        if limits:
            for name, amount in amounts:
                if name in limits:
                    record.others[name] = record.others.get(name, 0.0) + sign * amount
        if record.tasks <= 0:  # so it has nothing, whatever sums of fractions say
            record.tasks = 0
            record.others.clear()
            threads = -record.level.current
        lacked = self._lacks(record.quota, record.level.current)
        record.level.step(threads, now, self._rate)
        if self._lacks(record.quota, record.level.current) is not lacked:
            self.turned = True
        if before:
            self._sum.step(threads, now, self._rate)
        if (record.tasks > 0 or record.waiting > 0) is not before:
            self._moved(record, now)

    def _lacks(self, quota: Quota, current: float) -> bool:
        """Whether who has so many threads has less than what is guaranteed to it."""
        share = quota.guaranteed_share
        return share > 0 and current + 1e-9 < share * self._threads

    def _moved(self, record: _Tenant, now: float) -> None:
        """It has come or gone: the sums are over those present."""
        sign = 1 if record.present else -1
        self._present += sign
        if self._present == 0:  # no error of sums outlives the last tenant
            self._weights, self._sum = 0.0, _Level(now)
            return
        self._weights += sign * record.quota.weight
        self._sum.step(sign * record.level.current, now, self._rate)
        self._sum.value += sign * record.level.at(now, self._rate)

    def _quota(self, tenant: str) -> Quota:
        return self._settings.quotas.get(tenant, self._settings.default)

    def _record(self, tenant: str, now: float) -> _Tenant:
        record = self._tenants.get(tenant)
        if record is None:
            if len(self._tenants) >= self._settings.tenants_max:
                self._forget(now)
            record = self._tenants[tenant] = _Tenant(self._quota(tenant), now)
        return record

    def _forget(self, now: float) -> None:
        """Make room: those who had next to nothing, else the absent ones' lesser half.

        Half of them at once, so that strangers in a row do not cost a search each.
        """
        absent = sorted(
            (record.level.at(now, self._rate), place, name)
            for place, (name, record) in enumerate(self._tenants.items())
            if not record.present
        )
        for rank, (level, _, name) in enumerate(absent):
            if level < _LEVEL_MIN or 2 * rank <= len(absent):
                del self._tenants[name]


def _threads(amounts: tuple[tuple[str, float], ...]) -> float:
    for name, amount in amounts:
        if name == "cpu":
            return amount
    return 1.0


def _number(amount: float) -> str:
    return f"{amount:.4g}"


def _size(amount: float) -> str:
    return format_size(int(amount))

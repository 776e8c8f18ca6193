"""When to charge a battery and when to use it, so that a bill is the lowest.

Exact, by dynamic programming over (hour, charge): backwards, the least that the hours
from here on can cost for every charge that the battery may hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from household.tariff import Tariff


@dataclass(frozen=True)
class Battery:
    """Tenths of a kWh that it holds, and that it takes or gives in an hour."""

    capacity: int
    power: int

    def __post_init__(self) -> None:
        if self.capacity < 0 or self.power < 0:
            raise ValueError("a battery holds and gives no less than nothing")


@dataclass(frozen=True)
class Plan:
    """What it costs, and the charge after each hour."""

    cost: int
    charges: tuple[int, ...]


def hour_cost(bought: int, price: int, feed_in: int) -> int:
    """Return the cost of one hour; what is not bought but left over is fed in."""
    return bought * price if bought >= 0 else bought * feed_in


def cost_without(net: Sequence[int], tariff: Tariff) -> int:
    """Return the bill of somebody who has no battery."""
    return sum(
        hour_cost(load, tariff.price(hour), tariff.feed_in)
        for hour, load in enumerate(net)
    )


def best_plan(net: Sequence[int], tariff: Tariff, battery: Battery) -> Plan:
    """Return the cheapest plan that starts with an empty battery."""
    charges = range(battery.capacity + 1)
    ahead = [0] * len(charges)
    choices: list[list[int]] = []
    for hour in range(len(net) - 1, -1, -1):
        price, load = tariff.price(hour), net[hour]
        here: list[int] = []
        choice: list[int] = []
        for charge in charges:
            best, best_next = None, charge
            low = max(0, charge - battery.power)
            high = min(battery.capacity, charge + battery.power)
            for after in range(low, high + 1):
                bought = load + after - charge
                cost = ahead[after] + (
                    bought * price if bought >= 0 else bought * tariff.feed_in
                )
                if best is None or cost < best:
                    best, best_next = cost, after
            here.append(best if best is not None else 0)
            choice.append(best_next)
        ahead = here
        choices.append(choice)
    charge, path = 0, []
    for choice in reversed(choices):
        charge = choice[charge]
        path.append(charge)
    return Plan(ahead[0], tuple(path))


def plan_cost(plan: Plan, net: Sequence[int], tariff: Tariff) -> int:
    """Return what a plan costs, hour by hour from its charges."""
    total, charge = 0, 0
    for hour, (load, after) in enumerate(zip(net, plan.charges, strict=True)):
        total += hour_cost(load + after - charge, tariff.price(hour), tariff.feed_in)
        charge = after
    return total

import itertools

import pytest

from household.battery import Battery, Plan, best_plan, cost_without, plan_cost
from household.profile import net
from household.tariff import DAY_AND_NIGHT, EVENING_PEAK, Tariff

TARIFFS = {"day-and-night": DAY_AND_NIGHT, "evening-peak": EVENING_PEAK}


@pytest.mark.parametrize("name", TARIFFS)
@pytest.mark.parametrize("capacity", [40, 80, 120])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_battery_never_costs_more(name: str, capacity: int, seed: int) -> None:
    tariff, hours = TARIFFS[name], net(72, seed=seed)
    plan = best_plan(hours, tariff, Battery(capacity, power=20))
    assert plan.cost == plan_cost(plan, hours, tariff)
    assert plan.cost <= cost_without(hours, tariff)


@pytest.mark.parametrize("seed", range(6))
def test_the_plan_is_the_best_there_is(seed: int) -> None:
    """Against all that could be done in a few hours with a small battery."""
    hours, battery = net(6, seed=seed), Battery(capacity=4, power=4)
    every = itertools.product(range(battery.capacity + 1), repeat=len(hours))
    cheapest = min(plan_cost(Plan(0, path), hours, EVENING_PEAK) for path in every)
    assert best_plan(hours, EVENING_PEAK, battery).cost == cheapest


@pytest.mark.parametrize("power", [5, 15, 30])
def test_a_battery_keeps_to_its_power(power: int) -> None:
    plan = best_plan(net(48), DAY_AND_NIGHT, Battery(capacity=40, power=power))
    steps = zip((0, *plan.charges), plan.charges, strict=False)
    assert all(abs(after - before) <= power for before, after in steps)


def test_it_is_empty_at_the_end() -> None:
    plan = best_plan(net(48), DAY_AND_NIGHT, Battery(capacity=40, power=20))
    assert plan.charges[-1] == 0


def test_one_price_for_all_gives_it_nothing_to_gain() -> None:
    flat = Tariff(base=3000, feed_in=3000)
    assert best_plan(net(48), flat, Battery(40, 20)).cost == cost_without(net(48), flat)


def test_no_battery_is_a_battery_of_nothing() -> None:
    hours = net(48)
    plan = best_plan(hours, EVENING_PEAK, Battery(0, 0))
    assert plan.cost == cost_without(hours, EVENING_PEAK)


def test_a_battery_of_less_than_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no less than nothing"):
        Battery(-1, 1)

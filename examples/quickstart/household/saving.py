"""What a battery saves: called as a case by dtf.toml, and on the command line."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from household.battery import Battery, best_plan, cost_without
from household.ledger import euros
from household.profile import net
from household.tariff import DAY_AND_NIGHT, EVENING_PEAK

TARIFFS = {"day-and-night": DAY_AND_NIGHT, "evening-peak": EVENING_PEAK}


def saving(tariff: str, capacity: int, hours: int = 72) -> dict[str, str]:
    """Return the bills with and without a battery; fails if it saves nothing."""
    loads = net(hours)
    without = cost_without(loads, TARIFFS[tariff])
    best = best_plan(loads, TARIFFS[tariff], Battery(capacity, power=20)).cost
    assert best < without, f"{capacity / 10} kWh save nothing at {tariff}"
    return {
        "without": _bill(without),
        "with": _bill(best),
        "saved": _bill(without - best),
    }


def main() -> None:
    """Write the plan of three days to a CSV file."""
    parser = argparse.ArgumentParser(description="Plan a battery of 8 kWh.")
    parser.add_argument("tariff", choices=TARIFFS)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    loads = net(72)
    plan = best_plan(loads, TARIFFS[arguments.tariff], Battery(80, power=20))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["hour", "needed", "charge"])
        writer.writerows(zip(range(72), loads, plan.charges, strict=True))
    print(f"{arguments.tariff}: {_bill(plan.cost)}, hour by hour in {arguments.out}")


def _bill(cost: int) -> str:
    """A cost in euros: prices are for a whole kWh, loads are tenths of one."""
    return euros(round(cost / 10))


if __name__ == "__main__":
    main()

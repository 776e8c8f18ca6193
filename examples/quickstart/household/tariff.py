"""What an hour of electricity costs. Money is in whole hundredths of a cent."""

from __future__ import annotations

from dataclasses import dataclass

UNITS_PER_EURO = 10_000


@dataclass(frozen=True)
class Band:
    """A price for the hours from ``start`` up to, not including, ``end``.

    ``start > end`` goes over midnight.
    """

    start: int
    end: int
    price: int

    def __post_init__(self) -> None:
        if not (0 <= self.start < 24 and 0 < self.end <= 24 and self.start != self.end):
            raise ValueError(f"no hours of a day: {self.start} to {self.end}")

    def covers(self, hour: int) -> bool:
        if self.start < self.end:
            return self.start <= hour < self.end
        return hour >= self.start or hour < self.end


@dataclass(frozen=True)
class Tariff:
    """Prices per kWh by the hour of the day; the first band that covers it wins."""

    base: int
    bands: tuple[Band, ...] = ()
    feed_in: int = 0

    def price(self, hour: int) -> int:
        """Return the price in an hour, counted from any midnight."""
        for band in self.bands:
            if band.covers(hour % 24):
                return band.price
        return self.base

    def prices(self, hours: int) -> list[int]:
        """Return the prices of the first hours."""
        return [self.price(hour) for hour in range(hours)]


def parse_price(text: str) -> int:
    """Read a price such as ``"0.3125 EUR"``.

    A comma is a decimal point, and spaces do not matter.
    """
    number, _, currency = text.strip().replace(",", ".").partition(" ")
    if currency.strip().upper() != "EUR":
        raise ValueError(f"expected a price in EUR, not {text!r}")
    whole, _, fraction = number.partition(".")
    if (
        not whole.isdigit()
        or len(fraction) > 4
        or (fraction and not fraction.isdigit())
    ):
        raise ValueError(f"expected up to four decimals, not {text!r}")
    return int(whole) * UNITS_PER_EURO + int(fraction.ljust(4, "0"))


DAY_AND_NIGHT = Tariff(base=3200, bands=(Band(22, 6, 1900),), feed_in=800)
EVENING_PEAK = Tariff(
    base=2500, bands=(Band(17, 21, 4800), Band(1, 5, 900)), feed_in=500
)

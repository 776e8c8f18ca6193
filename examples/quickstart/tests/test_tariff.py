import pytest

from household.tariff import DAY_AND_NIGHT, EVENING_PEAK, Band, Tariff, parse_price


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("0.3125 EUR", 3125),
        ("0,29 EUR", 2900),
        ("1 EUR", 10_000),
        ("  12.5   eur ", 125_000),
        ("0.0001 EUR", 1),
    ],
)
def test_prices_are_read(text: str, price: int) -> None:
    assert parse_price(text) == price


@pytest.mark.parametrize("text", ["", "EUR", "0.3", "0.3 USD", "-1 EUR", "0.12345 EUR"])
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_price(text)


@pytest.mark.parametrize(
    ("hour", "price"), [(5, 1900), (6, 3200), (21, 3200), (22, 1900)]
)
def test_a_band_may_go_over_midnight(hour: int, price: int) -> None:
    assert DAY_AND_NIGHT.price(hour) == price


def test_every_day_costs_the_same() -> None:
    prices = EVENING_PEAK.prices(72)
    assert prices[:24] == prices[24:48] == prices[48:]


def test_the_first_band_wins() -> None:
    tariff = Tariff(1, (Band(0, 12, 2), Band(6, 18, 3)))
    assert [tariff.price(hour) for hour in (3, 9, 15, 21)] == [2, 2, 3, 1]


@pytest.mark.parametrize(("start", "end"), [(-1, 5), (24, 5), (3, 3), (3, 25)])
def test_hours_that_no_day_has_are_refused(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="no hours of a day"):
        Band(start, end, 1)

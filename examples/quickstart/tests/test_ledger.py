import datetime
from pathlib import Path

import pytest

from household.ledger import Entry, Ledger, LedgerError, euros

JANUARY = datetime.date(2025, 1, 31)
FEBRUARY = datetime.date(2025, 2, 28)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "bills.csv")


def test_a_new_ledger_owes_nothing(ledger: Ledger) -> None:
    assert ledger.entries() == []
    assert ledger.balance() == 0


def test_bills_and_payments_add_up(ledger: Ledger) -> None:
    ledger.add(Entry(JANUARY, "January", 812_345))
    ledger.add(Entry(FEBRUARY, "paid", -800_000))
    assert ledger.balance() == 12_345


def test_entries_outlive_the_ledger(ledger: Ledger) -> None:
    entry = Entry(JANUARY, 'with "quotes", commas; and ünïcode', 1)
    ledger.add(entry)
    assert Ledger(ledger.path).entries() == [entry]


def test_the_past_is_not_rewritten(ledger: Ledger) -> None:
    ledger.add(Entry(FEBRUARY, "February", 1))
    with pytest.raises(LedgerError, match="before the last entry"):
        ledger.add(Entry(JANUARY, "January", 1))
    assert len(ledger.entries()) == 1


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2\n", "day,what,amount\nsoon,x,1\n", "day,what,amount\n1\n"]
)
def test_another_file_is_no_ledger(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.csv"
    path.write_text(text)
    with pytest.raises(LedgerError, match="no ledger|damaged"):
        Ledger(path).entries()


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0.00 EUR"),
        (12_345, "1.23 EUR"),
        (12_350, "1.24 EUR"),
        (12_450, "1.24 EUR"),
        (-99, "-0.01 EUR"),
        (-10, "0.00 EUR"),
        (10_000_000, "1000.00 EUR"),
    ],
)
def test_amounts_are_written_in_euros(amount: int, text: str) -> None:
    assert euros(amount) == text

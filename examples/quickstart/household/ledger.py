"""The bills of a household in a CSV file: added to, never rewritten."""

from __future__ import annotations

import csv
import datetime
from dataclasses import dataclass
from pathlib import Path

from household.tariff import UNITS_PER_EURO

_HEADER = ["day", "what", "amount"]


class LedgerError(ValueError):
    """The file is no ledger, or an entry would break it."""


@dataclass(frozen=True)
class Entry:
    """A bill (positive) or a payment (negative), in hundredths of a cent."""

    day: datetime.date
    what: str
    amount: int


class Ledger:
    """Entries in the order of their days."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            with path.open("x", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(_HEADER)

    def add(self, entry: Entry) -> None:
        """Append an entry; it may not be older than the last one."""
        last = self.entries()[-1:]
        if last and entry.day < last[0].day:
            raise LedgerError(f"{entry.day} is before the last entry, {last[0].day}")
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow([entry.day.isoformat(), entry.what, entry.amount])

    def entries(self) -> list[Entry]:
        """Read all entries."""
        with self.path.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        if header != _HEADER:
            raise LedgerError(f"{self.path.name} is no ledger: it begins with {header}")
        try:
            return [
                Entry(datetime.date.fromisoformat(day), what, int(amount))
                for day, what, amount in rows
            ]
        except ValueError as error:
            raise LedgerError(f"{self.path.name} is damaged: {error}") from error

    def balance(self) -> int:
        """Return what is owed."""
        return sum(entry.amount for entry in self.entries())


def euros(amount: int) -> str:
    """Write an amount in euros and cents, half a cent to the even one."""
    cents, rest = divmod(abs(amount), UNITS_PER_EURO // 100)
    half = UNITS_PER_EURO // 200
    if rest > half or (rest == half and cents % 2):
        cents += 1
    sign = "-" if amount < 0 and cents else ""
    return f"{sign}{cents // 100}.{cents % 100:02d} EUR"

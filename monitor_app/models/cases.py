"""The cases of a run, by the hundred thousand: found, sorted, and changed in place."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from PySide6.QtCore import QObject, Qt, QTimer

from monitor_app.models.arranged import (
    ALIGN,
    DISPLAY,
    FOREGROUND,
    LEFT,
    NOWHERE,
    RIGHT,
    SPOKEN,
    SQUARES,
    TIP,
    ArrangedModel,
    Index,
)
from monitor_app.models.language import mark, tr
from monitor_app.models.marks import OUTCOMES, mark_of
from monitor_app.models.words import count, duration, plain

OUTCOME, CASE, PAST, TOOK, ATTEMPTS = range(5)
TITLES = (
    *(mark("Outcome"), mark("Case"), mark("Earlier runs, this one last")),
    *(mark("Took"), mark("Attempts")),
)
_WORDS = (*OUTCOMES, "flaky", "unknown", "running")
_CODE = {word: code for code, word in enumerate(_WORDS)}
_FLAKY, _UNKNOWN, _RUNNING = (_CODE[one] for one in ("flaky", "unknown", "running"))
_FAILING = frozenset({_CODE[one] for one in ("failed", "error", "timeout", "lost")})

_SORTS = {-1: "order", CASE: "case_id", TOOK: "duration_s", ATTEMPTS: "attempts"}
_CELLS_FOR = 300
ARRANGED_MS = 1_000
"""Rows that should stand elsewhere now are moved after so long, not one by one."""


class CasesModel(ArrangedModel[int]):
    """The table. A case is known by its number, in the order of the plan.

    Parameters
    ----------
    colours
        What to paint the word of an outcome with, by the name of a colour.
    """

    def __init__(
        self, colours: Callable[[str], Any], parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._colours = colours
        self._keys = []
        self._ids: list[str] = []
        self._folded: list[str] = []
        self._numbers: dict[str, int] = {}
        self._outcomes = array("b")
        self._took = array("d")
        self._attempts = array("l")
        self._counts: Counter[int] = Counter()
        self._past: dict[int, tuple[str, ...]] = {}
        self._places: list[int] | None = None
        self._part = ""
        self._wanted: frozenset[int] = frozenset()
        self._sorted_by, self._descending = -1, False
        self._soon = QTimer(self, singleShot=True, interval=ARRANGED_MS)
        self._soon.timeout.connect(self._arrange)
        self.outcome_words = {code: tr(word) for word, code in _CODE.items()}

    # What is asked of it.

    @property
    def total(self) -> int:
        """How many cases there are, those too that are filtered out."""
        return len(self._ids)

    @property
    def ended(self) -> int:
        """How many of them have ended."""
        return self.total - self._counts[_UNKNOWN] - self._counts[_RUNNING]

    def case(self, place: int) -> str:
        """The id of the case that stands there; empty if there is none."""
        return self._ids[self._keys[place]] if 0 <= place < len(self._keys) else ""

    def outcome(self, place: int) -> str:
        """What the case came to that stands there."""
        return _WORDS[self._outcomes[self._keys[place]]]

    def place(self, case_id: str) -> int:
        """Where a case stands; -1 if it is not shown."""
        number = self._numbers.get(case_id)
        return -1 if number is None else self._placed()[number]

    def counts(self) -> Counter[str]:
        """How many came to what; flaky ones apart from those that passed."""
        return Counter({_WORDS[code]: n for code, n in self._counts.items()})

    def rows(self) -> Iterable[tuple[str, str, float, int]]:
        """What is shown: id, outcome, seconds, attempts."""
        for n in self._keys:
            word = _WORDS[self._outcomes[n]]
            yield self._ids[n], word, self._took[n], self._attempts[n]

    def lacks_past(self, first: int, last: int) -> int:
        """The first case in these rows of which nobody has told how it went before.

        By its number; -1 if there is none.
        """
        shown = self._keys[max(0, first) : last + 1]
        return next((number for number in shown if number not in self._past), -1)

    def has_no_past(self, number: int) -> None:
        """Nobody knows of it: it is not asked again."""
        self._past.setdefault(number, ())

    def question(self) -> dict[str, str] | None:
        """How a coordinator is asked for what is shown; None if it cannot be."""
        if len(self._wanted) > 1 or self._sorted_by not in _SORTS:
            return None
        if _RUNNING in self._wanted:
            return None
        outcome = "".join(_WORDS[one] for one in self._wanted)
        turned = "-" if self._descending and self._sorted_by >= 0 else ""
        sort = f"{turned}{_SORTS[self._sorted_by]}"
        return {"q": self._part, "outcome": outcome, "sort": sort}

    # What happens.

    def learn_past(self, items: Iterable[Mapping[str, Any]]) -> None:
        """How cases went in earlier runs, as `/runs/RUN/grid` lists them."""
        touched = []
        for one in items:
            number = self._numbers.get(str(one["case_id"]))
            if number is not None:
                self._past[number] = tuple(map(_came_to, one["past"]))
                touched.append(number)
        placed = self._placed()
        for place in sorted({placed[n] for n in touched} - {-1}):
            cell = self.index(place, PAST)
            self.dataChanged.emit(cell, cell)

    def clear(self) -> None:
        """There are none."""
        self.beginResetModel()
        self._keys, self._ids, self._folded, self._numbers = [], [], [], {}
        self._outcomes, self._took = array("b"), array("d")
        self._attempts, self._places = array("l"), None
        self._counts.clear()
        self._past = {}
        self.endResetModel()

    def read(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Cases as `/runs/RUN/cases` lists them: new ones, and those that are known."""
        before, touched = len(self._ids), []
        for one in items:
            number = self._number(str(one["case_id"]))
            flaky = bool(one["flaky"])
            code = _FLAKY if flaky else _CODE.get(one["outcome"], _UNKNOWN)
            was = (self._outcomes[number], self._attempts[number])
            now = (code, int(one["attempts"]))
            self._set(number, *now, float(one["duration_s"]))
            if number < before and was != now:
                touched.append(number)
        self._grown(before)
        self._touched(touched)

    def tried(self, attempts: Iterable[Mapping[str, Any]]) -> None:
        """Attempts as they end: see `/timeline`. To hear of one twice does no harm."""
        before, touched = len(self._ids), []
        for one in attempts:
            number = self._number(str(one["case_id"]))
            tries = int(one["number"])
            if tries < self._attempts[number]:
                continue
            code = _CODE.get(one["outcome"], _UNKNOWN)
            if code == _CODE["passed"] and (
                self._outcomes[number] in _FAILING or self._outcomes[number] == _FLAKY
            ):
                code = _FLAKY
            self._set(number, code, tries, float(one["duration_s"]))
            if number < before:
                touched.append(number)
        self._grown(before)
        self._touched(touched)

    def run(self, found: Mapping[str, float]) -> None:
        """These run now, for so many seconds, and no others that have not ended."""
        before, touched = len(self._ids), []
        if self._counts[_RUNNING]:
            running = (n for n, code in enumerate(self._outcomes) if code == _RUNNING)
            touched = [n for n in running if self._ids[n] not in found]
        for number in touched:
            self._set(number, _UNKNOWN, 0, self._took[number])
        for case_id, for_s in found.items():
            number = self._number(case_id)
            if self._outcomes[number] in (_UNKNOWN, _RUNNING):
                self._set(number, _RUNNING, 0, for_s)
                if number < before:
                    touched.append(number)
        self._grown(before)
        self._touched(touched)

    def find(self, part: str) -> None:
        """Show only those whose id holds this, in any case."""
        part = part.casefold()
        narrower = part.startswith(self._part) and self._sorted_by < 0
        self._part = part
        if narrower and part:
            folded = self._folded
            self._show([n for n in self._keys if part in folded[n]])
        else:
            self._arrange()

    def want(self, outcomes: Iterable[str]) -> None:
        """Show only those that came to one of these; all, if there are none."""
        self._wanted = frozenset(_CODE[one] for one in outcomes)
        self._arrange()

    def sort(
        self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder
    ) -> None:
        """Sort by a column (Qt calls this); by none: as it was planned."""
        self._sorted_by = column
        self._descending = order == Qt.SortOrder.DescendingOrder
        self._arrange()

    # What Qt asks.

    def columnCount(self, parent: Index = NOWHERE) -> int:
        """How many columns there are."""
        return 0 if parent.isValid() else len(TITLES)

    def data(self, index: Index, role: int = DISPLAY) -> Any:
        """What stands in a cell."""
        place, column = index.row(), index.column()
        if not 0 <= place < len(self._keys):
            return None
        number = self._keys[place]
        if role in (DISPLAY, TIP):
            return self._text(number, column)
        if role == ALIGN:
            return RIGHT if column in (TOOK, ATTEMPTS) else LEFT
        if role == SQUARES:
            return self._past.get(number) if column == PAST else None
        if role == FOREGROUND and column == OUTCOME:
            return self._colours(mark_of(_WORDS[self._outcomes[number]]).colour)
        if role == SPOKEN:
            text = self._text(number, column)
            if column == PAST:
                text = ", ".join(tr(one) for one in self._past.get(number, ()) if one)
            return f"{tr(TITLES[column])}: {text}"
        return None

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = DISPLAY
    ) -> Any:
        """The title of a column."""
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(TITLES):
            return None
        if role == DISPLAY:
            return tr(TITLES[section])
        if role == ALIGN:
            return RIGHT if section in (TOOK, ATTEMPTS) else LEFT
        return None

    # How it is done.

    def _text(self, number: int, column: int) -> str:
        if column == CASE:
            return plain(self._ids[number])
        if column == OUTCOME:
            code = self._outcomes[number]
            return f"{mark_of(_WORDS[code]).glyph} {self.outcome_words[code]}"
        if column == PAST:
            return "".join(
                mark_of(one).glyph if one else " " for one in self._past.get(number, ())
            )
        if column == TOOK:
            return duration(self._took[number])
        return count(self._attempts[number])

    def _number(self, case_id: str) -> int:
        number = self._numbers.get(case_id)
        if number is None:
            number = self._numbers[case_id] = len(self._ids)
            self._ids.append(case_id)
            self._folded.append(case_id.casefold())
            self._outcomes.append(_UNKNOWN)
            self._counts[_UNKNOWN] += 1
            self._took.append(0.0)
            self._attempts.append(0)
        return number

    def _set(self, number: int, code: int, attempts: int, took_s: float) -> None:
        self._counts[self._outcomes[number]] -= 1
        self._counts[code] += 1
        self._outcomes[number], self._attempts[number] = code, attempts
        self._took[number] = took_s

    def _grown(self, before: int) -> None:
        """Show those that are new."""
        new = [n for n in range(before, len(self._ids)) if self._is_wanted(n)]
        if not new:
            return
        if self._sorted_by >= 0:
            self._soon_arranged()
            return
        start = len(self._keys)
        self.beginInsertRows(NOWHERE, start, start + len(new) - 1)
        self._keys += new
        self._places = None
        self.endInsertRows()

    def _touched(self, numbers: Sequence[int]) -> None:
        if not numbers:
            return
        placed = self._placed()
        places = sorted({placed[n] for n in numbers} - {-1})
        if len(places) > _CELLS_FOR:
            self.told(places)
        else:
            # Views paint all anew for ranges, and only what is in sight for cells.
            for place in places:
                for column in (OUTCOME, TOOK, ATTEMPTS):
                    cell = self.index(place, column)
                    self.dataChanged.emit(cell, cell)
        if self._wanted or self._sorted_by in (OUTCOME, TOOK, ATTEMPTS):
            self._soon_arranged()

    def _soon_arranged(self) -> None:
        if not self._soon.isActive():
            self._soon.start()

    def _placed(self) -> list[int]:
        """Where each case stands, by its number."""
        if self._places is None:
            self._places = [-1] * len(self._ids)
            for place, number in enumerate(self._keys):
                self._places[number] = place
        return self._places

    def _is_wanted(self, number: int) -> bool:
        return (not self._wanted or self._outcomes[number] in self._wanted) and (
            not self._part or self._part in self._folded[number]
        )

    def _arrange(self) -> None:
        keys: Iterable[int] = range(len(self._ids))
        if self._wanted:
            outcomes, wanted = self._outcomes, self._wanted
            keys = [n for n in keys if outcomes[n] in wanted]
        if self._part:
            part, folded = self._part, self._folded
            keys = [n for n in keys if part in folded[n]]
        by: dict[int, Sequence[Any]] = {
            OUTCOME: self._outcomes,
            CASE: self._folded,
            TOOK: self._took,
            ATTEMPTS: self._attempts,
        }
        if self._sorted_by in by:
            key = by[self._sorted_by].__getitem__
            keys = sorted(keys, key=key, reverse=self._descending)
        self._show([*keys])

    def _show(self, keys: list[int]) -> None:
        self._soon.stop()
        self._places = None
        self.arrange(keys)
        self._places = None


def _came_to(told: Mapping[str, Any] | None) -> str:
    if told is None:
        return ""
    return "flaky" if told["flaky"] else str(told["outcome"])

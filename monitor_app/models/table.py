"""A table of rows that change: as Qt's views want to be told of it.

Rows are known by a key. What is as before is passed over; what changed is told in
ranges, and whatever is selected stays so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, Qt

from monitor_app.models.arranged import (
    ALIGN,
    BAR,
    DISPLAY,
    FOREGROUND,
    LEFT,
    NOWHERE,
    RIGHT,
    SPOKEN,
    TIP,
    ArrangedModel,
    Index,
)
from monitor_app.models.language import tr
from monitor_app.models.marks import mark_of
from monitor_app.models.rows import order_of

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Parameters
    ----------
    title
        In English: it is translated when it is shown.
    text
        What stands there for a row.
    sort
        By what it is sorted; by the text, if none is given.
    mark
        A word of the row whose glyph and colour go before the text.
    right
        For numbers.
    bar
        A share of the row that is painted behind the text.
    tip
        What is said beside it when somebody points at it.
    width
        In characters, at first.
    """

    title: str
    text: Callable[[Row], str]
    sort: Callable[[Row], Any] | None = None
    mark: Callable[[Row], str] | None = None
    right: bool = False
    bar: Callable[[Row], float | None] | None = None
    tip: Callable[[Row], str] | None = None
    width: int = 12


class RowsModel(ArrangedModel[str]):
    """The table.

    Parameters
    ----------
    colours
        What to paint the words of marks with, by the name of a colour; see `Theme`.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        colours: Callable[[str], Any],
        parent: QObject | None = None,
        *,
        sorted_by: int = 0,
        descending: bool = False,
    ) -> None:
        super().__init__(parent)
        self.columns = tuple(columns)
        self._colours = colours
        self._rows: dict[str, Row] = {}
        self._keys: list[str] = []
        self._part = ""
        self._wanted: Callable[[Row], bool] | None = None
        self._sorted_by, self._descending = sorted_by, descending

    # What is asked of it.

    def row(self, place: int) -> Row | None:
        """The row that stands there."""
        return self._rows[self._keys[place]] if 0 <= place < len(self._keys) else None

    def key(self, place: int) -> str:
        """The key of the row that stands there; empty if there is none."""
        return self._keys[place] if 0 <= place < len(self._keys) else ""

    def place(self, key: str) -> int:
        """Where the row of a key stands; -1 if it is not shown."""
        try:
            return self._keys.index(key)
        except ValueError:
            return -1

    def value(self, place: int, column: int) -> float | None:
        """The number that stands there, as such; None if none does."""
        row, told = self.row(place), self.columns[column]
        found = told.sort(row) if row is not None and told.right and told.sort else None
        return found if isinstance(found, int | float) else None

    @property
    def total(self) -> int:
        """How many rows there are, those too that are filtered out."""
        return len(self._rows)

    # What happens.

    def show(self, rows: Mapping[str, Row]) -> None:
        """These are the rows now; those that changed are other objects than before."""
        before, self._rows = self._rows, dict(rows)
        self._arrange(
            {key for key, row in rows.items() if before.get(key, row) is not row},
            before,
        )

    def find(self, part: str) -> None:
        """Show only what holds this in one of its columns, in any case."""
        self._part = part.casefold()
        self._arrange(set(), self._rows)

    def want(self, wanted: Callable[[Row], bool] | None) -> None:
        """Show only these."""
        self._wanted = wanted
        self._arrange(set(), self._rows)

    def sort(
        self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder
    ) -> None:
        """Sort by a column (Qt calls this)."""
        self._sorted_by = max(0, column)
        self._descending = order == Qt.SortOrder.DescendingOrder
        self._arrange(set(), self._rows)

    # What Qt asks.

    def columnCount(self, parent: Index = NOWHERE) -> int:
        """How many columns there are."""
        return 0 if parent.isValid() else len(self.columns)

    def data(self, index: Index, role: int = DISPLAY) -> Any:
        """What stands in a cell."""
        row = self.row(index.row())
        if row is None or not 0 <= index.column() < len(self.columns):
            return None
        column = self.columns[index.column()]
        if role == DISPLAY:
            text = column.text(row)
            if column.mark is None:
                return text
            return f"{mark_of(column.mark(row)).glyph} {text}"
        if role == ALIGN:
            return RIGHT if column.right else LEFT
        if role == FOREGROUND:
            if column.mark is None:
                return None
            return self._colours(mark_of(column.mark(row)).colour)
        if role == BAR:
            return None if column.bar is None else column.bar(row)
        if role == TIP:
            return column.text(row) if column.tip is None else column.tip(row)
        if role == SPOKEN:
            return f"{tr(column.title)}: {column.text(row)}"
        return None

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = DISPLAY
    ) -> Any:
        """The title of a column."""
        if orientation != Qt.Orientation.Horizontal or not (
            0 <= section < len(self.columns)
        ):
            return None
        if role == DISPLAY:
            return tr(self.columns[section].title)
        if role == ALIGN:
            return RIGHT if self.columns[section].right else LEFT
        return None

    # How it is done.

    def _chosen(self) -> list[str]:
        """The keys of what is to be shown, in order."""
        rows, part, wanted = self._rows, self._part, self._wanted
        keys = [
            key
            for key, row in rows.items()
            if (wanted is None or wanted(row)) and (not part or self._holds(row, part))
        ]
        column = self.columns[self._sorted_by]
        by = column.sort or column.text
        keys.sort()  # so that what is alike stays where it is
        values = {key: by(rows[key]) for key in keys}
        known = [key for key in keys if values[key] is not None]
        known.sort(key=lambda key: order_of(values[key]), reverse=self._descending)
        # What is not known comes last, whichever way it is sorted.
        return known + [key for key in keys if values[key] is None]

    def _holds(self, row: Row, part: str) -> bool:
        return any(part in column.text(row).casefold() for column in self.columns)

    def _arrange(self, touched: set[str], before: Mapping[str, Row]) -> None:
        now, wanted = self._rows, self._chosen()
        # Views may look at what goes until they are told that it is gone.
        self._rows = {**before, **now}

        def leave() -> None:
            self._rows = dict(now)

        self.arrange(wanted, leave)
        if touched:
            places = [n for n, key in enumerate(self._keys) if key in touched]
            if places:
                self.told(places)

"""How the cases that are in sight went in earlier runs: asked for as one scrolls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import (
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QRect,
    Qt,
    QTimer,
)
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem, QWidget

from monitor_app.feed import asked
from monitor_app.models.arranged import SQUARES
from monitor_app.models.cases import PAST, CasesModel
from monitor_app.models.marks import mark_of
from monitor_app.models.session import Session
from monitor_app.views.table_view import TableView
from monitor_app.views.theme import Theme

RUNS = 12
WAIT_MS = 200
"""Only where one stays with the eyes it is asked."""
_AROUND = 20
_ROWS_MAX = 200
_SIDE = 15

Index = QModelIndex | QPersistentModelIndex


class SquaresDelegate(QStyledItemDelegate):
    """Paints a row of outcomes."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: Index
    ) -> None:
        """Paint a cell (Qt calls this)."""
        words = index.data(SQUARES)
        if not words:
            return
        cell: QRect = option.rect
        # Of those that do not fit the last are shown.
        words = words[-max(1, (cell.width() - 4) // (_SIDE + 2)) :]
        top = cell.center().y() - _SIDE // 2
        for n, word in enumerate(words):
            square = QRect(cell.left() + 3 + n * (_SIDE + 2), top, _SIDE, _SIDE)
            if not word:
                painter.setPen(self._theme.colour("line"))
                painter.drawRect(square.adjusted(0, 0, -1, -1))
                continue
            glyph, colour = mark_of(word)
            painter.fillRect(square, self._theme.brush(f"{colour}-back"))
            painter.setPen(self._theme.colour(colour))
            painter.drawText(square, int(Qt.AlignmentFlag.AlignCenter), glyph)


class EarlierRuns(QObject):
    """Asks for what is in sight of a table of cases."""

    def __init__(
        self, session: Session, cases: CasesModel, table: TableView, theme: Theme
    ) -> None:
        super().__init__(table)
        self._session, self._cases, self._table = session, cases, table
        self._run = ""
        self._asking = False
        self._soon = QTimer(self, singleShot=True, interval=WAIT_MS)
        self._soon.timeout.connect(self._ask)
        table.setItemDelegateForColumn(PAST, SquaresDelegate(theme, table))
        table.setColumnWidth(PAST, RUNS * (_SIDE + 2) + 8)
        for signal in (
            table.verticalScrollBar().valueChanged,
            cases.rowsInserted,
            cases.modelReset,
            cases.layoutChanged,
        ):
            signal.connect(self.look)

    def fit(self) -> None:
        """Take no more room of a narrow table than there is for it."""
        most = self._table.viewport().width() // 4
        if self._table.columnWidth(PAST) > most > 4 * _SIDE:
            self._table.setColumnWidth(PAST, most)

    def show_run(self, run: str) -> None:
        """It is this run's cases that are shown."""
        self._run = run
        self.look()

    def look(self) -> None:
        """Something else is in sight, perhaps."""
        self._soon.start()

    def _ask(self) -> None:
        shown = self._cases.rowCount()
        if not (self._run and shown and self._table.isVisible()) or self._asking:
            return
        first = max(0, self._table.rowAt(0))
        last = self._table.rowAt(self._table.viewport().height() - 1)
        last = shown - 1 if last < 0 else last
        lacking = self._cases.lacks_past(first, last)
        if lacking < 0:
            return
        question = self._cases.question()
        # What a coordinator cannot sort so is asked for in the order of the plan.
        start = max(0, (lacking if question is None else first) - _AROUND)
        rows = _ROWS_MAX if question is None else last - start + _AROUND
        call = asked.one(
            asked.of_run(self._run, "/grid"),
            **(question or {}),
            offset=start,
            limit=min(_ROWS_MAX, rows),
            runs=RUNS,
        )
        run = self._run

        def told(found: Mapping[str, Any]) -> None:
            if run == self._run:
                self._cases.learn_past(found["items"])
                if question is None:
                    self._cases.has_no_past(lacking)
                    self.look()

        def over(*_: object) -> None:
            self._asking = False

        self._asking = self._session.ask(call, told, over, over) is not None

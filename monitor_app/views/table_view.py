"""How all tables look, and how they are used with the keyboard."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, Qt, Signal
from PySide6.QtGui import QFont, QFontMetrics, QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from monitor_app.models.arranged import BAR, ArrangedModel
from monitor_app.models.language import tr
from monitor_app.models.table import RowsModel
from monitor_app.views.theme import Theme

_TITLE_PX = 28
"""Beside the title of a column: what is around it, and the arrow of the sorted one."""

Index = QModelIndex | QPersistentModelIndex


class BarDelegate(QStyledItemDelegate):
    """Paints a share below the text of its cell."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: Index
    ) -> None:
        """Paint a cell (Qt calls this)."""
        super().paint(painter, option, index)
        share = index.data(BAR)
        if share is not None:
            cell: QRect = option.rect
            whole = QRect(cell.left() + 4, cell.bottom() - 4, cell.width() - 8, 3)
            part = QRect(whole)
            part.setWidth(round(whole.width() * min(1.0, max(0.0, share))))
            painter.fillRect(whole, self._theme.brush("line"))
            painter.fillRect(part, self._theme.brush("blue"))


class TableView(QTableView):
    """A table: whole rows are chosen, Enter opens one.

    Attributes
    ----------
    empty
        What it says while it has no row.
    heard
        Whether a cluster has told anything: there may be no rows because it has not.
    """

    opened = Signal(int)
    """A row was opened: where it stands."""
    chosen = Signal(int)
    """A row is the current one: where it stands; -1 for none."""

    def __init__(
        self,
        model: ArrangedModel,
        theme: Theme,
        name: str,
        parent: QWidget | None = None,
        *,
        stretched: int = -1,
        empty: str = "",
    ) -> None:
        super().__init__(parent)
        self._theme, self.empty = theme, empty
        self.heard: Callable[[], bool] = lambda: True
        self.setAccessibleName(name)
        self.setModel(model)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        rows.hide()
        # One height for all: a hundred thousand rows are not asked for theirs.
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(self.fontMetrics().height() + 12)
        columns.setHighlightSections(False)
        columns.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft)
        columns.setSectionsMovable(True)
        columns.setMinimumSectionSize(56)
        self._widths(model)
        if stretched >= 0:
            columns.setSectionResizeMode(stretched, QHeaderView.ResizeMode.Stretch)
        theme.changed.connect(model.recolour)
        self.doubleClicked.connect(lambda index: self.opened.emit(index.row()))

    def currentChanged(self, current: Index, previous: Index) -> None:
        """Another cell is the current one (Qt calls this)."""
        super().currentChanged(current, previous)
        if current.row() != previous.row() or not current.isValid():
            self.chosen.emit(current.row())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Say that there is nothing, if there is not (Qt calls this)."""
        super().paintEvent(event)
        words = self.empty if self.heard() else tr("Nothing has been heard yet.")
        if words and not self.model().rowCount():
            with QPainter(self.viewport()) as painter:
                painter.setPen(self._theme.colour("muted"))
                flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
                box = self.viewport().rect().adjusted(12, 8, -12, -8)
                painter.drawText(box, int(flags), words)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter opens the current row (Qt calls this)."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            if self.currentIndex().isValid():
                self.opened.emit(self.currentIndex().row())
            return
        super().keyPressEvent(event)

    def say_empty(self, words: str) -> None:
        """Say this while there is no row."""
        if words != self.empty:
            self.empty = words
            self.viewport().update()

    def choose(self, place: int) -> None:
        """Make a row the current one, and show it."""
        model = self.model()
        if 0 <= place < model.rowCount():
            index = model.index(place, 0)
            self.setCurrentIndex(index)
            self.scrollTo(index)

    def _widths(self, model: ArrangedModel) -> None:
        one = self.fontMetrics().averageCharWidth()
        font = self.font()
        font.setWeight(QFont.Weight.DemiBold)
        titles, wide = QFontMetrics(font), Qt.Orientation.Horizontal
        columns = model.columns if isinstance(model, RowsModel) else ()
        for n in range(model.columnCount()):
            title = titles.horizontalAdvance(model.headerData(n, wide)) + _TITLE_PX
            chars = columns[n].width if columns else 8
            self.setColumnWidth(n, max(title, one * chars + 24))
            if columns and columns[n].bar is not None:
                # Others are painted without Python.
                self.setItemDelegateForColumn(n, BarDelegate(self._theme, self))

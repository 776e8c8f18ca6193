"""Bars in rows over time: what ran where, painted by hand."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QFocusEvent,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from monitor_app.models.axis import time_ticks
from monitor_app.models.bars import Bar
from monitor_app.models.language import tr
from monitor_app.models.marks import mark_of
from monitor_app.models.words import clock, duration, plain, short
from monitor_app.views.theme import Theme

_ROW_PX, _LEFT_PX, _GAP_PX = 6, (60, 220), 3
"""A row above its text, names of rows at least and at most, a bar within its row."""
_GLYPH_PX = 14
"""A bar that is narrower has no glyph."""


class Timeline(QWidget):
    """The bars. The arrow keys go from one to the next, Enter opens one."""

    opened = Signal(object)
    """A bar was opened."""

    def __init__(self, name: str, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._theme = theme
        self._rows: list[str] = []
        self._bars: list[Bar] = []
        self._gaps: list[tuple[float, float]] = []
        self._start, self._end = 0.0, 1.0
        self._left_px = _LEFT_PX[0]
        self.current: Bar | None = None
        theme.changed.connect(self.update)

    def draw(
        self,
        rows: Sequence[str],
        bars: Sequence[Bar],
        start: float,
        end: float,
        gaps: Sequence[tuple[float, float]] = (),
    ) -> None:
        """Show these; ``gaps`` are times that are laid behind all rows."""
        order = {row: n for n, row in enumerate(rows)}
        self._rows = list(rows)
        wide = self.fontMetrics().horizontalAdvance
        least, most = _LEFT_PX
        names = max((wide(plain(one)) for one in rows), default=0) + 14
        self._left_px = min(max(least, names), most)
        self._start, self._end = start, max(end, start + 1e-3)
        self._gaps = list(gaps)
        self._bars = sorted(
            (
                one
                for one in bars
                if one.row in order and one.end >= start and one.start <= end
            ),
            key=lambda one: (order[one.row], one.start, one.end, one.text),
        )
        self.current = next((one for one in self._bars if self._is_current(one)), None)
        self.setFixedHeight(self.sizeHint().height())
        self._speak()
        self.update()

    def sizeHint(self) -> QSize:
        """How large it likes to be (Qt asks)."""
        rows = max(1, len(self._rows))
        return QSize(480, rows * self._row_px + self.fontMetrics().height() + 8)

    @property
    def _row_px(self) -> int:
        return self.fontMetrics().height() + _ROW_PX

    @property
    def bars(self) -> Sequence[Bar]:
        """What is shown, row by row."""
        return self._bars

    # How it is painted.

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint it (Qt calls this)."""
        painter, theme = QPainter(self), self._theme
        painter.fillRect(self.rect(), theme.brush("card"))
        if self.hasFocus() and self.current is None:
            painter.setPen(QPen(theme.colour("accent"), 1))
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
        if not self._rows:
            painter.setPen(QPen(theme.colour("muted"), 1))
            painter.drawText(
                self.rect(), Qt.AlignmentFlag.AlignCenter, tr("Nothing ran here.")
            )
            return
        metrics, height = self.fontMetrics(), len(self._rows) * self._row_px
        for start, end in self._gaps:
            left, right = self._x(start), self._x(end)
            band = QRectF(left, 0, max(2.0, right - left), height)
            painter.fillRect(band, theme.brush("failed-back"))
        painter.setPen(QPen(theme.colour("grid"), 1))
        wide = 1.6 * metrics.horizontalAdvance("00:00:00")
        room = (self.width() - self._left_px) / wide
        ticks = time_ticks(self._start, self._end, max(2, int(room)))
        for at in ticks:
            painter.drawLine(QPointF(self._x(at), 0), QPointF(self._x(at), height))
        for n, row in enumerate(self._rows):
            painter.setPen(QPen(theme.colour("text"), 1))
            place = QRectF(0, n * self._row_px, self._left_px - 8, self._row_px)
            text = metrics.elidedText(
                plain(row), Qt.TextElideMode.ElideMiddle, int(place.width())
            )
            painter.drawText(place, int(Qt.AlignmentFlag.AlignVCenter), text)
        for one in self._bars:
            self._paint_bar(painter, one)
        painter.setPen(QPen(theme.colour("muted"), 1))
        for at in ticks:
            text = clock(at)
            x = self._x(at) - metrics.horizontalAdvance(text) / 2
            x = min(x, self.width() - metrics.horizontalAdvance(text))
            painter.drawText(QPointF(x, height + metrics.ascent() + 4), text)

    def _paint_bar(self, painter: QPainter, one: Bar) -> None:
        theme, mark = self._theme, mark_of(one.word)
        place = self._place(one)
        painter.fillRect(place, theme.brush(f"{mark.colour}-back"))
        edge = theme.colour(mark.colour)
        chosen = one is self.current and self.hasFocus()
        painter.setPen(
            QPen(theme.colour("text") if chosen else edge, 2 if chosen else 1)
        )
        painter.drawRect(place)
        if place.width() > _GLYPH_PX:
            painter.setPen(QPen(edge, 1))
            painter.drawText(place, int(Qt.AlignmentFlag.AlignCenter), mark.glyph)

    def _x(self, at: float) -> float:
        share = (at - self._start) / (self._end - self._start)
        left = self._left_px
        return left + min(1.0, max(0.0, share)) * (self.width() - left - 4)

    def _place(self, one: Bar) -> QRectF:
        row = self._rows.index(one.row)
        left, right = self._x(one.start), self._x(one.end)
        top = row * self._row_px + _GAP_PX
        return QRectF(left, top, max(2.0, right - left), self._row_px - 2 * _GAP_PX)

    # How it is used.

    def at(self, point: QPointF) -> Bar | None:
        """The bar there."""
        found = [one for one in self._bars if self._place(one).contains(point)]
        return found[-1] if found else None

    def choose(self, one: Bar | None) -> None:
        """Make it the current one."""
        self.current = one
        self._speak()
        self.update()

    def event(self, event: QEvent) -> bool:
        """Say what is there when somebody points at it (Qt calls this)."""
        if isinstance(event, QHelpEvent):
            one = self.at(QPointF(event.pos()))
            QToolTip.showText(
                event.globalPos(), "" if one is None else words(one), self
            )
            return True
        return super().event(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose what is there (Qt calls this)."""
        self.choose(self.at(event.position()))
        super().mousePressEvent(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Open what is there (Qt calls this)."""
        one = self.at(event.position())
        if one is not None:
            self.opened.emit(one)

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Show which is the current one (Qt calls this)."""
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """None is, while somebody types elsewhere (Qt calls this)."""
        super().focusOutEvent(event)
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Go from bar to bar (Qt calls this)."""
        key = event.key()
        if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.current is not None:
            self.opened.emit(self.current)
        elif key in (Qt.Key.Key_Right, Qt.Key.Key_Left) and self._bars:
            step = 1 if key == Qt.Key.Key_Right else -1
            there = self._number()
            if there is None:
                there = -1 if step == 1 else len(self._bars)
            self.choose(self._bars[min(len(self._bars) - 1, max(0, there + step))])
        elif key in (Qt.Key.Key_Down, Qt.Key.Key_Up) and self._bars:
            self._other_row(1 if key == Qt.Key.Key_Down else -1)
        else:
            super().keyPressEvent(event)

    def _other_row(self, step: int) -> None:
        if self.current is None:
            self.choose(self._bars[0])
            return
        row = self._rows.index(self.current.row) + step
        while 0 <= row < len(self._rows):
            found = [one for one in self._bars if one.row == self._rows[row]]
            if found:
                start = self.current.start
                self.choose(min(found, key=lambda one: abs(one.start - start)))
                return
            row += step

    def _number(self) -> int | None:
        return next(
            (n for n, one in enumerate(self._bars) if one is self.current), None
        )

    def _is_current(self, one: Bar) -> bool:
        known = self.current
        return known is not None and (one.row, one.start, one.text) == (
            *(known.row, known.start, known.text),
        )

    def _speak(self) -> None:
        if self.current is not None:
            said = words(self.current)
        else:
            said = tr(
                "bars: {n}, rows: {m}, from {start} to {end}",
                n=len(self._bars),
                m=len(self._rows),
                start=clock(self._start),
                end=clock(self._end),
            )
        if said != self.accessibleDescription():
            self.setAccessibleDescription(said)


def words(one: Bar) -> str:
    """What a bar is."""
    return tr(
        "{what}: {outcome}, on {row}, {start}, {took}",
        what=short(one.text, 120),
        outcome=tr(one.word),
        row=plain(one.row),
        start=clock(one.start),
        took=duration(one.end - one.start),
    )

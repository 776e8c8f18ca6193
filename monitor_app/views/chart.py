"""Charts over time, painted by hand: lines or stacked areas, and a legend in words.

Lines are one pixel wide: wider ones that are smoothed cost a hundred times as much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
)
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from monitor_app.models.axis import ticks, time_ticks
from monitor_app.models.language import tr
from monitor_app.models.words import clock, moment
from monitor_app.views.theme import Theme

_DASHES = {
    "solid": Qt.PenStyle.SolidLine,
    "dash": Qt.PenStyle.DashLine,
    "dot": Qt.PenStyle.DotLine,
    "dashdot": Qt.PenStyle.DashDotLine,
}
_DAY_S = 86_400
_KEY_PX, _KEYS_PX = 24, 14
"""A line of the legend before its words, and between two of them."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart, or one of its areas.

    Parameters
    ----------
    label
        As it is shown: translated, if it is to be.
    colour
        The name of one of the theme's.
    dash
        So that lines are told apart without colour.
    """

    label: str
    colour: str
    values: Sequence[float | None]
    dash: str = "solid"


class Chart(QWidget):
    """A chart.

    Parameters
    ----------
    written
        A value of the axis, in words.
    stacked
        Whether its curves are areas, one on the other.
    top
        The least that the axis goes up to.
    whole
        Whether there is nothing between two whole numbers.
    """

    def __init__(
        self,
        name: str,
        theme: Theme,
        parent: QWidget | None = None,
        *,
        written: Callable[[float], str],
        stacked: bool = False,
        top: float = 1.0,
        whole: bool = False,
    ) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setMinimumSize(240, 130)
        self.setSizePolicy(
            QSizePolicy.Policy.Expanding, QSizePolicy.Policy.MinimumExpanding
        )
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self._theme = theme
        self._written = written
        self._stacked = stacked
        self._top = top
        self._whole = whole
        self.empty = tr("no numbers yet")
        """What it says while there are none."""
        self._curves: tuple[Curve, ...] = ()
        self._start_s, self._step_s, self._length = 0.0, 1.0, 0
        self._span_s = 600.0
        self.cursor_at: float | None = None
        """A time that is marked by a line."""
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        """How large it likes to be (Qt asks)."""
        return QSize(420, 150)

    def draw(
        self, curves: Sequence[Curve], start_s: float, step_s: float, span_s: float
    ) -> None:
        """Show these, of the last ``span_s`` seconds."""
        self._curves = tuple(curves)
        self._start_s, self._step_s, self._span_s = start_s, step_s, span_s
        self._length = max((len(one.values) for one in curves), default=0)
        self.setAccessibleDescription(self._spoken())
        self.update()

    def save(self, path: str) -> bool:
        """Save it as a picture, or as SVG if the file is called so."""
        if not path.lower().endswith(".svg"):
            return self.grab().save(path)
        generator = QSvgGenerator()
        generator.setFileName(path)
        generator.setSize(self.size())
        generator.setViewBox(self.rect())
        generator.setTitle(self.accessibleName())
        painter = QPainter()
        if not painter.begin(generator):
            return False
        painter.fillRect(self.rect(), self._theme.brush("card"))
        self._paint(painter)
        return painter.end()

    def mark(self, at: float | None) -> None:
        """Mark a time."""
        self.cursor_at = at
        self.update()

    # How it is painted.

    def _plot(self) -> QRectF:
        line = self.fontMetrics().height()
        left = self.fontMetrics().horizontalAdvance("0,000 s") + 8
        top = line / 2 + 2
        below = (1 + len(self._legend())) * line + 14
        return QRectF(self.rect()).adjusted(left, top, -8, -below)

    def _span(self) -> tuple[float, float]:
        end = self._start_s + self._length * self._step_s
        return end - self._span_s, end

    def _bounds(self) -> tuple[float, float]:
        low, high = 0.0, self._top
        for values in self._heights():
            known = [one for one in values if one is not None]
            if known:
                low, high = min(low, *known), max(high, *known)
        found = ticks(low, high, 4)
        step = found[1] - found[0] if len(found) > 1 else high - low
        while found[-1] < high:
            found.append(found[-1] + step)
        return low, max(high, found[-1])

    def _heights(self) -> list[list[float | None]]:
        """The upper edges of areas, or the values of lines."""
        if not self._stacked:
            return [list(one.values) for one in self._curves]
        found: list[list[float | None]] = []
        below = [0.0] * self._length
        for one in self._curves:
            below = [
                low + (value or 0.0)
                for low, value in zip(below, one.values, strict=False)
            ]
            found.append(list(below))
        return found

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint it (Qt calls this)."""
        with QPainter(self) as painter:
            self._paint(painter)
            if self.hasFocus():
                painter.setClipping(False)
                painter.setPen(QPen(self._theme.colour("accent"), 1))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRoundedRect(self.rect().adjusted(0, 0, -1, -1), 4, 4)

    def _paint(self, painter: QPainter) -> None:
        plot = self._plot()
        if plot.height() < 20 or plot.width() < 20:
            return
        if not any(v is not None for one in self._curves for v in one.values):
            painter.setPen(self._theme.colour("muted"))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect(), int(flags), self.empty)
            return
        start, end = self._span()
        low, high = self._bounds()

        def x(at: float) -> float:
            return plot.left() + (at - start) / (end - start) * plot.width()

        def y(value: float) -> float:
            return plot.bottom() - (value - low) / (high - low) * plot.height()

        self._paint_axes(painter, plot, x, y, (start, end), (low, high))
        painter.setClipRect(plot.adjusted(0, -1, 1, 1))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        heights = self._heights()
        ground: list[float | None] = [0.0 for _ in range(self._length)]
        floors = [ground, *heights]
        for n in reversed(range(len(self._curves))):
            pieces = self._pieces(heights[n], plot.width())
            self._paint_curve(painter, self._curves[n], pieces, floors[n], x, y)
        if self.cursor_at is not None:
            painter.setPen(QPen(self._theme.colour("text"), 1))
            at = x(self.cursor_at)
            painter.drawLine(QPointF(at, plot.top()), QPointF(at, plot.bottom()))
        painter.setClipping(False)
        self._paint_legend(painter, plot)

    def _pieces(
        self, values: Sequence[float | None], width: float
    ) -> list[list[tuple[int, float]]]:
        """The parts of a line between its gaps, not more points than can be seen."""
        stride = max(1, len(values) // max(1, int(width)))
        found: list[list[tuple[int, float]]] = [[]]
        for n in range(0, len(values), stride):
            window = [one for one in values[n : n + stride] if one is not None]
            if window:
                # The most of them: a peak is not to be lost.
                found[-1].append((n, max(window)))
            elif found[-1]:
                found.append([])
        return [one for one in found if one]

    def _paint_curve(
        self,
        painter: QPainter,
        curve: Curve,
        pieces: list[list[tuple[int, float]]],
        floor: Sequence[float | None],
        x: Callable[[float], float],
        y: Callable[[float], float],
    ) -> None:
        colour = self._theme.colour(curve.colour)
        for piece in pieces:
            line = [
                QPointF(x(self._start_s + (n + 0.5) * self._step_s), y(value))
                for n, value in piece
            ]
            if self._stacked:
                under = [
                    QPointF(one.x(), y(floor[n] or 0.0))
                    for one, (n, _) in zip(line, piece, strict=True)
                ]
                fill = QColor(colour)
                fill.setAlpha(150)
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(fill)
                painter.drawPolygon(QPolygonF([*line, *reversed(under)]))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(colour, 1, _DASHES[curve.dash]))
            if len(line) == 1:
                painter.drawLine(line[0] - QPointF(1, 0), line[0] + QPointF(1, 0))
            else:
                painter.drawPolyline(QPolygonF(line))

    def _paint_axes(
        self,
        painter: QPainter,
        plot: QRectF,
        x: Callable[[float], float],
        y: Callable[[float], float],
        span: tuple[float, float],
        bounds: tuple[float, float],
    ) -> None:
        metrics = self.fontMetrics()
        for value in ticks(*bounds, 4):
            if self._whole and value != round(value):
                continue
            at = round(y(value))
            painter.setPen(self._theme.colour("grid"))
            painter.drawLine(round(plot.left()), at, round(plot.right()), at)
            painter.setPen(self._theme.colour("muted"))
            box = QRectF(
                0, at - metrics.height() / 2, plot.left() - 6, metrics.height()
            )
            painter.drawText(
                box,
                Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter,
                self._written(value),
            )
        long = span[1] - span[0] > _DAY_S
        sample = "00-00 00:00" if long else "00:00:00"
        wide = metrics.horizontalAdvance(sample) + 18
        for at in time_ticks(*span, max(2, int(plot.width() / (1.6 * wide)))):
            place = round(x(at))
            painter.setPen(self._theme.colour("grid"))
            painter.drawLine(place, round(plot.top()), place, round(plot.bottom()))
            painter.setPen(self._theme.colour("muted"))
            left = min(place - wide / 2, self.width() - wide + 8)
            box = QRectF(left, plot.bottom() + 3, wide, metrics.height())
            text = moment(at)[5:] if long else clock(at)
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)

    def _legend(self) -> list[list[tuple[Curve, str, int]]]:
        """Its lines: of each curve what is said, and how wide that is."""
        wide, left = self.fontMetrics().horizontalAdvance, 2
        rows: list[list[tuple[Curve, str, int]]] = [[]]
        for curve in self._curves:
            text = self._labelled(curve)
            px = _KEY_PX + wide(text) + _KEYS_PX
            if rows[-1] and left + px - _KEYS_PX > self.width():
                rows.append([])
                left = 2
            rows[-1].append((curve, text, px))
            left += px
        return rows

    def _paint_legend(self, painter: QPainter, plot: QRectF) -> None:
        metrics, rows = self.fontMetrics(), self._legend()
        for n, row in enumerate(rows):
            room = self.width() - sum(px for _, _, px in row) + _KEYS_PX
            left = max(2.0, min(plot.left(), room))
            top = self.height() - (len(rows) - n) * metrics.height() - 3
            middle = top + metrics.height() / 2
            for curve, text, px in row:
                colour = self._theme.colour(curve.colour)
                if self._stacked:
                    painter.fillRect(QRectF(left + 2, middle - 5, 12, 10), colour)
                else:
                    painter.setPen(QPen(colour, 2, _DASHES[curve.dash]))
                    painter.drawLine(QPointF(left, middle), QPointF(left + 18, middle))
                painter.setPen(self._theme.colour("text"))
                painter.drawText(QPointF(left + _KEY_PX, top + metrics.ascent()), text)
                left += px

    def _labelled(self, curve: Curve) -> str:
        """Its name, and how much it is now."""
        latest = next((v for v in reversed(curve.values) if v is not None), None)
        return (
            curve.label if latest is None else f"{curve.label} {self._written(latest)}"
        )

    # What it says.

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Say what was at the time that is pointed at (Qt calls this)."""
        plot = self._plot()
        where = event.position()
        if not self._length or not plot.contains(where):
            QToolTip.hideText()
            return
        start, end = self._span()
        at = start + (where.x() - plot.left()) / plot.width() * (end - start)
        n = int((at - self._start_s) / self._step_s)
        told = self._told(n)
        if told:
            lines = [clock(at), *(f"{name}: {text}" for name, text in told.items())]
            QToolTip.showText(event.globalPosition().toPoint(), "\n".join(lines), self)

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is pointed at (Qt calls this)."""
        QToolTip.hideText()
        super().leaveEvent(event)

    def _told(self, n: int) -> Mapping[str, str]:
        found = {}
        for one in self._curves:
            value = one.values[n] if 0 <= n < len(one.values) else None
            if value is not None:
                found[one.label] = self._written(value)
        return found

    def _spoken(self) -> str:
        """The last values, for who hears it."""
        found = []
        for one in self._curves:
            value = next((v for v in reversed(one.values) if v is not None), None)
            if value is not None:
                found.append(f"{one.label}: {self._written(value)}")
        return ", ".join(found) or self.empty

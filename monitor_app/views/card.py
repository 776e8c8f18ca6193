"""Frames with a heading, and figures with a word: what views are put together of."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QLabel, QSizePolicy, QVBoxLayout, QWidget


def label(text: str = "", name: str = "", *, wrapped: bool = False) -> QLabel:
    """Words; foreign ones too, so nothing in them is taken for markup."""
    found = QLabel(text)
    found.setTextFormat(Qt.TextFormat.PlainText)
    found.setObjectName(name)
    found.setWordWrap(wrapped)
    return found


class Title(QLabel):
    """One line; where there is no room for all of it its middle is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("title")
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setMinimumWidth(100)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint it (Qt calls this)."""
        metrics, mode = self.fontMetrics(), Qt.TextElideMode.ElideMiddle
        text = metrics.elidedText(self.text(), mode, self.width())
        if text == self.text():
            super().paintEvent(event)
            return
        with QPainter(self) as painter:
            painter.drawText(self.rect(), int(Qt.AlignmentFlag.AlignVCenter), text)


class Card(QFrame):
    """A frame with a heading and what is put below it."""

    def __init__(
        self, heading: str, *inner: QWidget, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("card")
        self.setAccessibleName(heading)
        self.inner = QVBoxLayout(self)
        self.inner.setContentsMargins(14, 10, 14, 12)
        self.inner.setSpacing(6)
        self.heading = label(heading, "heading")
        if heading:
            self.inner.addWidget(self.heading)
        for one in inner:
            self.inner.addWidget(one)


class Tile(QFrame):
    """A figure, what it is of, and a line more."""

    def __init__(self, heading: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("card")
        self._heading = heading
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 8, 12, 8)
        layout.setSpacing(1)
        self.figure = label("–", "figure")
        self.more = label("", "small")
        for one in (label(heading, "small"), self.figure, self.more):
            one.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            layout.addWidget(one)
        self.setMinimumWidth(118)

    def show_figure(self, figure: str, more: str = "") -> None:
        """Show this."""
        if figure == self.figure.text() and more == self.more.text():
            return
        self.figure.setText(figure)
        self.more.setText(more)
        self.more.setToolTip(more)
        self.setAccessibleName(f"{self._heading}: {figure}. {more}")

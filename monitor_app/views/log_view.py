"""What an attempt left: its texts, with a search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontDatabase, QTextCursor, QTextDocument
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from monitor_app.models.language import mark, tr, trn
from monitor_app.models.words import count
from monitor_app.views.card import label

TEXTS = {
    "traceback": mark("Traceback"),
    "stdout": mark("Output"),
    "stderr": mark("Errors"),
    "log": mark("Log"),
    "exception": mark("Exception"),
}


class LogView(QWidget):
    """The texts, each in a tab."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.part = QLineEdit(clearButtonEnabled=True)
        self.part.setPlaceholderText(tr("Find in what it wrote (Ctrl+F)"))
        self.part.setAccessibleName(tr("Find in what it wrote"))
        self.part.returnPressed.connect(self.find_next)
        before = QPushButton(tr("Before"))
        before.clicked.connect(self.find_before)
        after = QPushButton(tr("Next"))
        after.clicked.connect(self.find_next)
        self.said = label("", "muted")
        row = QHBoxLayout()
        row.addWidget(self.part, 1)
        for one in (before, after, self.said):
            row.addWidget(one)
        self.tabs = QTabWidget()
        self.tabs.setAccessibleName(tr("What the attempt left"))
        self.texts: dict[str, QPlainTextEdit] = {}
        font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
        if self.font().pointSizeF() > 0:
            font.setPointSizeF(self.font().pointSizeF())
        for name, title in TEXTS.items():
            edit = QPlainTextEdit(readOnly=True)
            edit.setAccessibleName(tr(title))
            edit.setFont(font)
            edit.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
            edit.setTextInteractionFlags(
                Qt.TextInteractionFlag.TextSelectableByMouse
                | Qt.TextInteractionFlag.TextSelectableByKeyboard
            )
            self.texts[name] = edit
            self.tabs.addTab(edit, tr(title))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.tabs, 1)

    def clear(self) -> None:
        """Nothing is shown."""
        for name, edit in self.texts.items():
            edit.clear()
            edit.setPlaceholderText("")
            self._title(name, 0)
        self.said.clear()

    def show_texts(self, told: Mapping[str, Any]) -> None:
        """Show what the API tells of an attempt; what is as before stays as it is."""
        first = None
        cut = 0
        for name, edit in self.texts.items():
            one = told.get(name)
            one = one if isinstance(one, Mapping) else {}
            text = str(one.get("text", ""))
            if one.get("cut"):
                cut += 1
            self._title(name, len(text))
            edit.setPlaceholderText(tr("It left nothing here."))
            if text:
                first = first or name
            if text == edit.toPlainText():
                continue
            bar = edit.verticalScrollBar()
            at_end = bar.value() == bar.maximum()
            edit.setPlainText(text)
            if at_end:
                bar.setValue(bar.maximum())
        self.said.setText(tr("only the end of it is shown") if cut else "")
        current = self.tabs.currentWidget()
        there = not isinstance(current, QPlainTextEdit) or current.toPlainText()
        if first is not None and not there:
            self.tabs.setCurrentWidget(self.texts[first])

    def find_next(self) -> None:
        """Go to where it stands next."""
        self._find(QTextDocument.FindFlag(0))

    def find_before(self) -> None:
        """Go to where it stands before."""
        self._find(QTextDocument.FindFlag.FindBackward)

    def _find(self, flags: QTextDocument.FindFlag) -> None:
        part, edit = self.part.text(), self._tab_with(self.part.text())
        if not part:
            return
        if edit is None:
            self.said.setText(tr("it is not there"))
            return
        self.tabs.setCurrentWidget(edit)
        backward = bool(flags & QTextDocument.FindFlag.FindBackward)
        if not edit.find(part, flags):
            where = (
                QTextCursor.MoveOperation.End
                if backward
                else QTextCursor.MoveOperation.Start
            )
            edit.moveCursor(where)
            edit.find(part, flags)
        found = edit.toPlainText().casefold().count(part.casefold())
        self.said.setText(trn("found once", "found {n} times", found, n=count(found)))

    def _tab_with(self, part: str) -> QPlainTextEdit | None:
        """The text that holds it: the one in sight, or the first of the others."""
        part, texts = part.casefold(), [*self.texts.values()]
        texts.sort(key=lambda one: one is not self.tabs.currentWidget())
        return next((t for t in texts if part in t.toPlainText().casefold()), None)

    def _title(self, name: str, chars: int) -> None:
        n = list(self.texts).index(name)
        title = tr(TEXTS[name])
        self.tabs.setTabText(n, f"{title} ({count(chars)})" if chars else title)

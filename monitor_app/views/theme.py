"""Colours, light and dark: Okabe and Ito's, which all eyes tell apart.

Their tints as text have a contrast of 4.5 and more. A colour never stands without a
word or a glyph.
"""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QBrush, QColor, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication

from monitor_app.models.colours import DARK, LIGHT

Choice = Literal["system", "light", "dark"]
CHOICES: tuple[Choice, ...] = ("system", "light", "dark")


class Theme(QObject):
    """Which colours are used; views are told when they are others."""

    changed = Signal()

    def __init__(
        self, choice: Choice = "system", parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._choice: Choice = choice
        self._brushes: dict[str, QBrush] = {}
        self._colours = LIGHT
        hints = QGuiApplication.styleHints()
        if hints is not None:
            hints.colorSchemeChanged.connect(self._system_changed)
        self.choose(choice)

    @property
    def choice(self) -> Choice:
        """What was chosen."""
        return self._choice

    @property
    def dark(self) -> bool:
        """Whether it is dark."""
        return self._colours is DARK

    def colour(self, name: str) -> QColor:
        """A colour, by its name."""
        return QColor(self._colours[name])

    def brush(self, name: str) -> QBrush:
        """What to paint with: the same object each time, since tables ask often."""
        found = self._brushes.get(name)
        if found is None:
            found = self._brushes[name] = QBrush(self.colour(name))
        return found

    def choose(self, choice: Choice) -> None:
        """Use these colours from now on."""
        self._choice = choice
        dark = choice == "dark" or (choice == "system" and _system_is_dark())
        self._colours = DARK if dark else LIGHT
        self._brushes.clear()
        app = QApplication.instance()
        sheet = self._sheet()
        # Each widget that there is is styled anew.
        if isinstance(app, QApplication) and app.styleSheet() != sheet:
            app.setStyle("Fusion")
            app.setPalette(self._palette())
            app.setStyleSheet(sheet)
        self.changed.emit()

    def _system_changed(self) -> None:
        if self._choice == "system":
            self.choose("system")

    def _palette(self) -> QPalette:
        role, palette = QPalette.ColorRole, QPalette()
        for which, name in (
            *((role.Window, "page"), (role.Base, "card"), (role.AlternateBase, "page")),
            *((role.Text, "text"), (role.WindowText, "text"), (role.Button, "card")),
            *((role.ButtonText, "text"), (role.Highlight, "chosen")),
            *((role.HighlightedText, "text"), (role.Link, "accent")),
            *((role.PlaceholderText, "muted"), (role.ToolTipBase, "card")),
            *((role.ToolTipText, "text"), (role.Mid, "line"), (role.Accent, "accent")),
        ):
            palette.setColor(which, self.colour(name))
        for which in (role.Text, role.WindowText, role.ButtonText):
            palette.setColor(QPalette.ColorGroup.Disabled, which, self.colour("muted"))
        return palette

    def _sheet(self) -> str:
        found = _SHEET
        for name, size in _sizes().items():
            found = found.replace(f"@{name};", f"{size};")
        for name in sorted(self._colours, key=len, reverse=True):
            found = found.replace(f"@{name};", f"{self._colours[name]};")
        return found


def _sizes() -> dict[str, str]:
    """Of texts that are larger or smaller than others are, on this desktop."""
    font = QGuiApplication.font()
    points = font.pointSizeF()
    of, unit = (points, "pt") if points > 0 else (font.pixelSize(), "px")
    shares = {"small-size": 0.94, "figure-size": 1.89, "title-size": 1.67}
    return {name: f"{of * share:.1f}{unit}" for name, share in shares.items()}


def _system_is_dark() -> bool:
    hints = QGuiApplication.styleHints()
    return hints is not None and hints.colorScheme() == Qt.ColorScheme.Dark


_SHEET = """
QFrame#card { background: @card; border: 1px solid @line; border-radius: 8px; }
QLabel#heading { color: @text; font-weight: 600; }
QLabel#muted { color: @muted; }
QLabel#small { color: @muted; font-size: @small-size; }
QLabel#figure { font-size: @figure-size; font-weight: 600; }
QLabel#title { font-size: @title-size; font-weight: 600; }
QListWidget#places { background: @card; border: 0; border-right: 1px solid @line;
  outline: 0; padding: 6px; }
QListWidget { border: 1px solid @line; border-radius: 6px; background: @card;
  padding: 4px; outline: 0; }
QListWidget::item { padding: 5px 6px; border-radius: 4px; }
QListWidget::item:selected { background: @chosen; color: @text; }
QListWidget#places::item { padding: 0 10px; border-radius: 6px; color: @muted; }
QListWidget#places::item:selected { background: @chosen; color: @text; }
QListWidget#places::item:focus { border: 1px solid @accent; }
QTableView { border: 1px solid @line; border-radius: 6px; gridline-color: @grid;
  background: @card; selection-background-color: @chosen; selection-color: @text; }
QTableView::item { padding: 0 5px; }
QHeaderView { background: @card; }
QHeaderView::section { background: @card; color: @muted; border: 0;
  border-bottom: 1px solid @line; padding: 6px 7px; font-weight: 600; }
QLineEdit, QComboBox, QSpinBox { background: @card; border: 1px solid @line;
  border-radius: 6px; padding: 4px 8px; min-height: 20px; }
QLineEdit:focus, QComboBox:focus, QTableView:focus, QPlainTextEdit:focus {
  border: 1px solid @accent; }
QLineEdit > QToolButton { border: 0; padding: 0; min-height: 0;
  background: transparent; }
QCheckBox::indicator { width: 13px; height: 13px; border: 1px solid @muted;
  border-radius: 3px; background: @card; }
QCheckBox::indicator:focus { border: 2px solid @accent; }
QCheckBox::indicator:checked { background: @accent; border-color: @accent; }
QPushButton, QToolButton { background: @card; border: 1px solid @line;
  border-radius: 6px; padding: 5px 12px; min-height: 18px; }
QPushButton:hover, QToolButton:hover { border-color: @accent; }
QPushButton:checked, QToolButton:checked { background: @chosen; border-color: @accent; }
QPushButton:focus { border: 2px solid @accent; padding: 4px 11px; }
QPushButton:disabled, QToolButton:disabled { color: @muted; background: @page; }
QPushButton:default { background: @accent; color: @card; border-color: @accent; }
QPushButton:default:focus { border-color: @text; }
QPlainTextEdit { background: @card; border: 1px solid @line; border-radius: 6px; }
QTabWidget::pane { border: 0; top: 4px; }
QTabBar::tab { background: @card; color: @muted; border: 1px solid @line;
  border-radius: 6px; padding: 4px 10px; margin-right: 4px; }
QTabBar::tab:selected { background: @chosen; color: @text; border-color: @accent; }
QTabBar::tab:focus { border: 2px solid @accent; padding: 3px 9px; }
QStatusBar { background: @card; border-top: 1px solid @line; }
QStatusBar::item { border: 0; }
QMenuBar { background: @card; border-bottom: 1px solid @line; }
QMenuBar::item { padding: 5px 10px; background: transparent; }
QMenuBar::item:selected, QMenu::item:selected { background: @chosen; }
QMenu { background: @card; border: 1px solid @line; padding: 4px; }
QMenu::item { padding: 5px 24px 5px 12px; }
QMenu::item:disabled { color: @muted; }
QScrollArea { border: 0; background: transparent; }
QSplitter::handle { background: transparent; }
QToolTip { background: @card; color: @text; border: 1px solid @line; padding: 4px; }
QLabel#banner { background: @timeout-back; color: @timeout; padding: 6px 14px; }
QLabel#alarm { background: @failed-back; color: @failed; padding: 6px 14px; }
QProgressBar { background: @grid; border: 0; border-radius: 4px; max-height: 8px;
  color: transparent; }
QProgressBar::chunk { background: @blue; border-radius: 4px; }
"""

"""What all views have in common: they draw only while somebody looks."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QWidget

from monitor_app.models.session import Session
from monitor_app.views.theme import Theme

Kinds = frozenset[str]


class View(QWidget):
    """One page of the window.

    A view has `kinds`, those of the records that it shows, and `refresh`, which draws
    them anew. It is called when one of them changed, once a second if it is `timed`,
    and when the view is shown; never while it is hidden.
    """

    opened = Signal(str, object)
    """Another view is to be opened, by its name, and `go` to something there."""

    kinds: Kinds = frozenset()
    timed = False
    """Whether it shows how long something lasts."""

    def __init__(
        self, session: Session, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.session, self.theme = session, theme
        self._stale = True
        session.began.connect(self.begin)
        session.changed.connect(self._changed)
        session.ticked.connect(self._ticked)
        session.stood.connect(self._stood)
        session.line_changed.connect(self._line_changed)

    def begin(self) -> None:
        """Another cluster is looked at: forget what is not of it."""

    def refresh(self) -> None:
        """Draw all anew."""

    def tick(self) -> None:
        """A second went by; nobody else had it drawn."""
        self.refresh()

    def go(self, where: Mapping[str, str]) -> None:
        """Show something that another view names."""

    def search(self) -> None:
        """Let somebody type what he looks for, if there is a place for it."""

    def line(self) -> None:
        """The connection changed: what is asked for may be asked again."""

    def save(self) -> dict[str, object]:
        """What is to be as it is now when the window is opened again."""
        return {}

    def restore(self, kept: dict[str, object]) -> None:
        """As it was, of what `save` kept; by another version perhaps."""

    def look(self) -> None:
        """Draw now if somebody looks, or else when somebody does."""
        if self.isVisible():
            self._stale = False
            self.refresh()
        else:
            self._stale = True

    def showEvent(self, event: QShowEvent) -> None:
        """Somebody looks (Qt calls this)."""
        super().showEvent(event)
        if self._stale:
            self._stale = False
            self.refresh()

    def _changed(self, kinds: Kinds) -> None:
        if kinds & self.kinds:
            self.look()

    def _stood(self) -> None:
        if "coordinators" in self.kinds:
            self.look()

    def _ticked(self) -> None:
        if self.timed and self.isVisible():
            self.tick()

    def _line_changed(self) -> None:
        if self.isVisible():
            self.line()

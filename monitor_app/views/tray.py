"""Notifications of new alerts, by the desktop's tray, for who wants them."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QSystemTrayIcon, QWidget

from dtf_dask.view.alerts import Alert
from monitor_app.models.language import tr
from monitor_app.models.words import short

TOLD_MAX = 3
"""So many of those that are new at once are named."""
_ICONS = {
    True: QSystemTrayIcon.MessageIcon.Critical,
    False: QSystemTrayIcon.MessageIcon.Warning,
}


class Tray(QObject):
    """Tells of each alert once, as long as it lasts.

    What was there when somebody began to look is not told.
    """

    opened = Signal()
    """Somebody clicked on one."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._known: set[str] | None = None
        self._icon: QSystemTrayIcon | None = None

    @property
    def there(self) -> bool:
        """Whether this desktop shows any."""
        return QSystemTrayIcon.isSystemTrayAvailable()

    def choose(self, told: bool) -> None:
        """Tell from now on, or no more."""
        if not told:
            if self._icon is not None:
                self._icon.hide()
            self._icon = None
        elif self._icon is None and self.there:
            self._icon = QSystemTrayIcon(QGuiApplication.windowIcon(), self)
            self._icon.setToolTip(tr("dtf monitor"))
            self._icon.messageClicked.connect(self.opened)
            self._icon.activated.connect(self.opened)
            self._icon.show()

    def tell(self, found: Iterable[Alert]) -> None:
        """These there are now."""
        now = {one.id: one for one in found}
        known, self._known = self._known, set(now)
        if known is None:
            return
        new = [one for id, one in now.items() if id not in known]
        if new:
            self.show_words(*words(new), any(one.level == "critical" for one in new))

    def show_words(self, title: str, text: str, critical: bool) -> None:
        """Show it, if somebody wants to be told."""
        if self._icon is not None:
            self._icon.showMessage(title, text, _ICONS[critical])


def words(new: list[Alert]) -> tuple[str, str]:
    """A title and some lines."""
    lines = [short(one.words, 160) for one in new[:TOLD_MAX]]
    if len(new) > TOLD_MAX:
        lines.append(tr("… and {n} more", n=len(new) - TOLD_MAX))
    title = tr("dtf: {rule}", rule=new[0].rule) if len(new) == 1 else tr("dtf: alerts")
    return title, "\n".join(lines)

"""What is wrong, what was asked for, and whether somebody is told of it."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QSplitter, QVBoxLayout, QWidget

from monitor_app.models.alert_columns import (
    ACTION_COLUMNS,
    ALERT_COLUMNS,
    alert_rows,
    place_of,
)
from monitor_app.models.language import tr, trn
from monitor_app.models.session import Session
from monitor_app.models.table import Row, RowsModel
from monitor_app.models.words import count
from monitor_app.views.card import Card, label
from monitor_app.views.table_view import TableView
from monitor_app.views.theme import Theme
from monitor_app.views.tray import Tray
from monitor_app.views.view import View


class Alerts(View):
    """The view.

    Parameters
    ----------
    make_tray
        What tells of alerts while nobody looks.
    """

    kinds = frozenset({"cluster", "class", "worker", "run", "action", "coordinators"})
    timed = True

    def __init__(
        self,
        session: Session,
        theme: Theme,
        parent: QWidget | None = None,
        *,
        make_tray: Callable[[QWidget], Tray] = Tray,
    ) -> None:
        super().__init__(session, theme, parent)
        self._rows: dict[str, Row] = {}
        self.tray = make_tray(self)
        self.tray.opened.connect(self._raise)
        session.ticked.connect(self._tell)
        self.summary = label("", wrapped=True)
        self.told = QCheckBox(tr("&Notify me of new alerts"))
        self.told.setAccessibleName(tr("Notify me of new alerts"))
        self.told.toggled.connect(self.tray.choose)
        if not self.tray.there:
            self.told.setEnabled(False)
            self.told.setToolTip(tr("This desktop has no place for notifications."))
        self.alerts = RowsModel(ALERT_COLUMNS, theme.brush, self)
        self.table = TableView(
            self.alerts,
            theme,
            tr("Alerts"),
            stretched=len(ALERT_COLUMNS) - 1,
            empty=tr("There are no alerts."),
        )
        self.table.setSortingEnabled(True)
        self.table.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.table.opened.connect(self._opened)
        self.asked = RowsModel(ACTION_COLUMNS, theme.brush, self, descending=True)
        self.asked_table = TableView(
            self.asked,
            theme,
            tr("What was asked for"),
            stretched=4,
            empty=tr("Nothing was asked for of late, by anybody."),
        )
        self.asked_table.setSortingEnabled(True)
        self.asked_table.sortByColumn(0, Qt.SortOrder.DescendingOrder)
        splitter = QSplitter(Qt.Orientation.Vertical)
        splitter.setChildrenCollapsible(False)
        card = Card(tr("What is wrong"), self.summary, self.table, self.told)
        card.inner.setStretch(2, 1)
        splitter.addWidget(card)
        splitter.addWidget(Card(tr("What was asked for"), self.asked_table))
        splitter.setSizes([400, 260])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 14, 18, 14)
        layout.addWidget(splitter)

    # What it does.

    def refresh(self) -> None:
        """See `View`."""
        found = self.session.alerts()
        self._rows = alert_rows(found, self._rows)
        self.alerts.show(self._rows)
        self.asked.show(self.session.picture.kind("action"))
        if found:
            critical = sum(one.level == "critical" for one in found)
            text = trn("{n} alert", "{n} alerts", len(found), n=count(len(found)))
            if critical:
                text += tr(", critical: {n}", n=count(critical))
            text += ". " + tr("Enter shows what one is about.")
        elif self.session.picture.cluster is None:
            text = tr("Nothing has been heard yet.")
        else:
            text = tr("✓ Nothing is wrong.")
        if text != self.summary.text():
            self.summary.setText(text)

    def save(self) -> dict[str, object]:
        """See `View`."""
        return {"told": self.told.isChecked()}

    def restore(self, kept: dict[str, object]) -> None:
        """See `View`."""
        self.told.setChecked(kept.get("told") is True and self.tray.there)

    def _opened(self, place: int) -> None:
        row = self.alerts.row(place)
        if row is not None:
            self.opened.emit(*place_of(row))

    def _tell(self) -> None:
        """Tell of what is new, whether somebody looks or not."""
        if self.session.past_at is None and self.session.live.cluster is not None:
            self.tray.tell(self.session.alerts())

    def _raise(self) -> None:
        window = self.window()
        window.setWindowState(window.windowState() & ~Qt.WindowState.WindowMinimized)
        window.show()
        window.raise_()
        window.activateWindow()
        self.opened.emit("alerts", {})

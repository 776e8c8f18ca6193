"""Who leads, how far the others are, what failovers cost; have another one lead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QScrollArea, QSplitter, QVBoxLayout, QWidget

from monitor_app.feed import asked
from monitor_app.models.bars import Bar, bars_of, shown_rows
from monitor_app.models.coordinator_columns import (
    COORDINATOR_COLUMNS,
    FAILOVER_COLUMNS,
    coordinator_rows,
    latest,
    summary,
)
from monitor_app.models.language import tr
from monitor_app.models.session import Session
from monitor_app.models.table import Row, RowsModel
from monitor_app.models.undo import Wish
from monitor_app.models.words import clock, duration
from monitor_app.views.actions import ActionBar
from monitor_app.views.card import Card, label
from monitor_app.views.table_view import TableView
from monitor_app.views.theme import Theme
from monitor_app.views.timeline import Timeline
from monitor_app.views.view import View

BEFORE_S, AFTER_S = 30.0, 60.0
_ROWS_MAX = 24
_ATTEMPTS_MAX = 3_000


class Coordinators(View):
    """The view."""

    kinds = frozenset({"coordinators", "failover"})

    def __init__(
        self, session: Session, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(session, theme, parent)
        self._rows: dict[str, Row] = {}
        self._shown: Row | None = None
        self._wanted = ""
        self._bars: list[Bar] = []
        self.summary = label("", wrapped=True)
        self.coordinators = RowsModel(COORDINATOR_COLUMNS, theme.brush, self)
        self.table = TableView(
            self.coordinators,
            theme,
            tr("Coordinators"),
            stretched=len(COORDINATOR_COLUMNS) - 1,
            empty=tr("No coordinator is known."),
        )
        self.actions_bar = ActionBar(session, theme)
        self.table.chosen.connect(lambda _: self.actions_bar.look())
        self.actions_bar.add("transfer-leadership", self._wish)
        self.actions_bar.end()
        self.failovers = RowsModel(
            FAILOVER_COLUMNS, theme.brush, self, sorted_by=1, descending=True
        )
        self.failovers_table = TableView(
            self.failovers,
            theme,
            tr("Failovers"),
            stretched=2,
            empty=tr("Nobody has had to take over in the time that is kept."),
        )
        self.failovers_table.chosen.connect(self._failover_chosen)
        self.title = label("", "muted", wrapped=True)
        self.timeline = Timeline(tr("Tests that ran while the leader changed"), theme)
        self.timeline.opened.connect(
            lambda one: self.opened.emit("case", {"run": one.run, "case": one.text})
        )
        scroll = QScrollArea(widgetResizable=True)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setWidget(self.timeline)
        splitter = QSplitter(Qt.Orientation.Vertical)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(Card(tr("Now"), self.summary, self.table, self.actions_bar))
        splitter.addWidget(Card(tr("Elections and failovers"), self.failovers_table))
        splitter.addWidget(Card(tr("Laid over the tests"), self.title, scroll))
        splitter.setSizes([260, 220, 260])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 14, 18, 14)
        layout.addWidget(splitter)

    # What it does.

    def refresh(self) -> None:
        """See `View`."""
        picture = self.session.picture
        self.summary.setText(summary(picture.coordinators))
        found = coordinator_rows(picture.coordinators)
        before = self._rows
        self._rows = {
            key: before[key] if before.get(key) == row else row
            for key, row in found.items()
        }
        self.coordinators.show(self._rows)
        failovers = picture.kind("failover")
        self.failovers.show(failovers)
        if self.failovers_table.currentIndex().row() < 0 and failovers:
            worst = latest(failovers.values())
            key = next((k for k, one in failovers.items() if one is worst), "")
            self.failovers_table.choose(max(0, self.failovers.place(key)))
        self._draw()
        self.actions_bar.look()

    def line(self) -> None:
        """See `View`."""
        if self.session.line.state == "live":
            self._ask()

    def go(self, where: Mapping[str, str]) -> None:
        """See `View`."""
        place = self.failovers.place(f"failover/{where.get('term', '')}")
        self.failovers_table.choose(place)

    def _wish(self) -> Wish | None:
        row = self.coordinators.row(self.table.currentIndex().row())
        if row is None or row["leads"] or not row["votes"]:
            return None
        return Wish("transfer-leadership", {"node": str(row["name"] or row["node"])})

    def _failover_chosen(self, place: int) -> None:
        row = self.failovers.row(place)
        if row is None or (self._shown or {}).get("term") == row["term"]:
            return
        self._shown, self._bars = row, []
        self._draw()
        self._ask()

    def _ask(self) -> None:
        """Ask which tests ran over it."""
        shown = self._shown
        if shown is None:
            return
        start, end = _span(shown)

        def answered(told: Mapping[str, Any]) -> None:
            items = told.get("items")
            if shown is self._shown:
                self._bars = bars_of(items if isinstance(items, list) else ())
                self._draw()

        query = {"start": int(start), "end": int(end) + 1}
        call = asked.one("/timeline", **query, limit=_ATTEMPTS_MAX)
        self.session.ask(call, answered)

    def _draw(self) -> None:
        shown = self._shown
        if shown is None:
            self.title.setText(
                tr("When a leader dies, what ran meanwhile is shown here.")
            )
            self.timeline.draw([], [], 0.0, 1.0)
            return
        start, end = _span(shown)
        self.title.setText(
            tr(
                "Term {term}, {at}: nobody led for {time} (the band).",
                term=shown["term"],
                at=clock(shown["at"]),
                time=duration(shown["without_leader_s"]),
            )
        )
        rows = shown_rows((), self._bars)[:_ROWS_MAX]
        gap = (shown["at"] - shown["without_leader_s"], shown["at"])
        self.timeline.draw(rows, self._bars, start, end, [gap])


def _span(shown: Row) -> tuple[float, float]:
    """From shortly before nobody led until all was settled."""
    at = float(shown["at"])
    start = at - shown["without_leader_s"] - BEFORE_S
    return start, at + shown["settled_after_s"] + AFTER_S

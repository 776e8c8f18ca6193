"""Runs, and all cases of the one that is chosen: to be searched, sorted, filtered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from monitor_app.feed import asked
from monitor_app.models.cases import CASE, CasesModel
from monitor_app.models.language import mark, tr, trn
from monitor_app.models.marks import OUTCOMES, mark_of
from monitor_app.models.run_cases import RunCases
from monitor_app.models.run_columns import LIVE_COLUMNS
from monitor_app.models.session import Session
from monitor_app.models.table import RowsModel
from monitor_app.models.words import count, plain
from monitor_app.views.card import Card, label
from monitor_app.views.earlier_runs import EarlierRuns
from monitor_app.views.table_view import TableView
from monitor_app.views.theme import Theme
from monitor_app.views.view import View

RUNS_MAX = 1_000
BRIEF_PX, FIND_PX = 56, 200
"""A filter without its word; room to type what is looked for."""
_TYPED_MS = 150
_NO_RUNS = mark("There are no runs yet: `dtf run` and `pytest --dtf` make some.")
_FILTERS = ("running", *OUTCOMES, "flaky")


class Runs(View):
    """The view."""

    kinds = frozenset({"run"})
    timed = True

    def __init__(
        self, session: Session, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(session, theme, parent)
        self._past: dict[str, dict[str, Any]] = {}
        self._asking = False
        self._live_before: frozenset[str] = frozenset()
        self.runs = RowsModel(
            LIVE_COLUMNS, theme.brush, self, sorted_by=2, descending=True
        )
        self.runs_table = TableView(
            self.runs,
            theme,
            tr("Runs"),
            stretched=len(LIVE_COLUMNS) - 1,
            empty=tr(_NO_RUNS),
        )
        self.runs_table.setSortingEnabled(True)
        self.runs_table.sortByColumn(2, Qt.SortOrder.DescendingOrder)
        self.runs_table.chosen.connect(self._run_chosen)
        self.cases = CasesModel(theme.brush, self)
        self.run_cases = RunCases(session, self.cases, self)
        self.run_cases.progressed.connect(self._progressed)
        self.cases_table = TableView(
            self.cases,
            theme,
            tr("Cases"),
            stretched=CASE,
            empty=tr("No case is shown."),
        )
        # Of the id of a case the end says most.
        self.cases_table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.runs_table.opened.connect(lambda _: self.cases_table.setFocus())
        header = self.cases_table.horizontalHeader()
        header.setSortIndicatorClearable(True)
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.cases_table.setSortingEnabled(True)
        self.earlier = EarlierRuns(session, self.cases, self.cases_table, theme)
        self.cases_table.opened.connect(self._case_opened)
        for model in (self.cases, self.runs):
            model.modelAboutToBeReset.connect(self._remember)
        self.cases.modelReset.connect(self._choose_again)
        self._current = ""
        self.splitter = QSplitter(Qt.Orientation.Vertical)
        self.splitter.setObjectName("runs")
        self.splitter.setChildrenCollapsible(False)
        self.splitter.addWidget(Card(tr("Runs"), self.runs_table))
        self.splitter.addWidget(self._made_cases())
        self.splitter.setSizes([240, 460])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 14, 18, 14)
        layout.addWidget(self.splitter)

    def _made_cases(self) -> QWidget:
        self.part = QLineEdit(clearButtonEnabled=True)
        self.part.setPlaceholderText(tr("Find a case (Ctrl+F)"))
        self.part.setAccessibleName(tr("Find a case"))
        self._typed = QTimer(self, singleShot=True, interval=_TYPED_MS)
        self._typed.timeout.connect(lambda: self.cases.find(self.part.text()))
        self.part.textChanged.connect(lambda: self._typed.start())
        self.filters: dict[str, QPushButton] = {}
        row = QHBoxLayout()
        row.addWidget(self.part, 1)
        for word in _FILTERS:
            button = QPushButton()
            button.setCheckable(True)
            button.setAccessibleName(tr("Show only: {outcome}", outcome=tr(word)))
            button.setText(f"{mark_of(word).glyph} {tr(word)}")
            button.setMinimumWidth(BRIEF_PX)
            button.toggled.connect(self._filtered)
            self.filters[word] = button
            row.addWidget(button)
        self.said = label("", "muted")
        card = Card(tr("Cases"))
        self.cases_card = card
        card.inner.addLayout(row)
        card.inner.addWidget(self.cases_table, 1)
        card.inner.addWidget(self.said)
        for signal in (self.cases.rowsInserted, self.cases.rowsRemoved):
            signal.connect(self._count)
        self.cases.modelReset.connect(self._count)
        self._count()
        return card

    # What it does.

    def begin(self) -> None:
        """See `View`."""
        self._past, self._live_before = {}, frozenset()
        self.run_cases.show_run("")
        self.earlier.show_run("")

    def refresh(self) -> None:
        """See `View`."""
        live = self.session.picture.kind("run")
        rows: dict[str, Any] = dict(self._past) if self.session.past_at is None else {}
        for row in live.values():
            rows[row["run"]] = row
        self.runs.show(rows)
        names = frozenset(one["run"] for one in live.values())
        if names != self._live_before or not self._past:
            self._live_before = names
            self._ask()
        if self.runs_table.currentIndex().row() < 0 and self.runs.rowCount():
            self.runs_table.choose(0)
        self._follow()

    def tick(self) -> None:
        """See `View`."""
        self._follow()

    def line(self) -> None:
        """See `View`."""
        if self.session.line.state == "live":
            self._ask()
            self.run_cases.read_again()

    def search(self) -> None:
        """See `View`."""
        self.part.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.part.selectAll()

    def go(self, where: Mapping[str, str]) -> None:
        """See `View`."""
        self.runs_table.choose(self.runs.place(where.get("run", "")))

    @property
    def run(self) -> str:
        """The run that is chosen; empty if none is."""
        row = self.runs.row(self.runs_table.currentIndex().row())
        return "" if row is None else str(row["run"])

    def _ask(self) -> None:
        """Ask for the runs that are over."""
        if self._asking:
            return
        found: dict[str, dict[str, Any]] = {}

        def answered(told: Mapping[str, Any]) -> None:
            for row in told["items"]:
                found[str(row["run"])] = _whole(row)

        def ended() -> None:
            self._asking = False
            for run, row in found.items():
                before = self._past.get(run)
                if before == row:
                    found[run] = before
            self._past = found
            self.refresh()

        def failed(why: str) -> None:
            self._asking = False

        call = asked.pages("/runs", RUNS_MAX)
        self._asking = self.session.ask(call, answered, failed, ended) is not None

    def _run_chosen(self, place: int) -> None:
        row = self.runs.row(place)
        if row is None:
            return
        self.cases_card.heading.setText(tr("Cases of {run}", run=plain(row["run"])))
        self.run_cases.show_run(str(row["run"]))
        self.earlier.show_run(str(row["run"]))

    def _follow(self) -> None:
        """Tell what reads the cases how the run stands that is chosen."""
        row = self.runs.row(self.runs_table.currentIndex().row())
        if row is not None:
            self.run_cases.stands(row)

    def _filtered(self) -> None:
        self.cases.want([one for one, b in self.filters.items() if b.isChecked()])

    def _case_opened(self, place: int) -> None:
        row = self.runs.row(self.runs_table.currentIndex().row())
        if row is not None and self.cases.case(place):
            where = {
                "run": str(row["run"]),
                "suite": str(row["suite"]),
                "case": self.cases.case(place),
            }
            self.opened.emit("case", where)

    def _remember(self) -> None:
        self._current = self.cases.case(self.cases_table.currentIndex().row())

    def _choose_again(self) -> None:
        self.cases_table.choose(self.cases.place(self._current))

    def _progressed(self) -> None:
        self._count()

    def _count(self) -> None:
        shown, total = self.cases.rowCount(), self.cases.total
        numbers = {"n": count(shown), "m": count(total)}
        text = trn("{n} of {m} case", "{n} of {m} cases", total, **numbers)
        if self.run_cases.trouble:
            text += f" · {self.run_cases.trouble}"
        elif self.run_cases.reading:
            text += " · " + tr("to be read: {n}", n=count(self.run_cases.expected))
        elif not total:
            text = tr("No case of this run has begun yet.")
        if not self.runs.rowCount():
            text = ""
        self.said.setText(text)
        self._name_filters()

    def _name_filters(self) -> None:
        """With their words, if there is room for all of them."""
        counts, wide = self.cases.counts(), self.fontMetrics().horizontalAdvance
        full, brief = {}, {}
        for word in self.filters:
            glyph, n = mark_of(word).glyph, count(counts.get(word, 0))
            full[word], brief[word] = f"{glyph} {tr(word)} {n}", f"{glyph} {n}"
        needed = FIND_PX + sum(wide(text) + 34 for text in full.values())
        fits = self.cases_card.contentsRect().width() >= needed
        for word, button in self.filters.items():
            button.setText((full if fits else brief)[word])
            button.setToolTip("" if fits else full[word])

    def resizeEvent(self, event: QResizeEvent) -> None:
        """There is more room, or less (Qt calls this)."""
        super().resizeEvent(event)
        self._name_filters()
        self.earlier.fit()


def _whole(row: Mapping[str, Any]) -> dict[str, Any]:
    """A run as the store has it, with what a live one says too."""
    return {
        "run": str(row["run"]),
        "suite": str(row["suite"]),
        "status": str(row["status"]),
        "started_at": float(row["started_at"]),
        "finished_at": row["finished_at"],
        "planned": int(row["planned"]),
        "counts": {str(k): int(v) for k, v in row["counts"].items()},
        "at": None,
    }

"""Workers: what they are, how busy they are, what ran where; retire, quarantine."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import (
    QInputDialog,
    QLineEdit,
    QScrollArea,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from monitor_app.feed import asked
from monitor_app.feed.inbox import Batch
from monitor_app.models.bars import Bar, bars_of, running_bars, shown_rows
from monitor_app.models.language import tr, trn
from monitor_app.models.load_history import STEP_S, LoadHistory
from monitor_app.models.session import Session
from monitor_app.models.table import Row, RowsModel
from monitor_app.models.undo import Wish
from monitor_app.models.words import count, percent, plain
from monitor_app.models.worker_columns import (
    OF_GPUS,
    WORKER_COLUMNS,
    cpu_share,
    gpu_share,
    memory_share,
    worker_rows,
)
from monitor_app.views.actions import ActionBar
from monitor_app.views.card import Card, label
from monitor_app.views.chart import Chart, Curve
from monitor_app.views.table_view import TableView
from monitor_app.views.theme import Theme
from monitor_app.views.timeline import Timeline
from monitor_app.views.view import View

SPAN_S = 600
_ASK_EACH_S = 5
_ATTEMPTS_MAX = 2_000
_ROWS_MAX = 40
_TYPED_MS = 150


class Workers(View):
    """The view."""

    kinds = frozenset({"worker", "load"})
    timed = True

    def __init__(
        self, session: Session, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(session, theme, parent)
        self._rows: dict[str, Row] = {}
        self._bars: list[Bar] = []
        self._asking = False
        self._seconds = 0
        self._chosen = ""
        self._wanted = ""
        self._history = LoadHistory(3)
        session.taken.connect(self._taken)
        self.workers = RowsModel(WORKER_COLUMNS, theme.brush, self, sorted_by=1)
        self.table = TableView(
            self.workers,
            theme,
            tr("Workers"),
            stretched=len(WORKER_COLUMNS) - 1,
            empty=tr("There are no workers: `dtf worker ADDRESS` starts some."),
        )
        self.table.setSortingEnabled(True)
        self.table.sortByColumn(1, Qt.SortOrder.AscendingOrder)
        self.table.chosen.connect(self._choose)
        splitter = QSplitter(Qt.Orientation.Vertical)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(self._made_table())
        splitter.addWidget(self._made_below())
        splitter.setSizes([420, 340])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 14, 18, 14)
        layout.addWidget(splitter)

    def _made_table(self) -> QWidget:
        self.part = QLineEdit(clearButtonEnabled=True)
        self.part.setPlaceholderText(tr("Find a worker (Ctrl+F)"))
        self.part.setAccessibleName(tr("Find a worker"))
        self._typed = QTimer(self, singleShot=True, interval=_TYPED_MS)
        self._typed.timeout.connect(self._find)
        self.part.textChanged.connect(lambda: self._typed.start())
        self.said = label("", "muted")
        self.actions_bar = ActionBar(self.session, self.theme)
        for action, tip, more in (
            (
                "quarantine",
                tr("It is sent nothing more; what it runs goes on."),
                self._ask_why,
            ),
            ("release", tr("It is sent work again."), None),
            ("retire-worker", tr("It hands over what it holds, and ends."), None),
        ):
            self.actions_bar.add(
                action, partial(self._wish, action), tip=tip, more=more
            )
        self.actions_bar.end(self.said)
        card = Card(tr("Workers"), self.part, self.table, self.actions_bar)
        card.inner.setStretch(2, 1)
        return card

    def _made_below(self) -> QWidget:
        self.timeline = Timeline(tr("What ran where"), self.theme)
        self.timeline.opened.connect(self._opened)
        scroll = QScrollArea(widgetResizable=True)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setWidget(self.timeline)
        self.busy = Chart(tr("How busy it is"), self.theme, written=percent)
        self.busy_card = Card(tr("How busy it is"), self.busy)
        below = QSplitter(Qt.Orientation.Horizontal)
        below.setChildrenCollapsible(False)
        below.addWidget(Card(tr("What ran where in the last 10 minutes"), scroll))
        below.addWidget(self.busy_card)
        below.setSizes([620, 380])
        return below

    # What it does.

    def begin(self) -> None:
        """See `View`."""
        self._bars, self._history = [], LoadHistory(3)

    def refresh(self) -> None:
        """See `View`."""
        self._rows = worker_rows(self.session.picture, self._rows)
        self.workers.show(self._rows)
        if self._wanted:
            self.go({"worker": self._wanted})
        if self.table.currentIndex().row() < 0 and self.workers.rowCount():
            self.table.choose(0)
        gpus = any(one["gpus"] for one in self._rows.values())
        for column in OF_GPUS:
            if self.table.isColumnHidden(column) is gpus:
                self.table.setColumnHidden(column, not gpus)
        there = [one for one in self._rows.values() if one["left_at"] is None]
        words = trn("{n} worker", "{n} workers", len(there), n=count(len(there)))
        gone = len(self._rows) - len(there)
        if gone:
            words += " · " + tr("{n} gone of late", n=count(gone))
        self.said.setText("" if self.session.picture.cluster is None else words)
        self.actions_bar.look()
        if not self._asking and not self._bars:
            self._ask()
        self._draw()

    def tick(self) -> None:
        """See `View`."""
        self._seconds += 1
        if self._seconds % _ASK_EACH_S == 0:
            self._ask()
        self._draw()

    def line(self) -> None:
        """See `View`."""
        if self.session.line.state == "live":
            self._ask()

    def search(self) -> None:
        """See `View`."""
        self.part.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.part.selectAll()

    def go(self, where: Mapping[str, str]) -> None:
        """See `View`."""
        self._wanted = where.get("worker", "")
        for key, row in self._rows.items():
            if row["name"] == self._wanted:
                self.table.choose(self.workers.place(key))
                self._wanted = ""
                return

    @property
    def row(self) -> Row | None:
        """The worker that is chosen, as it is now."""
        return self._rows.get(self._chosen)

    def _find(self) -> None:
        self.workers.find(self.part.text())
        self._draw()

    def _choose(self, place: int) -> None:
        key = self.workers.key(place)
        if key and key != self._chosen:
            self._chosen = key
        self.actions_bar.look()
        self._draw()

    def _wish(self, action: str) -> Wish | None:
        row = self.row
        if row is None or row["left_at"] is not None:
            return None
        if action == "release" and not row["shut"]:
            return None
        return Wish(action, {"worker": row["name"]})

    def _ask_why(self, wish: Wish) -> None:
        """Ask for a reason, which others see."""
        dialog = QInputDialog(self)
        dialog.setWindowTitle(tr("Quarantine"))
        name = plain(wish.said["worker"])
        dialog.setLabelText(
            tr("Why {name} gets no work, for those who see it:", name=name)
        )
        dialog.setOkButtonText(tr("Quarantine"))
        dialog.setCancelButtonText(tr("Leave it"))
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)

        def said(reason: str) -> None:
            more = {"reason": reason} if reason else {}
            self.actions_bar.wish(Wish(wish.action, {**wish.said, **more}))

        dialog.textValueSelected.connect(said)
        dialog.open()

    def _opened(self, one: Bar) -> None:
        if one.run:
            self.opened.emit("case", {"run": one.run, "case": one.text})

    def _taken(self, batch: Batch) -> None:
        """Keep how busy they are, of all: who looks at one wants to see what was."""
        live, whole = self.session.live, batch.whole or {}
        for key in (*whole, *batch.put):
            kind, _, name = key.partition("/")
            worker = live.get(f"worker/{name}") if kind == "load" else None
            if worker is not None:
                row = {**worker, "load": live.get(key)}
                figures = (cpu_share(row), memory_share(row), gpu_share(row))
                self._history.add(f"worker/{name}", batch.at, figures)

    def _ask(self) -> None:
        """Ask what ran, unless somebody has just been asked."""
        if self._asking or not self.isVisible():
            return

        def answered(told: Mapping[str, Any]) -> None:
            items = told.get("items")
            self._bars = bars_of(items if isinstance(items, list) else ())

        def over(*_: object) -> None:
            self._asking = False
            self._draw()

        end = self.session.now
        query = {"start": int(end - SPAN_S), "end": int(end) + 1}
        call = asked.one("/timeline", **query, limit=_ATTEMPTS_MAX)
        self._asking = self.session.ask(call, answered, over, over) is not None

    def _draw(self) -> None:
        if not self.isVisible():
            return
        now = self.session.now
        keys = [
            self.workers.key(n) for n in range(min(_ROWS_MAX, self.workers.rowCount()))
        ]
        rows = [self._rows[key] for key in keys if key in self._rows]
        bars = [*self._bars]
        # What has been heard says nothing of the time since then.
        age_s = 0.0 if self.session.past_at is not None else self.session.age_s
        heard = now - max(0.0, (age_s or 0.0) - 1)
        for row in rows:
            bars += running_bars(row["name"], row["load"], heard)
        names = shown_rows((row["name"] for row in rows), [])
        self.timeline.draw(names, bars, now - SPAN_S, now)
        shown = self.row
        title = (
            tr("How busy it is")
            if shown is None
            else tr("How busy {name} is", name=plain(shown["name"]))
        )
        self.busy_card.heading.setText(title)
        start, values = self._history.curves(self._chosen, now - SPAN_S, heard)
        for one in values:
            one += [None] * (int((now - start) / STEP_S) + 1 - len(one))
        curves = (
            *((tr("CPU"), "blue", "solid"), (tr("memory"), "orange", "dash")),
            (tr("GPU"), "purple", "dashdot"),
        )
        self.busy.draw(
            [
                Curve(words, colour, told, dash)
                for (words, colour, dash), told in zip(curves, values, strict=True)
                if any(one is not None for one in told)
            ],
            start,
            STEP_S,
            SPAN_S,
        )

"""One case: its attempts in a run, what they wrote, and how it went elsewhere.

While it runs, what it has written so far is one more attempt, the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget

from monitor_app.feed import asked
from monitor_app.feed.questions import Call, Ticket
from monitor_app.models.case_columns import (
    ATTEMPT_COLUMNS,
    HISTORY_COLUMNS,
    attempt_row,
)
from monitor_app.models.language import mark, tr
from monitor_app.models.session import Session
from monitor_app.models.table import Row, RowsModel
from monitor_app.models.words import count, plain
from monitor_app.views.artifacts import Artifacts
from monitor_app.views.card import Card, Title, label
from monitor_app.views.log_view import LogView
from monitor_app.views.table_view import TableView
from monitor_app.views.theme import Theme
from monitor_app.views.view import View

HISTORY_MAX = 200
FILES_MAX = 500
CHARS = 400_000
FOLLOWED_S = 2
"""While its run goes on, one asks so often whether there is another attempt."""
AGAIN_S = 5
"""And so often, of one that has ended, whether it runs again."""

_RUNS = "~"
"""With it begin the keys of attempts that run: they come last."""
_CHOOSE = mark("Choose one in the view of runs, and press Enter.")


class Case(View):
    """The view."""

    kinds = frozenset({"run"})
    timed = True

    def __init__(
        self, session: Session, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(session, theme, parent)
        self._where: dict[str, str] = {}
        self._tickets: dict[str, Ticket | None] = {}
        self._past: dict[str, Row] = {}
        self._known: dict[str, Row] = {}
        self._running: dict[str, Row] = {}
        self._written: dict[str, Mapping[str, Any]] = {}
        self._shown = ""
        self._followed = True
        self._seconds = 0
        self.title = Title()
        self.title.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.said = label("", "muted", wrapped=True)
        self.attempts = RowsModel(ATTEMPT_COLUMNS, theme.brush, self)
        self.attempts_table = TableView(
            self.attempts,
            theme,
            tr("Attempts"),
            stretched=len(ATTEMPT_COLUMNS) - 1,
        )
        self.attempts_table.chosen.connect(self._attempt_chosen)
        self.log = LogView()
        self.artifacts = Artifacts(theme)
        self.log.tabs.addTab(self.artifacts, tr("Artifacts"))
        self.history = RowsModel(
            HISTORY_COLUMNS, theme.brush, self, sorted_by=0, descending=True
        )
        self.history_table = TableView(
            self.history,
            theme,
            tr("In all runs"),
            stretched=len(HISTORY_COLUMNS) - 1,
        )
        self.history_table.opened.connect(self._other_run)
        self.history_table.setSortingEnabled(True)
        self.history_table.sortByColumn(0, Qt.SortOrder.DescendingOrder)
        self.summary = label("", "muted", wrapped=True)
        splitter = QSplitter(Qt.Orientation.Vertical)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(Card(tr("Attempts in this run"), self.attempts_table))
        self.log_card = Card(tr("What the attempt left"), self.log)
        splitter.addWidget(self.log_card)
        splitter.addWidget(
            Card(tr("In all runs, on all hardware"), self.summary, self.history_table)
        )
        splitter.setSizes([150, 380, 200])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 14, 18, 14)
        layout.addWidget(self.title)
        layout.addWidget(self.said)
        layout.addWidget(splitter, 1)
        self.begin()

    # What it does.

    def begin(self) -> None:
        """See `View`."""
        self._clear({})
        self.title.setText(tr("No case is chosen"))
        self.title.setToolTip("")
        self.said.setText(tr(_CHOOSE))

    def go(self, where: Mapping[str, str]) -> None:
        """See `View`."""
        shown = self._where
        if [where[name] for name in ("run", "case")] == [
            shown.get(name) for name in ("run", "case")
        ]:
            return
        runs = self.session.picture.kind("run").values()
        suite = next((r["suite"] for r in runs if r["run"] == where["run"]), "")
        self._clear({"suite": suite, **where})
        self.title.setText(plain(where["case"]))
        self.title.setToolTip(plain(where["case"]))
        self._show_where()
        self.line()

    def _show_where(self) -> None:
        suite, run = plain(self._where["suite"]), plain(self._where["run"])
        words = tr("{suite}, run {run}", suite=suite, run=run)
        self.said.setText(words if suite else tr("run {run}", run=run))

    def _clear(self, where: Mapping[str, str]) -> None:
        """Nothing is known of that case yet."""
        self._where = dict(where)
        self._shown = ""
        self._followed = True
        for ticket in self._tickets.values():
            if ticket is not None:
                ticket.drop()
        self._tickets.clear()
        self._known, self._running, self._written = {}, {}, {}
        for table in (self.attempts_table, self.history_table, self.artifacts):
            table.say_empty("")
        self.attempts.show({})
        self.history.show({})
        self.summary.clear()
        self.log.clear()
        self.log.tabs.setCurrentIndex(0)
        self.artifacts.show_files(())

    def search(self) -> None:
        """See `View`."""
        self.log.part.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.log.part.selectAll()

    def line(self) -> None:
        """See `View`."""
        if not self._where or self.session.line.state not in ("live", "connecting"):
            return
        self._ask_attempts()
        if self._goes_on():
            self._ask_tail()
        if self._where["suite"]:
            self._ask_history()
        else:
            call = asked.one(asked.of_run(self._where["run"]))
            self._ask("run", call, self._run_told, self._say)

    def _run_told(self, told: Mapping[str, Any]) -> None:
        """Who named the case did not say of which suite it is."""
        self._where["suite"] = str(told["suite"])
        self._show_where()
        self._ask_history()

    def _ask_history(self) -> None:
        where = self._where
        call = asked.pages(
            "/history", HISTORY_MAX, suite=where["suite"], case=where["case"]
        )
        self._ask("history", call, self._history_told, self.summary.setText)

    def _other_run(self, place: int) -> None:
        row = self.history.row(place)
        if row is not None and row["run"]:
            self.go({**self._where, "run": row["run"]})

    def tick(self) -> None:
        """See `View`."""
        self._seconds += 1
        if not self._where or not self._goes_on():
            return
        over = self._known and not self._running
        if not over or self._seconds % AGAIN_S == 0:
            self._ask_tail()
        if self._seconds % FOLLOWED_S == 0:
            self._ask_attempts()

    def _goes_on(self) -> bool:
        if self.session.past_at is not None:
            return False
        rows = self.session.picture.kind("run").values()
        return any(
            row["run"] == self._where["run"] and row["status"] == "running"
            for row in rows
        )

    def _ask_attempts(self) -> None:
        where = self._where
        call = asked.one(
            asked.of_run(where["run"], "/attempts"), case=where["case"], limit=500
        )
        self._ask("attempts", call, self._attempts_told, self._say)

    def _ask_tail(self) -> None:
        where = self._where
        call = asked.one(asked.of_run(where["run"], "/tail"), case=where["case"])
        self._ask("tail", call, self._tail_told, lambda why: None)

    def _say(self, why: str) -> None:
        self.said.setText(plain(why))

    def _ask(
        self,
        name: str,
        call: Call,
        answered: Callable[[Any], None],
        failed: Callable[[str], None],
    ) -> None:
        if self._tickets.get(name) is not None:
            return

        def over() -> None:
            self._tickets[name] = None

        def failed_then(why: str) -> None:
            over()
            failed(why)

        self._tickets[name] = self.session.ask(call, answered, failed_then, over)

    def _attempts_told(self, told: Mapping[str, Any]) -> None:
        rows: dict[str, Row] = {}
        for one in told["items"]:
            row = attempt_row(one)
            rows[f"{row['number']:06}/{row['worker']}"] = row
        self._known = rows
        if not self._written:
            self._running = {}
        self._show_attempts()

    def _tail_told(self, told: Mapping[str, Any]) -> None:
        """What it has written where it runs; the API has of it what it left, later."""
        next_one = max((one["number"] for one in self._known.values()), default=0) + 1
        written: dict[str, Mapping[str, Any]] = {}
        running: dict[str, Row] = {}
        for one in told["items"]:
            more = {"number": next_one, "outcome": "running"}
            row = attempt_row({**one, **more, "duration_s": one["for_s"]})
            key = f"{_RUNS}{row['worker']}"
            running[key] = row
            texts = {name: str(one.get(name) or "") for name in ("stdout", "stderr")}
            written[key] = {name: {"text": text} for name, text in texts.items()}
        over = bool(self._running) and not running
        self._written = written
        if over:
            # It is shown as it was, until what it left is there.
            self._ask_attempts()
            return
        self._running = running
        self._show_attempts()

    def _show_attempts(self) -> None:
        self.attempts_table.say_empty(tr("No attempt of it is known."))
        rows = {**self._known, **self._running}
        before = {self.attempts.key(n) for n in range(self.attempts.rowCount())}
        for key, row in rows.items():
            known = self.attempts.row(self.attempts.place(key))
            rows[key] = known if known is not None and known == row else row
        self.attempts.show(rows)
        if self._followed and rows.keys() - before:
            # The last is what one wants to see, until another is chosen.
            self.attempts_table.choose(self.attempts.rowCount() - 1)
        if self._shown in self._written:
            self.log.show_texts(self._written[self._shown])

    def _attempt_chosen(self, place: int) -> None:
        row = self.attempts.row(place)
        if row is None:
            return
        self._followed = place == self.attempts.rowCount() - 1
        key = self.attempts.key(place)
        if key == self._shown:
            return
        self._shown = key
        for name in ("log", "artifacts"):
            ticket = self._tickets.get(name)
            if ticket is not None:
                ticket.drop()
                self._tickets[name] = None
        self.log.clear()
        self.artifacts.show_files(())
        runs = key.startswith(_RUNS)
        self.log_card.heading.setText(
            tr("What it has written so far") if runs else tr("What the attempt left")
        )
        if runs:
            return
        which = {
            "case": self._where["case"],
            "number": row["number"],
            "worker": row["worker"],
        }
        call = asked.one(asked.of_run(self._where["run"], "/log"), **which, chars=CHARS)
        self._ask("log", call, self.log.show_texts, self._say)
        call = asked.one(
            asked.of_run(self._where["run"], "/artifacts"),
            case=self._where["case"],
            limit=FILES_MAX,
        )
        told = partial(self._files_told, row)
        self._ask("artifacts", call, told, self.artifacts.say_empty)

    def _files_told(self, row: Row, told: Mapping[str, Any]) -> None:
        """Those of all attempts are told."""
        this = (row["number"], row["worker"])
        self.artifacts.say_empty(tr("It left no files."))
        self.artifacts.show_files(
            [one for one in told["items"] if (one["number"], one["worker"]) == this]
        )

    def _history_told(self, told: Mapping[str, Any]) -> None:
        kinds = {
            row["name"]: row["kind"]
            for row in self.session.picture.kind("worker").values()
        }
        rows: dict[str, Row] = {}
        for one in told["items"]:
            row = dict(attempt_row(one))
            row["kind"] = kinds.get(row["where"], "")
            rows[f"{row['run']}/{row['number']}/{row['worker']}"] = row
        self._past = rows if told["offset"] == 0 else {**self._past, **rows}
        self.history_table.say_empty(tr("It has not ended in any run."))
        self.history.show(self._past)
        self.summary.setText(_summary(self._past.values()))


def _summary(rows: Any) -> str:
    """How it went on which kind of worker."""
    kinds: dict[str, list[int]] = {}
    for row in rows:
        counts = kinds.setdefault(row["kind"] or row["host"], [0, 0])
        counts[row["outcome"] != "passed"] += 1
    return "   ".join(
        tr("{kind}: {n} passed, {m} not", kind=plain(kind), n=count(n), m=count(m))
        for kind, (n, m) in sorted(kinds.items())[:12]
    )

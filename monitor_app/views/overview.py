"""The whole at a glance: figures, what is wrong, charts, and the runs that go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QButtonGroup,
    QGridLayout,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from dtf_dask.errors import ProtocolError
from monitor_app.feed import asked
from monitor_app.feed.questions import Ticket
from monitor_app.models.curves import Curves
from monitor_app.models.language import mark, tr, trn
from monitor_app.models.marks import mark_of
from monitor_app.models.run_columns import LIVE_COLUMNS
from monitor_app.models.session import Session
from monitor_app.models.table import RowsModel
from monitor_app.models.words import count, percent, plain, rate, seconds
from monitor_app.views.card import Card, Tile, label
from monitor_app.views.chart import Chart, Curve
from monitor_app.views.table_view import TableView
from monitor_app.views.theme import Theme
from monitor_app.views.view import View

SPANS = ((1, 600), (10, 720), (300, 2016))
"""Seconds of a point, and how many points a coordinator keeps."""
_CLASS_COLOURS = ("blue", "orange", "green", "purple", "sky", "vermillion")
_ALERTS_SHOWN = 4
_TILE_CHARS = 19


class Overview(View):
    """The view."""

    kinds = frozenset({"cluster", "class", "run", "worker", "load", "coordinators"})
    timed = True

    def __init__(
        self, session: Session, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(session, theme, parent)
        self._span = 0
        self._curves = Curves(SPANS[0][1])
        self._asked: Ticket | None = None
        self._asked_for = 0
        self._seconds = 0
        inner = QWidget()
        layout = QVBoxLayout(inner)
        layout.setContentsMargins(18, 14, 18, 14)
        layout.setSpacing(12)
        layout.addLayout(self._made_tiles())
        self.alerts = label("", wrapped=True)
        self.alerts_card = Card(tr("Alerts"), self.alerts)
        layout.addWidget(self.alerts_card)
        layout.addLayout(self._made_spans())
        layout.addLayout(self._made_charts())
        self.runs = RowsModel(
            LIVE_COLUMNS, theme.brush, self, sorted_by=2, descending=True
        )
        self.runs_table = TableView(
            self.runs,
            theme,
            tr("Runs of late"),
            stretched=len(LIVE_COLUMNS) - 1,
            empty=tr("No run of tests was seen of late."),
        )
        self.runs_table.setMinimumHeight(150)
        self.runs_table.opened.connect(self._run_opened)
        layout.addWidget(Card(tr("Runs of late"), self.runs_table), 1)
        scroll = QScrollArea(widgetResizable=True)
        scroll.setWidget(inner)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)

    # How it is put together.

    def _made_tiles(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setSpacing(10)
        titles = {
            "ending": tr("Ending / s"),
            "waiting": tr("Waiting"),
            "running": tr("Running"),
            "workers": tr("Workers"),
            "threads": tr("Threads taken"),
            "memory": tr("Memory"),
            "gpu": tr("GPUs"),
            "deadlines": tr("Deadlines met"),
        }
        self.tiles = {name: Tile(title) for name, title in titles.items()}
        self._grid = grid
        self._place_tiles(len(titles))
        return grid

    def _place_tiles(self, columns: int) -> None:
        """In one row, or in two where there is no room for all."""
        for n, tile in enumerate(self.tiles.values()):
            self._grid.addWidget(tile, *divmod(n, columns))
            self._grid.setColumnStretch(n, int(n < columns))
        self._columns = columns

    def resizeEvent(self, event: QResizeEvent) -> None:
        """There is more room, or less (Qt calls this)."""
        super().resizeEvent(event)
        all_of_them = len(self.tiles)
        tile_px = _TILE_CHARS * self.fontMetrics().averageCharWidth()
        fits = self.width() >= tile_px * all_of_them
        columns = all_of_them if fits else all_of_them // 2
        if columns != self._columns:
            self._place_tiles(columns)

    def _made_spans(self) -> QHBoxLayout:
        row = QHBoxLayout()
        group = QButtonGroup(self)
        for n, words in enumerate((tr("10 min"), tr("2 h"), tr("7 days"))):
            button = QPushButton(words)
            button.setCheckable(True)
            button.setChecked(n == 0)
            button.setAccessibleName(tr("Time shown: {span}", span=words))
            group.addButton(button, n)
            row.addWidget(button)
        row.addStretch()
        self.spans = group
        group.idClicked.connect(self.choose_span)
        return row

    def _made_charts(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setSpacing(12)
        theme = self.theme
        self.throughput = Chart(tr("Throughput"), theme, written=rate)
        self.queue = Chart(
            tr("Queue by class"), theme, written=count, stacked=True, whole=True
        )
        self.taken = Chart(tr("Utilisation"), theme, written=percent)
        self.slack = Chart(tr("Deadline slack"), theme, written=seconds)
        for n, (title, chart) in enumerate(
            (
                (tr("Throughput: tasks that end in a second"), self.throughput),
                (tr("Queue: tasks that wait, by class"), self.queue),
                (tr("Utilisation: what is taken"), self.taken),
                (tr("Deadline slack: time left to begin"), self.slack),
            )
        ):
            grid.addWidget(Card(title, chart), n // 2, n % 2)
        return grid

    # What it does.

    def save(self) -> dict[str, object]:
        """See `View`."""
        return {"span": self._span}

    def restore(self, kept: dict[str, object]) -> None:
        """See `View`."""
        span = kept.get("span")
        if isinstance(span, int) and 0 <= span < len(SPANS):
            self.choose_span(span)

    def choose_span(self, which: int) -> None:
        """Show another time back."""
        self.spans.button(which).setChecked(True)
        self._span = which
        self._curves = Curves(SPANS[which][1])
        self._draw()
        self._ask()

    def begin(self) -> None:
        """See `View`."""
        self._curves = Curves(SPANS[self._span][1])
        self._draw()

    def line(self) -> None:
        """See `View`."""
        if self.session.line.state == "live":
            self._ask()

    def tick(self) -> None:
        """See `View`."""
        self._seconds += 1
        if self._seconds % min(SPANS[self._span][0], 10) == 0:
            self._ask()
        self._show_alerts()

    def refresh(self) -> None:
        """See `View`."""
        self._show_tiles()
        self._show_alerts()
        self.runs.show(self.session.picture.kind("run"))
        if not self._curves.length:
            self._ask()
        self._mark()

    def _run_opened(self, place: int) -> None:
        row = self.runs.row(place)
        if row is not None:
            self.opened.emit("runs", {"run": str(row["run"])})

    def _ask(self) -> None:
        """Ask for numbers over time, unless somebody has just been asked."""
        if self._asked is not None and self._asked_for == self._span:
            return
        if not self.isVisible():
            return
        span, curves = self._span, self._curves
        self._asked_for = span

        def answered(told: Mapping[str, Any]) -> None:
            if curves is self._curves:
                curves.add(told)
                self._draw()

        def over(*_: object) -> None:
            if self._asked_for == span:
                self._asked = None

        def heard(told: Any) -> None:
            try:
                answered(told)
            except ProtocolError:
                pass  # one of another version: the charts say that there is nothing

        query = {"step": SPANS[span][0], "since": curves.since}
        self._asked = self.session.ask(asked.one("/series", **query), heard, over, over)

    def _draw(self) -> None:
        found, values = self._curves, self._curves.values
        step, points = SPANS[self._span]

        def curve(name: str, words: str, colour: str, dash: str = "solid") -> Curve:
            return Curve(words, colour, values.get(name, []), dash)

        def draw(chart: Chart, curves: list[Curve]) -> None:
            there = [one for one in curves if one.values]
            chart.draw(there, found.start_s, step, step * points)

        draw(
            self.throughput,
            [
                curve("ended", tr("ended"), "blue"),
                curve("failed", tr("failed"), "vermillion", "dash"),
            ],
        )
        draw(
            self.taken,
            [
                curve("busy", tr("threads"), "blue"),
                curve("cpu", tr("CPU"), "green", "dot"),
                curve("memory", tr("memory"), "orange", "dash"),
                curve("gpu", tr("GPU"), "purple", "dashdot"),
            ],
        )
        self.slack.empty = tr(
            mark("nothing that has a deadline has waited")
            if found.length
            else mark("no numbers yet")
        )
        draw(self.slack, [curve("slack", tr("left to begin"), "purple")])
        names = [n for n in sorted(values) if n.endswith("/waiting")][
            : len(_CLASS_COLOURS)
        ]
        draw(
            self.queue,
            [
                curve(name, plain(name.split("/")[1]), colour)
                for name, colour in zip(names, _CLASS_COLOURS, strict=False)
            ],
        )
        self._mark()
        self._show_tiles()

    def _mark(self) -> None:
        for chart in (self.throughput, self.queue, self.taken, self.slack):
            chart.mark(self.session.past_at)

    def _show_tiles(self) -> None:
        row = self.session.picture.cluster
        tiles = self.tiles
        if row is None:
            for tile in tiles.values():
                tile.show_figure("–")
            return
        tiles["ending"].show_figure(
            rate(self._curves.latest("ended")),
            tr("{n} failed in all", n=count(row["failed"])),
        )
        tiles["waiting"].show_figure(
            count(row["waiting"]), tr("{n} held back", n=count(row["held"]))
        )
        threads = row["threads"]
        where = trn("on {n} thread", "on {n} threads", threads, n=count(threads))
        tiles["running"].show_figure(count(row["running"]), where)
        lost = sum(
            one["status"] == "lost"
            for one in self.session.picture.kind("worker").values()
        )
        tiles["workers"].show_figure(
            count(row["workers"]), tr("{n} lost of late", n=lost) if lost else ""
        )
        tiles["threads"].show_figure(
            percent(_share(row["threads_used"], row["threads"])),
            tr("{n} of {m}", n=count(row["threads_used"]), m=count(row["threads"])),
        )
        tiles["memory"].show_figure(
            percent(_share(row["memory_used"], row["memory"])), tr("of all workers'")
        )
        self._show_gpus()
        met, missed = row["deadlines_met"], row["deadlines_missed"]
        tiles["deadlines"].show_figure(
            percent(_share(met, met + missed)), tr("{n} missed", n=count(missed))
        )

    def _show_gpus(self) -> None:
        gpus = [
            one["util"]
            for load in self.session.picture.kind("load").values()
            for one in load["gpus"]
            if one["util"] is not None
        ]
        mean = sum(gpus) / len(gpus) if gpus else None
        more = tr("busy, of {n}", n=len(gpus)) if gpus else tr("none is seen")
        self.tiles["gpu"].show_figure(percent(mean), more)

    def _show_alerts(self) -> None:
        found = self.session.alerts()
        if self.session.picture.cluster is None and not found:
            text = tr("Nothing has been heard yet.")
        elif not found:
            text = tr("✓ Nothing is wrong.")
        else:
            lines = [
                f"{mark_of(one.level).glyph} {tr(one.level)}: {plain(one.words)}"
                for one in found[:_ALERTS_SHOWN]
            ]
            if len(found) > _ALERTS_SHOWN:
                lines.append(tr("… and {n} more", n=len(found) - _ALERTS_SHOWN))
            text = "\n".join(lines)
        if text != self.alerts.text():
            self.alerts.setText(text)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None

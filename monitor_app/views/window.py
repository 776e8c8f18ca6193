"""The window: its views, how the connection stands, and the menus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from PySide6.QtCore import QPoint, QSize, Qt, QTimer
from PySide6.QtGui import QAction, QActionGroup, QCloseEvent, QKeySequence
from PySide6.QtWidgets import (
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QMainWindow,
    QMenu,
    QMessageBox,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from dtf_dask import __version__
from monitor_app.feed.feed import Feed
from monitor_app.feed.place import Place
from monitor_app.feed.tokens import Tokens
from monitor_app.models.language import mark, tr
from monitor_app.models.recording import Recording
from monitor_app.models.session import Session, Source
from monitor_app.models.words import clock, plain
from monitor_app.views.card import label
from monitor_app.views.chart import Chart
from monitor_app.views.connect_dialog import ConnectDialog, Finder
from monitor_app.views.exporting import Exporting
from monitor_app.views.kept import Kept
from monitor_app.views.pages import PAGES
from monitor_app.views.replay_bar import ReplayBar
from monitor_app.views.runs import Runs
from monitor_app.views.status import Status
from monitor_app.views.table_view import TableView
from monitor_app.views.theme import CHOICES, Theme
from monitor_app.views.view import View

_NOTE_MS = 10_000
_PLACE_PX = 48
"""Around the name of a view in the list of them."""
_THEMES = {
    "system": mark("As the system"),
    "light": mark("Light"),
    "dark": mark("Dark"),
}

MakeSource = Callable[[Sequence[Place], Tokens], Source]


class Window(QMainWindow):
    """The window.

    Parameters
    ----------
    make_source
        What reads a cluster; a `Feed`, if none is given.
    """

    def __init__(
        self,
        session: Session,
        theme: Theme,
        kept: Kept,
        *,
        make_source: MakeSource = Feed,
        finder: Finder | None = None,
    ) -> None:
        super().__init__()
        self.session, self.theme, self._kept = session, theme, kept
        self._make_source = make_source
        self._finder = finder or Finder(parent=self)
        self._places: list[Place] = []
        self._asking = self._declined = False
        self._to_keep = ""
        self.views: dict[str, View] = {}
        self.recording = Recording(session, self)
        self._exporting = Exporting(session, self)
        self.setWindowTitle(tr("dtf monitor"))
        self.resize(1280, 860)
        self._make_middle()
        self._make_menus()
        session.line_changed.connect(self._show_line)
        session.ticked.connect(self._show_line)
        session.stood.connect(self._show_line)
        session.changed.connect(self._show_line)
        session.noted.connect(self.note)
        kept.restore_window(self)
        for name, view in self.views.items():
            kept.restore_view(name, view)
        self.open_page(kept.word("page", PAGES[0].name))
        self._show_line()

    # How it is put together.

    def _make_middle(self) -> None:
        self.places_list = QListWidget()
        self.places_list.setObjectName("places")
        self.places_list.setAccessibleName(tr("Views"))
        self.stack = QStackedWidget()
        for page in PAGES:
            view = page.make(self.session, self.theme)
            view.setAccessibleName(tr(page.title))
            view.opened.connect(self._opened)
            for table in view.findChildren(TableView):
                table.heard = self._has_heard
            self.views[page.name] = view
            self.stack.addWidget(view)
            item = QListWidgetItem(tr(page.title))
            item.setSizeHint(QSize(0, self.fontMetrics().height() + 18))
            self.places_list.addItem(item)
        wide = max(self.fontMetrics().horizontalAdvance(tr(one.title)) for one in PAGES)
        self.places_list.setFixedWidth(max(170, wide + _PLACE_PX))
        self.places_list.currentRowChanged.connect(self.stack.setCurrentIndex)
        self.banner = label("", "banner", wrapped=True)
        self.banner.hide()
        self.status = Status(self.session, self.theme, self.statusBar())
        middle = QWidget()
        row = QHBoxLayout(middle)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self.places_list)
        column = QVBoxLayout()
        column.setSpacing(0)
        self.past = label("", "banner", wrapped=True)
        self.past.hide()
        self.replay = ReplayBar(self.recording)
        self.replay.hide()
        for one in (self.status.alarm, self.banner, self.past, self.stack, self.replay):
            column.addWidget(one)
        column.setStretchFactor(self.stack, 1)
        self.recording.moved.connect(self._show_past)
        for chart in (
            c for one in self.views.values() for c in one.findChildren(Chart)
        ):
            chart.customContextMenuRequested.connect(partial(self._chart_menu, chart))
        row.addLayout(column, 1)
        self.setCentralWidget(middle)

        self._notes = QTimer(self, singleShot=True, interval=_NOTE_MS)
        self._notes.timeout.connect(self.banner.hide)

    def _make_menus(self) -> None:
        bar = self.menuBar()
        menu = bar.addMenu(tr("&Cluster"))
        self._action(menu, tr("&Look at …"), "Ctrl+O", self.ask_where)
        menu.addSeparator()
        self._action(menu, tr("&Save the table …"), "Ctrl+E", self._save_table)
        self._action(menu, tr("Save the &run …"), "Ctrl+Shift+E", self._save_run)
        menu.addSeparator()
        self._action(menu, tr("&Quit"), QKeySequence.StandardKey.Quit, self.close)
        menu = bar.addMenu(tr("&View"))
        for n, page in enumerate(PAGES):
            keys = f"Ctrl+{n + 1}" if n < 9 else ""
            self._action(menu, tr(page.title), keys, partial(self.open_page, page.name))
        menu.addSeparator()
        self._action(menu, tr("&Find"), QKeySequence.StandardKey.Find, self._search)
        self._action(menu, tr("Look &back"), "Ctrl+R", self.look_back)
        self._action(menu, tr("Back to &now"), "Ctrl+L", self.look_now)
        menu.addSeparator()
        group = QActionGroup(self)
        for choice in CHOICES:
            action = self._action(
                menu, tr(_THEMES[choice]), "", partial(self._choose_theme, choice)
            )
            action.setCheckable(True)
            action.setChecked(choice == self.theme.choice)
            group.addAction(action)
        menu = bar.addMenu(tr("&Help"))
        self._action(menu, tr("&About"), "", self._about)

    def _action(
        self,
        menu: object,
        words: str,
        keys: str | QKeySequence.StandardKey,
        call: Callable[[], object],
    ) -> QAction:
        action = QAction(words, self)
        if keys:
            action.setShortcut(QKeySequence(keys))
        action.triggered.connect(lambda: call())
        menu.addAction(action)  # type: ignore[attr-defined]
        return action

    def _has_heard(self) -> bool:
        return self.session.picture.cluster is not None

    # What it does.

    def watch(
        self, places: Sequence[Place], token: str = "", *, keep: bool = False
    ) -> None:
        """Look at the cluster that is there; ``keep`` the token in the keyring."""
        self._places = list(places)
        self._declined = False
        self._to_keep = ", ".join(map(str, places))
        self.recording.begin()
        self.session.watch(self._make_source(places, Tokens(token, keep=keep)))

    def look_for_one(self) -> None:
        """Look at the cluster of this machine, if there is one, or ask."""

        def found(clusters: Sequence[tuple[str, Sequence[Place]]]) -> None:
            self._finder.found.disconnect(found)
            self.session.look_for_one(False)
            if self.session.watching or self._asking:
                return
            if len(clusters) == 1:
                self.watch(clusters[0][1])
            else:
                self.ask_where()

        self._finder.found.connect(found)
        self.session.look_for_one(True)
        self._finder.start()

    def ask_where(self) -> None:
        """Ask which cluster to look at, and for a token if this one wants it."""
        line = self.session.line
        why = line.why if line.token_asked else ""
        address = ", ".join(map(str, self._places)) if why else ""
        dialog = ConnectDialog(
            self._kept.recent,
            self._finder,
            self,
            why=why,
            address=address,
            token_asked=line.token_asked,
        )
        self._asking = True
        dialog.finished.connect(self._asked)
        dialog.accepted.connect(
            lambda: self.watch(dialog.places, dialog.token, keep=dialog.keep)
        )
        dialog.rejected.connect(self._decline)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()

    def _asked(self) -> None:
        self._asking = False

    def _decline(self) -> None:
        """Nobody is asked again by itself what he did not want to say."""
        self._declined = True

    def open_page(self, name: str) -> None:
        """Show a view."""
        names = list(self.views)
        self.places_list.setCurrentRow(names.index(name) if name in names else 0)

    def look_back(self) -> None:
        """Look at a past time."""
        self.replay.begin()

    def look_now(self) -> None:
        """Look at what is now."""
        self.recording.now()
        self.replay.hide()
        self.stack.currentWidget().setFocus()

    def note(self, words: str) -> None:
        """Show words for a while."""
        self.banner.setText(plain(words))
        self.banner.show()
        self._notes.start()

    def closeEvent(self, event: QCloseEvent) -> None:
        """Keep how it stands, and end (Qt calls this)."""
        kept = self._kept
        kept.keep_window(self)
        kept.keep_word("theme", self.theme.choice)
        kept.keep_word("page", list(self.views)[self.stack.currentIndex()])
        for name, view in self.views.items():
            kept.keep_view(name, view)
        kept.write()
        self.session.close()
        self.recording.close()
        super().closeEvent(event)

    def _opened(self, name: str, where: dict[str, str]) -> None:
        if name in self.views:
            self.open_page(name)
            self.views[name].go(where)

    def _show_past(self) -> None:
        at = self.recording.at
        self.past.setVisible(at is not None)
        if at is not None:
            self.past.setText(
                tr(
                    "You look at {time}. What happens now is kept meanwhile."
                    " Back to now: Ctrl+L.",
                    time=clock(at),
                )
            )

    def _save_table(self) -> None:
        self._exporting.table(self.stack.currentWidget())

    def _save_run(self) -> None:
        runs = self.views["runs"]
        if isinstance(runs, Runs) and runs.run:
            self._exporting.run(runs.run)
        else:
            self.note(tr("No run is chosen."))

    def _chart_menu(self, chart: Chart, where: QPoint) -> None:
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        action = menu.addAction(tr("Save the chart …"))
        action.triggered.connect(lambda: self._exporting.chart(chart))
        menu.popup(chart.mapToGlobal(where))

    def _search(self) -> None:
        view = self.stack.currentWidget()
        if isinstance(view, View):
            view.search()

    def _choose_theme(self, choice: str) -> None:
        if choice in CHOICES:
            self.theme.choose(choice)

    def _about(self) -> None:
        QMessageBox.about(
            self, tr("dtf monitor"), tr("dtf monitor {version}", version=__version__)
        )

    def _show_line(self) -> None:
        self.status.show()
        if self._to_keep and self.session.line.state == "live":
            self._kept.keep_recent(self._to_keep)
            self._to_keep = ""
        cluster = self.status.cluster
        self.setWindowTitle(f"{cluster} – dtf monitor" if cluster else "dtf monitor")
        asked = self.session.line.state == "refused" and self.session.line.token_asked
        if asked and not self._asking and not self._declined:
            self.ask_where()

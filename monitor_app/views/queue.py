"""What waits, why, and about when it begins; cancel and reprioritise what is next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLineEdit,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from monitor_app.models.language import tr, trn
from monitor_app.models.queue_columns import (
    CLASS_COLUMNS,
    DUE,
    KIND_COLUMNS,
    REASON_COLUMNS,
    reasons,
    timed,
)
from monitor_app.models.session import Session
from monitor_app.models.table import Row, RowsModel
from monitor_app.models.undo import Wish
from monitor_app.models.words import count, plain, short
from monitor_app.views.actions import ActionBar
from monitor_app.views.card import Card, label
from monitor_app.views.table_view import TableView
from monitor_app.views.theme import Theme
from monitor_app.views.view import View


class Queue(View):
    """The view."""

    kinds = frozenset({"kind", "class", "cluster"})
    timed = True

    def __init__(
        self, session: Session, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(session, theme, parent)
        self._kinds: dict[str, Row] = {}
        self._classes: dict[str, Row] = {}
        self._reasons: dict[str, Row] = {}
        self.summary = label("", wrapped=True)
        self.reasons = RowsModel(
            REASON_COLUMNS, theme.brush, self, sorted_by=1, descending=True
        )
        self.reasons_table = TableView(
            self.reasons,
            theme,
            tr("Reasons"),
            stretched=len(REASON_COLUMNS) - 1,
        )
        self.classes = RowsModel(CLASS_COLUMNS, theme.brush, self)
        self.classes_table = TableView(
            self.classes,
            theme,
            tr("Priority classes"),
            empty=tr("No class has had work yet."),
        )
        self.waiting = RowsModel(KIND_COLUMNS, theme.brush, self, sorted_by=DUE)
        self.table = TableView(
            self.waiting,
            theme,
            tr("Kinds of work that wait"),
            stretched=DUE - 1,
        )
        self.table.setSortingEnabled(True)
        self.table.sortByColumn(DUE, Qt.SortOrder.AscendingOrder)
        self.table.chosen.connect(lambda _: self._choose())
        self.part = QLineEdit(clearButtonEnabled=True)
        self.part.setPlaceholderText(tr("Find what waits (Ctrl+F)"))
        self.part.setAccessibleName(tr("Find what waits"))
        self.part.textChanged.connect(self.waiting.find)
        self.next = label("", "muted")
        self.actions_bar = ActionBar(session, theme)
        self.actions_bar.add(
            "reprioritize",
            lambda: self._wish("reprioritize"),
            tr("Reprioritise the next one …"),
            more=self._ask_how,
        )
        self.actions_bar.add(
            "cancel", lambda: self._wish("cancel"), tr("Cancel the next one …")
        )
        self.actions_bar.end(self.next)
        splitter = QSplitter(Qt.Orientation.Vertical)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(
            Card(tr("Why is it pending?"), self.summary, self.reasons_table)
        )
        splitter.addWidget(Card(tr("Priority classes"), self.classes_table))
        card = Card(
            tr("What waits, the most urgent first"),
            *(self.part, self.table, self.actions_bar),
        )
        card.inner.setStretch(2, 1)
        splitter.addWidget(card)
        splitter.setSizes([190, 200, 370])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 14, 18, 14)
        layout.addWidget(splitter)

    # What it does.

    def refresh(self) -> None:
        """See `View`."""
        picture, now = self.session.picture, self.session.now
        kinds = picture.kind("kind")
        self._kinds = timed(kinds, now, self._kinds)
        self._classes = timed(picture.kind("class"), now, self._classes)
        self._reasons = timed(reasons(kinds.values()), now, self._reasons)
        self.waiting.show(self._kinds)
        self.classes.show(self._classes)
        self.reasons.show(self._reasons)
        if self.table.currentIndex().row() < 0 and self.waiting.rowCount():
            self.table.choose(0)
        self._say(picture.cluster)
        self._choose()

    def search(self) -> None:
        """See `View`."""
        self.part.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.part.selectAll()

    def go(self, where: Mapping[str, str]) -> None:
        """See `View`."""
        for key, row in self._kinds.items():
            if row["class"] == where.get("class"):
                self.table.choose(self.waiting.place(key))
                return

    def _say(self, cluster: Mapping[str, Any] | None) -> None:
        if cluster is None:
            text = tr("Nothing has been heard yet.")
        elif not cluster["waiting"]:
            text = tr("Nothing waits.")
        else:
            n = cluster["waiting"]
            text = trn("{n} task waits.", "{n} tasks wait.", n, n=count(n))
            pressure = cluster["pressure"]
            if pressure["bound"]:
                text += " " + tr(
                    "The queue holds {n} of at most {m}.",
                    n=count(pressure["waiting"]),
                    m=count(pressure["bound"]),
                )
        for table in (self.table, self.reasons_table):
            table.say_empty(tr("Nothing waits."))
        if text != self.summary.text():
            self.summary.setText(text)

    @property
    def row(self) -> Row | None:
        """The kind that is chosen."""
        return self.waiting.row(self.table.currentIndex().row())

    def _choose(self) -> None:
        row = self.row
        known = row is not None and row["next"]
        self.next.setText(
            tr("next: {key}", key=short(row["next"], 60)) if row and known else ""
        )
        self.actions_bar.look()

    def _wish(self, action: str) -> Wish | None:
        row = self.row
        return Wish(action, {"keys": [row["next"]]}) if row and row["next"] else None

    def _ask_how(self, wish: Wish) -> None:
        """Ask how urgent it is to be."""
        names = sorted(one["name"] for one in self._classes.values())
        dialog = Reprioritise(str(wish.said["keys"][0]), names, self)
        dialog.accepted.connect(
            lambda: self.actions_bar.wish(
                Wish(wish.action, {**wish.said, **dialog.wishes})
            )
        )
        dialog.open()


class Reprioritise(QDialog):
    """Asks how urgent a task is to be."""

    def __init__(
        self, key: str, classes: list[str], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(tr("Reprioritise"))
        self.priority_class = QComboBox()
        self.priority_class.addItem(tr("as it is"), "")
        for name in classes:
            self.priority_class.addItem(plain(name), name)
        self.priority = QLineEdit()
        self.priority.setPlaceholderText(tr("as it is"))
        self.deadline = QLineEdit()
        self.deadline.setPlaceholderText(tr("as it is; or: 10 min"))
        self.wrong = label("", "alarm", wrapped=True)
        self.wrong.hide()
        form = QFormLayout()
        for words, field in (
            (tr("Priority &class"), self.priority_class),
            (tr("&Priority within it"), self.priority),
            (tr("&Deadline from now on"), self.deadline),
        ):
            form.addRow(words, field)
            field.setAccessibleName(words.replace("&", ""))
        buttons = QDialogButtonBox()
        yes = buttons.addButton(
            tr("Reprioritise"), QDialogButtonBox.ButtonRole.AcceptRole
        )
        yes.setDefault(True)
        buttons.addButton(tr("Leave it"), QDialogButtonBox.ButtonRole.RejectRole)
        buttons.accepted.connect(self._accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(label(short(key, 120), wrapped=True))
        layout.addLayout(form)
        layout.addWidget(self.wrong)
        layout.addWidget(buttons)

    @property
    def wishes(self) -> dict[str, Any]:
        """What it is to be; ValueError if that is no number."""
        found: dict[str, Any] = {}
        if name := self.priority_class.currentData():
            found["priority_class"] = name
        if text := self.priority.text().strip():
            found["priority"] = float(text.replace(",", "."))
        if text := self.deadline.text().strip():
            found["deadline"] = text
        return found

    def _accept(self) -> None:
        try:
            wrong = "" if self.wishes else tr("Say what is to be otherwise.")
        except ValueError:
            wrong = tr("A priority is a number.")
        self.wrong.setText(wrong)
        self.wrong.setVisible(bool(wrong))
        if not wrong:
            self.accept()

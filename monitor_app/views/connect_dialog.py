"""Which cluster to look at: those of this machine, those of late, or an address."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QIcon, QShowEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from dtf_dask.errors import UsageError
from monitor_app.feed.local_clusters import clusters
from monitor_app.feed.place import Place, parse_place
from monitor_app.feed.tokens import is_token
from monitor_app.models.language import tr, tr_reason
from monitor_app.models.words import plain
from monitor_app.views.card import label

Found = Sequence[tuple[str, Sequence[Place]]]
_CHOICE = int(Qt.ItemDataRole.UserRole)


class Finder(QObject):
    """Looks for clusters of this machine, in a thread."""

    found = Signal(object)

    def __init__(
        self,
        look: Callable[[], Found] = clusters,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._look = look

    def start(self) -> None:
        """Look once."""
        threading.Thread(target=self._run, name="finder", daemon=True).start()

    def _run(self) -> None:
        try:
            found = self._look()
        except Exception:  # whatever forbids to look: there is nothing to choose from
            found = []
        try:
            self.found.emit(found)
        except RuntimeError:
            pass  # the window was closed meanwhile


class ConnectDialog(QDialog):
    """The dialog.

    Attributes
    ----------
    places
        What was chosen.
    token
        What is to be shown there; empty for nothing.
    keep
        Whether the keyring is to have it.
    """

    def __init__(
        self,
        recent: Sequence[str],
        finder: Finder,
        parent: QWidget | None = None,
        *,
        why: str = "",
        address: str = "",
        token_asked: bool = False,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Look at a cluster"))
        self.setMinimumSize(560, 440)
        self.places: list[Place] = []
        self.token, self.keep = "", False
        self._finder = finder
        self._choices: list[list[Place]] = []
        finder.found.connect(self._show_found)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 14, 16, 14)
        layout.setSpacing(8)
        self.why = label(why, "alarm", wrapped=True)
        self.why.setVisible(bool(why))
        layout.addWidget(self.why)
        layout.addWidget(label(tr("On this machine, and of late"), "heading"))
        self.list = QListWidget()
        self.list.setAccessibleName(tr("Clusters on this machine, and of late"))
        self.list.setMinimumHeight(130)
        self.list.setWordWrap(True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.currentItemChanged.connect(self._item_chosen)
        self.list.itemActivated.connect(lambda: self.accept())
        layout.addWidget(self.list, 1)
        self.said = label(tr("Looking for clusters on this machine …"), "muted")
        self.said.setWordWrap(True)
        layout.addWidget(self.said)
        layout.addWidget(label(tr("Or an address"), "heading"))
        self.address = QLineEdit(address)
        self.address.setAccessibleName(tr("Address"))
        self.address.setPlaceholderText("http://127.0.0.1:8700")
        self.address.textEdited.connect(lambda: self.list.setCurrentRow(-1))
        layout.addWidget(self.address)
        self.token_field = QLineEdit(echoMode=QLineEdit.EchoMode.Password)
        self.token_field.setAccessibleName(tr("Token"))
        self.token_field.setPlaceholderText(tr("Token, as the cluster gave it to you"))
        self.token_field.setVisible(token_asked)
        layout.addWidget(self.token_field)
        self.keep_box = QCheckBox(tr("Keep the token in the keyring of this system"))
        self.keep_box.setChecked(True)
        self.keep_box.setVisible(token_asked)
        layout.addWidget(self.keep_box)
        self.wrong = label("", "alarm", wrapped=True)
        self.wrong.hide()
        layout.addWidget(self.wrong)
        layout.addWidget(self._made_buttons())
        for one in recent:
            self._add(one, one, [])
        if token_asked:
            self.token_field.setFocus()
        elif address:
            self.address.setFocus()

    def _made_buttons(self) -> QDialogButtonBox:
        kind = QDialogButtonBox.StandardButton
        buttons = QDialogButtonBox(kind.Cancel)
        self.connect_button = QPushButton(tr("Look"), default=True)
        buttons.addButton(self.connect_button, QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.button(kind.Cancel).setText(tr("Cancel"))
        buttons.button(kind.Cancel).setIcon(QIcon())
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        return buttons

    def showEvent(self, event: QShowEvent) -> None:
        """Look for clusters (Qt calls this)."""
        super().showEvent(event)
        self._finder.start()

    def accept(self) -> None:
        """Take what is chosen, or say what is wrong with it."""
        item = self.list.currentItem()
        places = [] if item is None else self._choices[item.data(_CHOICE)]
        try:
            words = self.address.text().replace(",", " ").split()
            if not places and not words:
                raise UsageError(tr("Choose one, or write where one is."))
            self.places = list(places or map(parse_place, words))
            token = self.token_field.text().strip()
            if not is_token(token):
                raise UsageError(tr("A token has no spaces, and no accents."))
        except UsageError as error:
            self.wrong.setText(plain(tr_reason(str(error))))
            self.wrong.show()
            self.address.setFocus()
            return
        self.token = token
        self.keep = self.keep_box.isChecked()
        super().accept()

    def _item_chosen(self, item: QListWidgetItem | None) -> None:
        if item is not None:
            self.address.setText(" ".join(map(str, self._choices[item.data(_CHOICE)])))
            self.wrong.hide()

    def _show_found(self, found: Found) -> None:
        for n, (name, places) in enumerate(found):
            where = ", ".join(map(str, places))
            words = tr(
                "{name}, on this machine: {where}", name=plain(name), where=where
            )
            self._add(words, where, places, n)
        self.said.setText(
            ""
            if found
            else tr(
                "No cluster shows itself on this machine. One does that is started"
                " with: dtf dev --web 8700"
            )
        )
        self.said.setVisible(not found)
        if found and self.list.currentRow() < 0 and not self.address.text():
            self.list.setCurrentRow(0)

    def _add(
        self, words: str, where: str, places: Sequence[Place], row: int = -1
    ) -> None:
        try:
            known = list(places) or [*map(parse_place, where.replace(",", " ").split())]
        except UsageError:
            return  # kept by another version
        item = QListWidgetItem(words)
        item.setData(_CHOICE, len(self._choices))
        self._choices.append(known)
        self.list.insertItem(self.list.count() if row < 0 else row, item)

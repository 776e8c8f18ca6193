"""A row of buttons that have something done, with what came of it below them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QHBoxLayout,
    QMessageBox,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from monitor_app.models.language import mark, tr
from monitor_app.models.marks import mark_of
from monitor_app.models.session import Session
from monitor_app.models.undo import Wish
from monitor_app.models.words import plain, short
from monitor_app.views.card import label
from monitor_app.views.theme import Theme

NAMES = {
    "cancel": mark("Cancel"),
    "rerun": mark("Try again"),
    "stop-run": mark("Stop the run"),
    "retire-worker": mark("Retire"),
    "quarantine": mark("Quarantine"),
    "release": mark("Release"),
    "reprioritize": mark("Reprioritise"),
    "transfer-leadership": mark("Have it lead"),
}


class ActionBar(QWidget):
    """The buttons; they work while the cluster is looked at as it is now.

    Attributes
    ----------
    buttons
        By the name of what each does.
    asking
        What somebody is asked before it is done, while he is.
    """

    def __init__(
        self, session: Session, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._session, self._theme = session, theme
        self.buttons: dict[str, QPushButton] = {}
        self._wishes: dict[str, Callable[[], Wish | None]] = {}
        self._undo: Wish | None = None
        self._under_way = 0
        self._word = ""
        self.asking: QMessageBox | None = None
        self.row = QHBoxLayout()
        self.outcome = label("", wrapped=True)
        self.outcome.setAccessibleName(tr("Outcome"))
        self.outcome.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
            | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.undo = QPushButton(tr("Undo"))
        self.undo.setAccessibleName(tr("Undo the last action"))
        self.undo.clicked.connect(self._undone)
        self._under = QWidget()
        below = QHBoxLayout(self._under)
        below.setContentsMargins(0, 0, 0, 0)
        below.addWidget(self.outcome, 1)
        below.addWidget(self.undo)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self.row)
        column.addWidget(self._under)
        self._under.hide()
        session.began.connect(self._under.hide)
        session.line_changed.connect(self.look)
        session.changed.connect(self._changed)
        theme.changed.connect(self._coloured)

    def add(
        self,
        action: str,
        wish: Callable[[], Wish | None],
        words: str = "",
        *,
        tip: str = "",
        more: Callable[[Wish], None] | None = None,
    ) -> None:
        """A button.

        Parameters
        ----------
        wish
            What is to be done now; None if there is nothing, and the button rests.
        more
            Asks what else is to be said, and has it done by `wish`.
        """
        words = words or tr(NAMES[action])
        button = QPushButton(words)
        button.setAccessibleName(words)
        button.setToolTip(tip)
        button.setEnabled(False)
        button.clicked.connect(lambda: self._clicked(action, more))
        self.buttons[action] = button
        self._wishes[action] = wish
        self.row.addWidget(button)

    def end(self, *widgets: QWidget) -> None:
        """What stands at the other end of the row."""
        self.row.addStretch(1)
        for one in widgets:
            self.row.addWidget(one)

    def look(self) -> None:
        """See which buttons work now."""
        works = self._session.past_at is None and self._session.watching
        for action, button in self.buttons.items():
            wanted = works and self._wishes[action]() is not None
            if button.isEnabled() != wanted:
                button.setEnabled(wanted)
        self.undo.setEnabled(works and not self._under_way)

    def wish(self, wish: Wish, *, undone: bool = False) -> None:
        """Have something done, and show what comes of it."""
        self._under_way += 1
        self._undo = None
        before = _leader(self._session.picture.coordinators)
        self._show("running", tr("{what}: asked …", what=_words(wish)))

        def answered(told: Any) -> None:
            self._under_way -= 1
            result = plain(told.get("result", "")) or tr("done")
            word = str(told.get("state", "done"))
            if not undone and word == "done":
                self._undo = wish.undone_by(before)
            if word == "begun":
                result = tr("it has begun, and takes longer")
            self._show(word, f"{_words(wish)}: {result}")

        def failed(why: str) -> None:
            self._under_way -= 1
            self._show("refused", f"{_words(wish)}: {plain(why)}")

        if self._session.act(wish.action, wish.said, answered, failed) is None:
            failed(tr("no cluster is looked at"))

    def _changed(self, kinds: frozenset[str]) -> None:
        self.look()

    def _clicked(self, action: str, more: Callable[[Wish], None] | None) -> None:
        wish = self._wishes[action]()
        if wish is None:
            return
        if more is not None:
            more(wish)
        elif wish.destroys:
            self._ask(wish)
        else:
            self.wish(wish)

    def _ask(self, wish: Wish) -> None:
        """Ask whether somebody means it."""
        box = QMessageBox(self)
        box.setIcon(QMessageBox.Icon.Warning)
        box.setWindowTitle(tr("dtf monitor"))
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setText(tr("{what}?", what=_words(wish)))
        box.setInformativeText(tr(_WARNINGS[wish.action]))
        yes = box.addButton(tr(NAMES[wish.action]), QMessageBox.ButtonRole.AcceptRole)
        no = box.addButton(tr("Leave it"), QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(no)
        box.setEscapeButton(no)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        yes.clicked.connect(lambda: self.wish(wish))
        box.finished.connect(lambda _: setattr(self, "asking", None))
        self.asking = box
        box.open()

    def _undone(self) -> None:
        wish, self._undo = self._undo, None
        if wish is not None:
            self.wish(wish, undone=True)

    def _show(self, word: str, text: str) -> None:
        self._word = word
        self.outcome.setText(f"{mark_of(word).glyph} {text}")
        self._under.show()
        self.undo.setVisible(self._undo is not None)
        self._coloured()
        self.look()

    def _coloured(self) -> None:
        if self._word:
            colour = self._theme.colour(mark_of(self._word).colour).name()
            self.outcome.setStyleSheet(f"color: {colour};")


_WARNINGS = {
    "cancel": mark(
        "Tasks that need it are cancelled, too, whoever wants them. That is not undone."
    ),
    "stop-run": mark("What has ended is kept; the rest is not run."),
    "retire-worker": mark(
        "It hands over what it holds, and ends. What it runs begins anew elsewhere."
    ),
    "transfer-leadership": mark(
        "Nobody leads for a moment, mostly less than a second. What runs goes on."
    ),
}


def _words(wish: Wish) -> str:
    """What is done, of what."""
    subject = wish.said.get("worker") or wish.said.get("run") or wish.said.get("node")
    if subject is None:
        keys = wish.said.get("keys", ())
        subject = keys[0] if keys else ""
    return f"{tr(NAMES[wish.action])} – {short(subject, 80)}"


def _leader(told: Mapping[str, Any]) -> str:
    """The name of who leads."""
    items = told.get("items")
    for one in items if isinstance(items, list) else ():
        if isinstance(one, Mapping) and one.get("node") == told.get("leader"):
            return str(one.get("name", ""))
    return ""

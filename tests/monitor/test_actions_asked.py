"""Workers, queue, coordinators, alerts: what is shown, and asked from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from made_cluster import AT, MadeSource, busy, coordinators, record
from PySide6.QtCore import Qt
from PySide6.QtTest import QAbstractItemModelTester, QTest
from PySide6.QtWidgets import QApplication, QInputDialog, QWidget

from monitor_app.models.session import Session
from monitor_app.views.alerts import Alerts
from monitor_app.views.coordinators import Coordinators
from monitor_app.views.queue import Queue, Reprioritise
from monitor_app.views.table_view import TableView
from monitor_app.views.theme import Theme
from monitor_app.views.view import View
from monitor_app.views.workers import Workers

HOSTILE = "<b>\x1b[31m\u202e" + "ü" * 300
FATAL = QAbstractItemModelTester.FailureReportingMode.Fatal


def waiting() -> dict[str, Any]:
    """Kinds of work, one with a hostile name."""
    return dict(
        record(
            *("kind", f"k{n}"),
            **{"class": name},
            tenant=name,
            needs="gpu.count >= 1" * n,
            waiting=10 * (n + 1),
            since=AT - 60,
            workers=n,
            waits_for="room" if n else name,
            why="needs a GPU with 80 GB; 3 workers have 24 GB" * n,
            help="start workers with gpu.memory >= 80 GB" * n,
            next=f"('{name}', {n})",
            due=AT + n,
            eta=AT + 90 if n else None,
        )
        for n, name in enumerate((HOSTILE, "nightly", "normal"))
    )


def failovers() -> dict[str, Any]:
    """Two: one that went unnoticed, and one after a death."""
    return dict(
        record(
            *("failover", str(term)),
            node="b",
            at=AT - 400 * (8 - term),
            term=term,
            without_leader_s=without_s,
            leading_after_s=without_s + 0.1,
            settled_after_s=1.4,
            tasks=900,
            workers=12,
            missing=1,
        )
        for term, without_s in ((6, 0.8), (7, 0.0))
    )


def timeline(query: Mapping[str, str]) -> Any:
    """Attempts within the time that is asked for."""
    start = float(query["start"])
    return {
        "items": [
            {
                "run": "r",
                "case_id": f"test_it[{n}]",
                "number": 1,
                "worker": f"lab-{n % 4:02}-{'ab'[n % 2]}",
                "outcome": ("passed", "failed", "lost")[n % 3],
                "detail": "",
                "started_at": start + 20 * n,
                "duration_s": 15.0,
            }
            for n in range(20)
        ]
        + [{"worker": 3}]
    }


Shown = Callable[[type[View]], Any]


@pytest.fixture
def shown(
    session: Session, source: MadeSource, theme: Theme, qapp: QApplication
) -> Iterator[Shown]:
    """Makes a view, with a busy cluster in it."""
    source.replies["/timeline"] = timeline
    source.begin(busy() | waiting() | failovers())
    source.stand(coordinators())
    session.drain()
    made: list[QWidget] = []

    def make(kind: type[View]) -> View:
        view = kind(session, theme)
        view.resize(1100, 800)
        view.show()
        made.append(view)
        session.drain()
        qapp.processEvents()
        return view

    yield make
    for view in made:
        view.close()
        view.deleteLater()


def cells(table: TableView, column: int) -> list[str]:
    model = table.model()
    return [model.index(n, column).data() for n in range(model.rowCount())]


def pick(table: TableView, part: str, column: int = 0) -> None:
    (place,) = [n for n, text in enumerate(cells(table, column)) if part in text]
    table.choose(place)


def say_yes(view: Any) -> None:
    """To what one is asked before it is done."""
    box = view.actions_bar.asking
    (yes,) = [one for one in box.buttons() if one is not box.escapeButton()]
    yes.click()


class Asked:
    """What came of each action, as a test says; and what was asked."""

    def __init__(self, source: MadeSource, **told: Any) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []
        for name in ("quarantine", "release", "retire-worker", "cancel"):
            source.replies[f"/actions/{name}"] = self._reply(name, told)
        for name in ("reprioritize", "transfer-leadership"):
            source.replies[f"/actions/{name}"] = self._reply(name, told)

    def _reply(self, name: str, told: Any) -> Callable[[Mapping[str, Any]], Any]:
        def reply(said: Mapping[str, Any]) -> Any:
            self.said.append((name, dict(said)))
            return {"state": "done", "result": f"{name} it is", **told}

        return reply


@pytest.mark.parametrize("kind", [Workers, Queue, Coordinators, Alerts])
def test_all_of_it_is_there_for_who_does_not_see(
    kind: type[View], shown: Shown, qapp: QApplication
) -> None:
    """What can have the focus has a name, and the tab key goes to all of it and on."""
    view = shown(kind)
    # As they look to the tab key: a button rests, or a table has the whole.
    focusable = {
        one
        for one in view.findChildren(QWidget)
        if one.focusPolicy() & Qt.FocusPolicy.TabFocus
        and one.isEnabled()
        and one.isVisible()
    }
    assert focusable
    unnamed = [
        one
        for one in focusable
        if not one.accessibleName() and not getattr(one, "text", str)()
    ]
    assert [type(one).__name__ for one in unnamed] == []
    view.activateWindow()
    first = min(focusable, key=lambda one: one.mapTo(view, one.pos()).y())
    first.setFocus()
    met = set()
    for _ in range(3 * len(focusable)):
        met.add(view.focusWidget())
        QTest.keyClick(view.focusWidget(), Qt.Key.Key_Tab)
        qapp.processEvents()
    assert focusable <= met


@pytest.mark.parametrize("kind", [Workers, Queue, Coordinators, Alerts])
def test_nothing_yet_and_all_at_once_gone(
    kind: type[View], session: Session, source: MadeSource, theme: Theme
) -> None:
    """Before anything is heard, and when it vanishes, there are words, and no error."""
    view = kind(session, theme)
    for table in view.findChildren(TableView):
        QAbstractItemModelTester(table.model(), FATAL, view)
    view.show()
    session.drain()
    source.begin(busy() | waiting() | failovers())
    source.stand(coordinators())
    session.drain()
    assert any(one.model().rowCount() for one in view.findChildren(TableView))
    changed = {key: one for key, one in busy(2).items() if not key.endswith("-a")}
    source.change(changed, *(key for key in busy() if key.endswith("-a")))
    session.drain()
    source.begin({})
    source.stand({"leader": None, "items": "what?"})
    session.drain()
    assert all(one.model().rowCount() == 0 for one in view.findChildren(TableView))
    view.deleteLater()


def test_workers_show_what_is_wrong_first(
    shown: Shown, session: Session, source: MadeSource
) -> None:
    """Lost and shut ones, and why; what is looked for; what ran where."""
    view = shown(Workers)
    assert [text[2:] for text in cells(view.table, 1)][:3] == [
        "lost",
        "shut",
        "running",
    ]
    shut = view.workers.index(1, 1)
    assert "5 of the last 6" in shut.data(Qt.ItemDataRole.ToolTipRole)
    source.change(
        dict([record("worker", HOSTILE, name=HOSTILE, host=HOSTILE, status="running")])
    )
    session.drain()
    assert not any("\x1b" in text for text in cells(view.table, 0))
    view.part.setText("LAB-03")
    view._find()
    assert cells(view.table, 0) == ["lab-03-b"]
    view.part.clear()
    view._find()
    outcomes = {one.word for one in view.timeline.bars}
    assert outcomes == {"passed", "failed", "lost", "running"}


def test_a_worker_is_quarantined_and_that_undone(
    shown: Shown, source: MadeSource, session: Session, qapp: QApplication
) -> None:
    """With a reason; what came of it stands there, and a second click takes it back."""
    view, asked = shown(Workers), Asked(source)
    pick(view.table, "lab-05")
    bar = view.actions_bar
    bar.buttons["quarantine"].click()
    dialog = view.findChild(QInputDialog)
    dialog.setTextValue("it is odd")
    dialog.accept()
    session.drain()
    name, said = asked.said.pop()
    assert (name, said["worker"], said["reason"]) == (
        *("quarantine", "lab-05-b", "it is odd"),
    )
    assert said["id"].startswith("monitor-")
    assert "quarantine it is" in bar.outcome.text()
    assert bar.undo.isVisible()
    bar.undo.click()
    session.drain()
    name, said = asked.said.pop()
    assert (name, said["worker"]) == ("release", "lab-05-b")
    assert not bar.undo.isVisible()
    pick(view.table, "lab-09")  # it is gone
    assert not any(one.isEnabled() for one in bar.buttons.values())


def test_what_destroys_is_asked_again(
    shown: Shown, source: MadeSource, session: Session
) -> None:
    """Leave it is the answer that Enter gives; then nothing was asked of anybody."""
    view, asked = shown(Workers), Asked(source)
    pick(view.table, "lab-04")
    bar = view.actions_bar
    bar.buttons["retire-worker"].click()
    box = bar.asking
    assert "lab-04-a" in box.text()
    assert box.defaultButton() == box.escapeButton()
    box.defaultButton().click()
    assert (bar.asking, asked.said) == (None, [])
    bar.buttons["retire-worker"].click()
    say_yes(view)
    session.drain()
    assert [(name, said["worker"]) for name, said in asked.said] == [
        ("retire-worker", "lab-04-a")
    ]
    assert not bar.undo.isVisible()


def test_what_is_refused_is_said(
    shown: Shown, source: MadeSource, session: Session
) -> None:
    """With why; the same of what nobody answers. In the past nothing can be asked."""
    view = shown(Workers)
    bar = view.actions_bar
    pick(view.table, "lab-04")
    assert not bar.buttons["release"].isEnabled(), "it has work"
    pick(view.table, "lab-03")
    bar.buttons["release"].click()
    session.drain()
    assert "there is no /actions/release here" in bar.outcome.text()
    session.look_back(AT - 60, session.live)
    assert not any(one.isEnabled() for one in bar.buttons.values())
    session.look_now()
    assert bar.buttons["release"].isEnabled()


def test_the_queue_says_why_and_when(
    shown: Shown, source: MadeSource, session: Session
) -> None:
    """The most urgent first; reasons together; the next is cancelled, or hurried."""
    view, asked = shown(Queue), Asked(source)
    assert view.row["next"] == f"('{HOSTILE}', 0)"
    assert "1,402 tasks wait" in view.summary.text()
    assert len(view.reasons._rows) == 3
    assert any("80 GB" in text for text in cells(view.reasons_table, 0))
    assert "about" in view.waiting.index(1, 6).data()
    source.change(dict([record("kind", "k0", next="")]))
    session.drain()
    pick(view.table, "nightly")
    view.actions_bar.buttons["cancel"].click()
    say_yes(view)
    session.drain()
    assert asked.said.pop()[1]["keys"] == ["('nightly', 1)"]
    view.actions_bar.buttons["reprioritize"].click()
    dialog = view.findChild(Reprioritise)
    dialog._accept()
    assert dialog.wrong.isVisible()
    dialog.priority.setText("much")
    dialog._accept()
    assert "number" in dialog.wrong.text()
    dialog.priority.setText("2,5")
    dialog.deadline.setText("10 min")
    dialog.priority_class.setCurrentIndex(1)
    dialog._accept()
    session.drain()
    name, said = asked.said.pop()
    assert (name, said["priority"], said["deadline"]) == ("reprioritize", 2.5, "10 min")
    assert said["priority_class"] == "interactive"


def test_another_coordinator_leads_and_back(
    shown: Shown, source: MadeSource, session: Session
) -> None:
    """One that votes and does not lead; undone, the former one leads again."""
    view, asked = shown(Coordinators), Asked(source)
    assert "a leads in term 7; one may fail." in view.summary.text()
    bar = view.actions_bar
    pick(view.table, "a (")
    assert not bar.buttons["transfer-leadership"].isEnabled()
    pick(view.table, "c")
    bar.buttons["transfer-leadership"].click()
    say_yes(view)
    session.drain()
    bar.undo.click()
    session.drain()
    assert [said["node"] for _, said in asked.said] == ["c", "a"]
    # The failover in which nobody led is laid over the tests that ran.
    assert "Term 6" in view.title.text()
    assert view.timeline.bars
    source.stand({"leader": None, "items": [], "term": 0})
    session.drain()
    assert "alone" in view.summary.text()


def test_alerts_lead_to_what_they_are_about(shown: Shown) -> None:
    """The worst first; Enter opens the view that shows more."""
    view = shown(Alerts)
    assert cells(view.table, 0)[0].endswith("warning")
    found: list[tuple[str, Any]] = []
    view.opened.connect(lambda name, where: found.append((name, where)))
    pick(view.table, "worker-lost", 1)
    QTest.keyClick(view.table, Qt.Key.Key_Return)
    assert found == [("workers", {"worker": "lab-09-b"})]

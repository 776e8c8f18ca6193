"""What ran where, as bars that keys go along; alerts that the desktop tells."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from dtf_dask.view.alerts import Alert
from monitor_app.models.bars import Bar
from monitor_app.views.theme import Theme
from monitor_app.views.timeline import Timeline
from monitor_app.views.tray import Tray

HOSTILE = "<b>\x1b[31m\u202e" + "ü" * 300
KEY = Qt.Key


class HeardTray(Tray):
    """One whose desktop shows notifications."""

    heard: list[tuple[str, str, bool]]

    @property
    def there(self) -> bool:
        """See `Tray`."""
        return True

    def show_words(self, title: str, text: str, critical: bool) -> None:
        """See `Tray`."""
        self.heard.append((title, text, critical))


def test_each_alert_is_told_once(qapp: QApplication) -> None:
    """Not what was there at first; again when it was over and comes back."""
    parent = QWidget()
    tray = HeardTray(parent)
    tray.heard = []
    old = Alert("warning", "queue", "", "the queue is nearly full")
    new = [Alert("critical", "disk", f"w{n}", "full " + HOSTILE) for n in range(5)]
    tray.tell([old])
    assert tray.heard == []
    tray.tell([old, *new])
    tray.tell([old, *new])
    ((title, text, critical),) = tray.heard
    assert (title, critical) == ("dtf: alerts", True)
    assert len(text.splitlines()) == 4
    assert "\x1b" not in text
    tray.tell([])
    tray.tell([old])
    assert tray.heard[1:] == [("dtf: queue", "the queue is nearly full", False)]


def test_bars_are_walked_by_keys(theme: Theme, qapp: QApplication) -> None:
    """Right and left from bar to bar, down and up to the nearest in the next row that
    has one; each is spoken, and Enter opens it."""
    line = Timeline("What ran", theme)
    bars = [Bar("w1", n, n + 0.5, "passed", f"t{n}") for n in range(0, 100, 10)]
    bars.append(Bar("w10", 41.0, 50.0, "failed", HOSTILE))
    line.draw(["w1", "w2", "w10"], [*bars, Bar("who?", 1.0, 2.0, "x", "x")], 0.0, 100.0)
    line.resize(600, line.height())
    line.show()
    found: list[Bar] = []
    line.opened.connect(found.append)
    for key in (KEY.Key_Right, KEY.Key_Right, KEY.Key_Left, KEY.Key_Return):
        QTest.keyClick(line, key)
    assert [one.text for one in found] == ["t0"]
    QTest.keyClick(line, KEY.Key_Down)
    assert line.current.row == "w10"
    assert "\x1b" not in line.accessibleDescription()
    QTest.keyClick(line, KEY.Key_Up)
    assert line.current.text == "t40"
    current = line.current
    line.draw(["w1"], [Bar("w1", 40.0, 70.0, "passed", "t40")], 0.0, 100.0)
    assert line.current is not current
    assert line.current.end == 70.0
    line.draw([], [], 0.0, 0.0)
    line.grab()
    assert line.current is None
    line.deleteLater()

"""How the connection stands: the line at the bottom, and the alarm at the top."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QStatusBar

from monitor_app.models.language import mark, tr
from monitor_app.models.session import Session
from monitor_app.models.words import age, clock, plain
from monitor_app.views.card import label
from monitor_app.views.theme import Theme

OLD_S, STALE_S = 15.0, 60.0
"""What is shown is marked as old: who leads tells it each 5 s, or half minute."""


class Status:
    """Whom the window reads, who leads, how old what it shows is, and what is wrong.

    Attributes
    ----------
    cluster
        What it is called; empty before it says so.
    """

    def __init__(self, session: Session, theme: Theme, bar: QStatusBar) -> None:
        self._session, self._theme = session, theme
        self._why = ""
        self.cluster = ""
        self.line, self.leader, self.age = QLabel(), QLabel(), QLabel()
        for one in (self.line, self.leader, self.age):
            one.setTextFormat(Qt.TextFormat.PlainText)
            one.setContentsMargins(10, 2, 10, 2)
        self.line.setMinimumWidth(120)
        bar.setSizeGripEnabled(False)
        bar.addWidget(self.line, 1)
        bar.addPermanentWidget(self.leader)
        bar.addPermanentWidget(self.age)
        session.began.connect(self._forget)
        self.alarm = label("", "alarm", wrapped=True)
        self.alarm.hide()

    def show(self) -> None:
        """Say how it stands now."""
        line = self._session.line
        where, why = plain(line.place), plain(line.why)
        words = {
            "none": tr("○ No cluster is looked at. Choose one: Ctrl+O."),
            "searching": tr("○ Looking for a cluster …"),
            "connecting": tr("◐ Connecting to {where} …", where=where),
            "live": tr("● Live from {where}", where=where),
            "waiting": tr("◐ {where}: {why}", where=where, why=why),
            "refused": tr("○ {where}: {why}", where=where, why=why),
        }[line.state]
        _set(self.line, words)
        self.line.setToolTip(words)
        leader = self._show_leader()
        self._show_age(self._session.age_s)
        self._why = why.rstrip(".") or self._why
        self._show_alarm(where, leader)

    def _forget(self) -> None:
        self._why = ""

    def _show_leader(self) -> str:
        told = self._session.picture.coordinators
        self.cluster = plain(told.get("cluster", ""))
        leader = next(
            (
                plain(one.get("name", ""))
                for one in told.get("items", ())
                if one.get("node") == told.get("leader")
            ),
            "",
        )
        if told.get("items"):
            leads = tr("{name} leads", name=leader) if leader else tr("nobody leads")
            _set(self.leader, f"{self.cluster} · {leads}")
        else:
            _set(self.leader, self.cluster)
        return leader

    def _show_age(self, age_s: float | None) -> None:
        if age_s is None:
            _set(self.age, "")
            return
        glyph = "●" if age_s < OLD_S else ("◐" if age_s < STALE_S else "○")
        _set(self.age, tr("{glyph} {age} old", glyph=glyph, age=age(age_s)))
        name = (
            "passed" if age_s < OLD_S else ("timeout" if age_s < STALE_S else "failed")
        )
        sheet = f"color: {self._theme.colour(name).name()};"
        if self.age.styleSheet() != sheet:
            self.age.setStyleSheet(sheet)

    def _show_alarm(self, where: str, leader: str) -> None:
        line, age_s = self._session.line, self._session.age_s
        live, refused = line.state == "live", line.state == "refused"
        old = age_s is not None and age_s >= (STALE_S if live else OLD_S)
        never = age_s is None and bool(self._why)
        self.alarm.setVisible(refused or old or never)
        if refused or never:
            words = mark("{where}: {why}. Another address: Ctrl+O.")
            _set(self.alarm, tr(words, where=where, why=self._why))
        elif old and age_s is not None:
            why = self._why
            if live:
                why = tr("who leads tells nothing") if leader else tr("nobody leads")
            words = mark("Nothing new for {age}: {why}. What you see is of {time}.")
            time = clock(self._session.live.at)
            _set(self.alarm, tr(words, age=age(age_s), why=why, time=time))


def _set(which: QLabel, text: str) -> None:
    if which.text() != text:
        which.setText(text)

"""Keeps the cases of a run as they are: all of them at first, then what ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QObject, Signal

from monitor_app.feed import asked
from monitor_app.feed.questions import Ticket
from monitor_app.models.cases import CasesModel
from monitor_app.models.session import Session

ATTEMPTS_MAX = 5_000
"""As many as are told at once of what ended; of more all is read anew."""
_BACK_S = 10
"""Attempts come to a coordinator so much later, and clocks differ."""
_RUNNING_TICKS = 2
"""And so often which cases run is asked."""
_AGAIN_TICKS = 30
"""Every so many seconds what does not agree is read anew."""


class RunCases(QObject):
    """Reads a run's cases into a model.

    Attributes
    ----------
    trouble
        Why they could not be read, in words; empty if they could.
    expected
        How many there are to be read.
    """

    progressed = Signal()

    def __init__(
        self, session: Session, cases: CasesModel, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._session, self._cases = session, cases
        self._run = ""
        self._reading: Ticket | None = None
        self._asking: Ticket | None = None
        self._heard_decided = -1
        self._latest = 0.0
        self._quiet = 0
        self._ticks = 0
        self._running: Ticket | None = None
        self.trouble = ""
        self.expected = 0

    @property
    def reading(self) -> bool:
        """Whether they are being read."""
        return self._reading is not None

    def show_run(self, run: str) -> None:
        """Show those of this run."""
        if run == self._run:
            return
        self._run = run
        self._cases.clear()
        self._heard_decided = -1
        self._latest = 0.0
        self.expected = 0
        self.read_again()

    def read_again(self) -> None:
        """Read all of them: those that are known stay where they are."""
        for ticket in (self._reading, self._asking, self._running):
            if ticket is not None:
                ticket.drop()
        self._asking = self._running = None
        if not self._run:
            return
        self.trouble = ""
        self._reading = self._session.ask(
            asked.pages(asked.of_run(self._run, "/cases")),
            self._read,
            self._failed,
            self._ended,
        )
        self.progressed.emit()

    def stands(self, row: Mapping[str, Any]) -> None:
        """How the run stands: if more has ended than is known, ask what."""
        if row["run"] != self._run:
            return
        self._ask_what_runs(row["status"] == "running")
        if self._reading or self._asking:
            return
        decided = sum(row["counts"].values())
        if decided == self._heard_decided:
            self._quiet += 1
            known = self._cases.ended
            if known < decided and self._quiet % _AGAIN_TICKS == 0:
                self.read_again()
            return
        self._quiet = 0
        self._heard_decided = decided
        if not self._latest:
            self.read_again()
            return
        call = asked.one(
            "/timeline",
            run=self._run,
            start=int(self._latest) - _BACK_S,
            limit=ATTEMPTS_MAX,
        )
        self._asking = self._session.ask(call, self._tried, self._failed, self._told)

    def _ask_what_runs(self, goes_on: bool) -> None:
        self._ticks += 1
        if not goes_on or self._session.past_at is not None:
            self._cases.run({})
        elif self._running is None and self._ticks % _RUNNING_TICKS == 0:
            call = asked.one(asked.of_run(self._run, "/tail"))
            self._running = self._session.ask(
                call, self._what_runs, lambda why: self._asked(), self._asked
            )

    def _asked(self) -> None:
        self._running = None

    def _what_runs(self, told: Mapping[str, Any]) -> None:
        """Of another version nobody says of which case an item is."""
        items = [one for one in told["items"] if one.get("case_id")]
        self._cases.run({str(one["case_id"]): float(one["for_s"]) for one in items})
        self.progressed.emit()

    def _read(self, told: Mapping[str, Any]) -> None:
        self.expected = int(told["total"])
        self._cases.read(told["items"])
        if told["offset"] == 0:
            self._latest = self._session.now
        self.progressed.emit()

    def _ended(self) -> None:
        self._reading = None
        self.progressed.emit()

    def _tried(self, told: Mapping[str, Any]) -> None:
        if told["more"]:
            self.read_again()
            return
        items = told["items"]
        self._cases.tried(items)
        for one in items:
            self._latest = max(self._latest, one["started_at"] + one["duration_s"])

    def _told(self) -> None:
        self._asking = None
        self.progressed.emit()

    def _failed(self, why: str) -> None:
        self._reading = self._asking = None
        self.trouble = why
        self.progressed.emit()

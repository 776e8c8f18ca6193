"""What the window and its views share: what is to be seen, and how to ask for more."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from PySide6.QtCore import QObject, QTimer, Signal

from dtf_dask.errors import ProtocolError
from dtf_dask.ha.elapsed import elapsed_s
from dtf_dask.view.alerts import Alert
from monitor_app.feed import asked
from monitor_app.feed.inbox import Answer, Batch, Line
from monitor_app.feed.questions import Call, Ticket
from monitor_app.feed.reasons import reason
from monitor_app.models.language import tr, tr_reason
from monitor_app.models.picture import Picture

_LOG = logging.getLogger(__name__)

DRAIN_MS = 100
TICK_MS = 1_000

_ODD = (AttributeError, LookupError, TypeError, ValueError, ProtocolError)

Answered = Callable[[Any], None]
Failed = Callable[[str], None]


class Source(Protocol):
    """Whence a session has it: `monitor_app.feed.feed.Feed` is one."""

    def start(self) -> None:
        """Begin."""

    def take(self) -> Batch:
        """What was heard since this was called last."""

    def ask(self, call: Call) -> Ticket:
        """Ask something."""

    def close(self) -> None:
        """End."""


class Session(QObject):
    """A cluster that is looked at; nothing, until `watch`.

    Attributes
    ----------
    picture
        What is to be seen now. It is another object after `watch`, and in the past.
    """

    began = Signal()
    """Another cluster is looked at, perhaps: what was seen before is not of it."""
    changed = Signal(object)
    """The kinds of records that changed, a frozenset of their names."""
    stood = Signal()
    """How the coordinators stand changed."""
    line_changed = Signal()
    """The connection changed."""
    ticked = Signal()
    """A second went by: ages are to be written anew."""
    noted = Signal(str)
    """Words that somebody should read once."""
    taken = Signal(object)
    """A batch, as it was heard: for who keeps what was."""

    def __init__(
        self,
        parent: QObject | None = None,
        *,
        clock: Callable[[], float] = elapsed_s,
    ) -> None:
        super().__init__(parent)
        self._clock = clock
        self.live = Picture()
        self.picture = self.live
        self.line = Line("none")
        self.heard_at: float | None = None
        """Since when nothing new is known, by the clock of ages."""
        self._looked_at: float | None = None
        self._whole = False
        self._source: Source | None = None
        self._waiting: dict[
            int, tuple[Ticket, Answered, Failed, Callable[[], None]]
        ] = {}
        self._past_at: float | None = None
        self._drainer = QTimer(self, interval=DRAIN_MS)
        self._drainer.timeout.connect(self.drain)
        self._ticker = QTimer(self, interval=TICK_MS)
        self._ticker.timeout.connect(self.ticked)

    # Whom it looks at.

    def watch(self, source: Source) -> None:
        """Look at that from now on."""
        waiting = list(self._waiting.values())
        self.close()
        for ticket, _, failed, _ in waiting:
            if not ticket.dropped:
                failed(tr("another cluster is looked at"))
        self._source = source
        self.live = self.picture = Picture()
        self._past_at = None
        self.line, self.heard_at = Line("connecting"), None
        self._looked_at, self._whole = None, False
        self.began.emit()
        source.start()
        self._drainer.start()
        self._ticker.start()
        self.line_changed.emit()
        self.changed.emit(frozenset(_ALL))

    def look_for_one(self, looks: bool) -> None:
        """Somebody looks for a cluster, or has found none."""
        if not self.watching:
            self.line = Line("searching" if looks else "none")
            self.line_changed.emit()

    def close(self) -> None:
        """Look at nothing."""
        self._drainer.stop()
        self._ticker.stop()
        source, self._source = self._source, None
        self._waiting.clear()
        if source is not None:
            source.close()

    @property
    def watching(self) -> bool:
        """Whether it looks at something."""
        return self._source is not None

    def drain(self) -> None:
        """Take in what was heard; the timer calls this."""
        if self._source is None:
            return
        batch = self._source.take()
        kinds: frozenset[str] = frozenset()
        if batch.heard_at is not None:
            if batch.whole is not None:
                kinds |= self.live.replace(batch.whole)
            kinds |= self.live.change(batch.put, batch.gone)
            self.live.at = batch.at
        self._see_how_old(batch)
        if batch.coordinators is not None:
            self.live.coordinators = batch.coordinators
        if batch.has_records or batch.coordinators is not None:
            self.taken.emit(batch)
        if batch.line is not None:
            self.line = replace(batch.line, why=tr_reason(batch.line.why))
            self.line_changed.emit()
        if self._past_at is None:
            if kinds:
                self.changed.emit(kinds)
            if batch.coordinators is not None:
                self.stood.emit()
        for words in batch.notes:
            self.noted.emit(tr_reason(words))
        for answer in batch.answers:
            self._answered(answer)

    # What time it is.

    def _see_how_old(self, batch: Batch) -> None:
        """That somebody is there makes nothing new: who leads has to have looked."""
        cluster = self.live.cluster
        if cluster is None:
            self.heard_at = batch.awake_at or self.heard_at
        elif batch.heard_at is not None and cluster["at"] != self._looked_at:
            self._looked_at, self.heard_at = cluster["at"], batch.heard_at
        self._whole |= batch.whole is not None
        if self._whole and batch.coordinators is not None:
            # What was told at first may be old; both times are of the same clock.
            self._whole = False
            behind = _number(batch.coordinators.get("at")) - self.live.at
            if self.heard_at is not None and behind > 0:
                self.heard_at = min(self.heard_at, self._clock() - behind)

    @property
    def age_s(self) -> float | None:
        """How old what is known is; None if nothing is."""
        return (
            None if self.heard_at is None else max(0.0, self._clock() - self.heard_at)
        )

    @property
    def now(self) -> float:
        """The time by the clock of who leads, or the past one that is looked at."""
        if self._past_at is not None:
            return self._past_at
        cluster = self.live.cluster
        if cluster is None:
            return time.time()
        return cluster["at"] + (self.age_s or 0.0)

    @property
    def past_at(self) -> float | None:
        """Which past time is looked at; None for now."""
        return self._past_at

    def look_back(self, at: float, picture: Picture) -> None:
        """Look at a past time."""
        self._past_at, self.picture = at, picture
        self._all_changed()

    def look_now(self) -> None:
        """Look at what is now."""
        self._past_at, self.picture = None, self.live
        self._all_changed()

    def _all_changed(self) -> None:
        self.changed.emit(frozenset(_ALL))
        self.stood.emit()
        self.ticked.emit()

    def alerts(self) -> list[Alert]:
        """What is wrong at the time that is looked at, the worst first."""
        return self.picture.alerts(self.now)

    # What is asked.

    def ask(
        self,
        call: Call,
        answered: Answered,
        failed: Failed | None = None,
        ended: Callable[[], None] | None = None,
    ) -> Ticket | None:
        """Ask a coordinator; see `monitor_app.feed.asked`.

        ``answered`` is called with each part of the answer, and ``ended`` after the
        last of them, or ``failed`` with why there is none. None if nobody is there.
        """
        if self._source is None:
            return None
        ticket = self._source.ask(call)
        nothing = lambda *_: None  # noqa: E731
        self._waiting[ticket.number] = (
            *(ticket, answered, failed or nothing, ended or nothing),
        )
        return ticket

    def act(
        self,
        action: str,
        said: Mapping[str, Any],
        answered: Answered,
        failed: Failed | None = None,
    ) -> Ticket | None:
        """Have something done: see `dtf_dask.view.actions`."""
        return self.ask(asked.action(action, said), answered, failed)

    def _answered(self, answer: Answer) -> None:
        waits = self._waiting.get(answer.number)
        if waits is None:
            return
        ticket, answered, failed, ended = waits
        if answer.last:
            del self._waiting[answer.number]
        if ticket.dropped:
            return
        try:
            if answer.why:
                failed(tr_reason(answer.why))
            elif answer.last:
                ended()
            else:
                answered(answer.value)
        except _ODD as error:
            # Of another version, perhaps: whoever asked says so, and goes on.
            ticket.drop()
            self._waiting.pop(answer.number, None)
            _LOG.debug("an answer could not be shown", exc_info=True)
            why = reason("what is answered is not understood")
            failed(tr_reason(f"{why}: {error!r:.200}"))


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


_ALL = (
    *("cluster", "class", "kind", "worker", "load", "run", "breaker", "action"),
    *("coordinator", "failover", "more"),
)

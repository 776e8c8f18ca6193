"""Has all that a session hears kept, and lets it look back."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal

from monitor_app.feed.inbox import Batch
from monitor_app.models.past import Past
from monitor_app.models.session import Session

PLAY_MS = 250


class Recording(QObject):
    """The past of a session, and where in it one looks.

    Attributes
    ----------
    speed
        How many seconds go by in one, when it plays.
    """

    moved = Signal()
    """One looks at another time, or more is kept."""

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.past = Past()
        self.speed = 10
        self._player = QTimer(self, interval=PLAY_MS)
        self._player.timeout.connect(self._play_on)
        session.taken.connect(self._taken)

    def begin(self) -> None:
        """Another cluster is looked at: what was kept is not of it."""
        self._player.stop()
        self.past.close()
        self.past = Past()

    @property
    def at(self) -> float | None:
        """The time that is looked at; None for now."""
        return self._session.past_at

    @property
    def playing(self) -> bool:
        """Whether time goes on by itself."""
        return self._player.isActive()

    def look(self, at: float) -> None:
        """Look at that time, or the oldest that is kept."""
        start = self.past.start
        if start is None:
            return
        picture = self.past.picture(max(at, start))
        if picture is not None:
            self._session.look_back(max(at, start), picture)
            self.moved.emit()

    def step(self, by: int) -> None:
        """Look at the change before, or after."""
        at = self.at if self.at is not None else self.past.end
        found = None if at is None else self.past.step(at, by)
        if found is not None:
            self.look(found)

    def play(self, on: bool) -> None:
        """Let time go on from there, or stay."""
        if not on or self.at is None:
            self._player.stop()
        else:
            self._player.start()
        self.moved.emit()

    def now(self) -> None:
        """Look at what is now."""
        self._player.stop()
        self._session.look_now()
        self.moved.emit()

    def close(self) -> None:
        """Keep no more."""
        self._player.stop()
        self.past.close()

    def _play_on(self) -> None:
        at, end = self.at, self.past.end
        if at is None or end is None or at >= end:
            self._player.stop()
            self.moved.emit()
            return
        self.look(at + self.speed * PLAY_MS / 1000)

    def _taken(self, batch: Batch) -> None:
        live = self._session.live
        cluster = live.cluster
        if cluster is None:
            return
        self.past.tell(
            *(float(cluster["at"]), live, batch.put, frozenset(batch.gone)),
            whole=batch.whole is not None,
        )
        self.moved.emit()

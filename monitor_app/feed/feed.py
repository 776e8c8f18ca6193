"""The feed of a window: who is followed, what is asked, and what was heard."""

from __future__ import annotations

from collections.abc import Sequence

from monitor_app.feed.follower import SILENT_S, Follower
from monitor_app.feed.inbox import Batch, Inbox
from monitor_app.feed.place import Place
from monitor_app.feed.questions import Call, Questions, Ticket
from monitor_app.feed.tokens import Tokens


class Feed:
    """Threads that read a cluster, from `start` until `close`."""

    def __init__(
        self,
        places: Sequence[Place],
        tokens: Tokens | None = None,
        *,
        silent_s: float = SILENT_S,
    ) -> None:
        self.places = tuple(places)
        self._inbox = Inbox()
        self._follower = Follower(
            places, self._inbox, tokens or Tokens(), silent_s=silent_s
        )
        self._questions = Questions(self._follower, self._inbox)

    def start(self) -> None:
        """Begin."""
        self._follower.start()
        self._questions.start()

    def take(self) -> Batch:
        """What was heard since this was called last."""
        return self._inbox.take()

    def ask(self, call: Call) -> Ticket:
        """Ask something; its answer comes in a batch."""
        return self._questions.ask(call)

    def close(self) -> None:
        """End, without waiting for what is under way."""
        self._questions.close()
        self._follower.close(0.0)

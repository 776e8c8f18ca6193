"""What clients hear of wishes that are void, by whatever was done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from distributed import Scheduler


class Telling:
    """Tells the clients of one scheduler.

    Attributes
    ----------
    before
        Called before anything is told: by then clients have heard which of their
        operations were acted on, so that they know of which task of a key it is said.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.before: Callable[[], None] = lambda: None

    def cancelled(
        self, client: str, keys: Iterable[Any], reason: str, by: str = ""
    ) -> None:
        """What a client wants is cancelled, or lost; who did so, if it was another."""
        self.before()
        who = f"Client {by} did so." if by not in ("", client) else ""
        said = {"keys": list(keys), "reason": reason, "msg": who}
        self._scheduler.report({"op": "cancelled-keys", **said}, client=client)

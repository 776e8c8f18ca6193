"""What a worker could not say while it had no scheduler, in order. Pure.

An inventory says what is; so most of what would have been said is left out. Two things
are kept: events, which nothing else tells; and that a task ended, which must not be
known before the events that came before it. So an inventory has a task as running whose
end is still to be said.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dtf_dask.durable.inventory import Inventory, Running
from dtf_dask.submission.table import Key

EVENTS_MAX = 100_000
"""More than that are not kept: the oldest go first."""

EVENT = "log-event"
ENDS = {"task-finished": "memory", "task-erred": "error"}
"""Messages that a task ended, and what the worker's state of it is then."""
TOLD_BY_INVENTORY = frozenset(
    {
        *("keep-alive", "worker-status-change", "request-refresh-who-has"),
        *("steal-response", "reschedule", "add-keys", "release-worker-data"),
        *("long-running", "close-stream"),
    }
)
"""What a registration says anew, or makes void."""

Message = Mapping[str, Any]


class Unsaid:
    """Messages in the order in which they were to be said.

    Attributes
    ----------
    dropped
        Events that there was no room for.
    """

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._events = 0
        self.dropped = 0

    def __len__(self) -> int:
        """How many messages wait."""
        return len(self._messages)

    def add(self, message: Message) -> None:
        """Keep the next message."""
        self._messages.append(message)
        if message.get("op") == EVENT:
            self._events += 1
            if self._events > EVENTS_MAX:
                self._drop_oldest_event()

    def put_before(self, messages: Iterable[Message]) -> None:
        """Keep messages that were to be said before all of these."""
        later = self.take()
        for message in (*messages, *later):
            self.add(message)

    def take(self) -> list[Message]:
        """All of it, to be said now."""
        messages = list(self._messages)
        self._messages.clear()
        self._events = 0
        return messages

    def settle(self, state_of: Callable[[Key], str | None]) -> dict[Key, int]:
        """Leave out what an inventory tells that is made now.

        Parameters
        ----------
        state_of
            The state of a task now, in Dask's words for workers; None if it has none.

        Returns
        -------
        dict
            Tasks whose end remains to be said, and under which run id.
        """
        ending: dict[Key, int] = {}
        kept: deque[Message] = deque()
        for message in reversed(self._messages):
            op = message.get("op")
            if op in TOLD_BY_INVENTORY:
                continue
            if op in ENDS:
                key = message["key"]
                # Only the last end counts, and only if it is how things are.
                if key in ending or state_of(key) != ENDS[op]:
                    continue
                ending[key] = message["run_id"]
            kept.appendleft(message)
        self._messages = kept
        return ending

    def _drop_oldest_event(self) -> None:
        for index, message in enumerate(self._messages):
            if message.get("op") == EVENT:
                del self._messages[index]
                self._events -= 1
                self.dropped += 1
                return


def not_yet_ended(found: Inventory, ending: Mapping[Key, int]) -> Inventory:
    """The inventory before these tasks ended, as it is said before their ends are.

    Examples
    --------
    >>> from dtf_dask.durable.inventory import Held
    >>> now = Inventory("w", 1, (Held("x", 8, "int", 5),), (), ())
    >>> before = not_yet_ended(now, {"x": 5})
    >>> before.memory, [(one.key, one.run_id) for one in before.running]
    ((), [('x', 5)])
    """
    made = {one.key: one.made for one in found.memory}
    made |= {one.key: one.made for one in found.erred}
    return dataclasses.replace(
        found,
        memory=tuple(one for one in found.memory if one.key not in ending),
        running=(
            *found.running,
            *(
                Running(key, run, 0.0, False, made=made.get(key, 0))
                for key, run in ending.items()
            ),
        ),
        erred=tuple(one for one in found.erred if one.key not in ending),
        actors=tuple(key for key in found.actors if key not in ending),
    )

"""Threads that ask what is not told by events: results of runs, numbers over time.

And that have something done. Answers go to the inbox; the window never waits for one.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from monitor_app.feed.calls import Caller, CallError, UnreachableError
from monitor_app.feed.follower import Follower
from monitor_app.feed.inbox import Answer, Inbox
from monitor_app.feed.reasons import DEFECT, reason

THREADS = 2

Call = Callable[[Caller], Iterator[Any]]
"""Given who is to be asked, gives the parts of the answer as they come."""


class Ticket:
    """A question that was asked."""

    __slots__ = ("_dropped", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._dropped = False

    def drop(self) -> None:
        """Nobody wants to know any more."""
        self._dropped = True

    @property
    def dropped(self) -> bool:
        """Whether nobody wants to know any more."""
        return self._dropped


class Questions:
    """Asks whoever is followed, and the others if he does not answer."""

    def __init__(self, follower: Follower, inbox: Inbox) -> None:
        self._follower = follower
        self._inbox = inbox
        self._numbers = itertools.count(1)
        self._asked: queue.SimpleQueue[tuple[Ticket, Call] | None] = queue.SimpleQueue()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"questions-{n}", daemon=True)
            for n in range(THREADS)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def ask(self, call: Call) -> Ticket:
        """Ask; the answer comes with the ticket's number."""
        ticket = Ticket(next(self._numbers))
        self._asked.put((ticket, call))
        return ticket

    def close(self) -> None:
        """Answer no more; a call that is under way ends by itself."""
        self._closed = True
        for _ in self._threads:
            self._asked.put(None)

    def _run(self) -> None:
        callers: dict[Any, Caller] = {}
        while (asked := self._asked.get()) is not None and not self._closed:
            ticket, call = asked
            if ticket.dropped:
                continue
            try:
                self._answer(ticket, call, callers)
            except Exception as error:  # of a defect, too, who asked is told
                why = f"{DEFECT}: {error!r}"
                self._inbox.answer(Answer(ticket.number, why=why))
        for caller in callers.values():
            caller.close()

    def _answer(self, ticket: Ticket, call: Call, callers: dict[Any, Caller]) -> None:
        why = ""
        for place in self._follower.known():
            key = (place, self._follower.token)
            caller = callers.get(key)
            if caller is None:
                caller = callers[key] = Caller(*key)
            begun = False
            try:
                for part in call(caller):
                    begun = True
                    if ticket.dropped or self._closed:
                        return
                    self._inbox.answer(Answer(ticket.number, part, last=False))
            except UnreachableError as error:
                why = why or f"{place}: {error}"
                if begun:
                    break
                continue
            except CallError as error:
                why = str(error)
                break
            self._inbox.answer(Answer(ticket.number))
            return
        self._inbox.answer(Answer(ticket.number, why=why or reason("nobody is there")))

"""What an asynchronous client has submitted and the scheduler has no room for yet.

There nobody can be made to wait: the futures are there at once, and the tasks are sent
when there is room. What concerns a task that is not sent yet is kept behind it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple

from dtf_dask.errors import OverloadedError
from dtf_dask.room_gate import RoomGate
from dtf_dask.wishes import class_of

Message = dict[str, Any]

_OF_KEYS = ("client-releases-keys", "client-desires-keys", "cancel-keys")
"""What makes no sense to a scheduler that does not know the task yet."""


class _Held(NamedTuple):
    message: Message
    keys: frozenset[Hashable]
    since: float


class HeldGraphs:
    """The messages of one client that wait for room; everything is on its loop.

    Parameters
    ----------
    send
        Sends a message to the scheduler.
    fail
        Lets the futures of a message fail.
    """

    def __init__(
        self,
        gate: RoomGate,
        send: Callable[[Message], None],
        fail: Callable[[Message, BaseException], None],
    ) -> None:
        self._gate, self._send, self._fail = gate, send, fail
        self._held: deque[_Held] = deque()
        self._unsent: Counter[Hashable] = Counter()
        self._task: asyncio.Task[None] | None = None

    def takes(self, message: Message) -> bool:
        """Whether a message is kept here, to be sent later."""
        op = message.get("op")
        if op == "update-graph":
            keys = frozenset(message["keys"])
            if not self._held and self._gate.take_paid(len(keys)):
                return False
            self._unsent.update(keys)
            self._keep(message, keys)
            return True
        if op in _OF_KEYS and self._concerns(message["keys"]):
            self._keep(message, frozenset())
            return True
        if op == "close-client":
            self.clear()
        return False

    def clear(self) -> None:
        """Nothing of it is wanted any more."""
        self._held.clear()
        self._unsent.clear()
        if self._task is not None:
            self._task.cancel()

    def __len__(self) -> int:
        return len(self._held)

    async def sent(self) -> None:
        """Wait until nothing is held any more."""
        await asyncio.sleep(0)  # what a coroutine just submitted is a callback away
        while self._held and self._task is not None:
            await asyncio.wait([self._task])

    def _concerns(self, keys: Iterable[Hashable]) -> bool:
        return bool(self._unsent) and any(key in self._unsent for key in keys)

    def _keep(self, message: Message, keys: frozenset[Hashable]) -> None:
        self._held.append(_Held(message, keys, time.monotonic()))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send_all(), name="dtf-held-graphs")

    async def _send_all(self) -> None:
        while self._held:
            message, keys, _ = self._held[0]
            count = len(keys)
            try:
                if count and not self._gate.take_paid(count):
                    sent = getattr(message.get("annotations"), "data", {})
                    await self._gate.obtain(count, priority_class=class_of(sent))
            except OverloadedError as error:
                self._give_up(error)
            except OSError:  # the client closes, and nobody would hear of it
                return
            else:
                if self._held:  # else the client was closed meanwhile
                    self._send(self._next().message)

    def _next(self) -> _Held:
        held = self._held.popleft()
        for key in held.keys:
            self._unsent[key] -= 1
            if not self._unsent[key]:
                del self._unsent[key]
        return held

    def _give_up(self, error: OverloadedError) -> None:
        """There was no room for long: what has waited as long waits no longer."""
        waits_since = time.monotonic() - self._gate.patience_s
        while self._held and self._held[0].since <= waits_since:
            held = self._next()
            if held.keys:
                self._fail(held.message, error)
            else:
                self._send(held.message)

"""A client's operations on their way to the ledger: `Sending`.

What Dask's client would send becomes an operation in the same order, is held in the
outbox, and goes to whoever leads. All of it is on the client's loop, but for `enter`
and `leave`, which threads call that submit.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from dtf_dask.durable import client_words
from dtf_dask.durable.client_graphs import operation_of_message
from dtf_dask.durable.dask_client import CANCELS, DESIRES, GRAPH, RELEASES
from dtf_dask.durable.operations import (
    CANCEL,
    DESIRE,
    OPERATION_BYTES_MAX,
    RELEASE,
    RETRY,
    encode_asked,
)
from dtf_dask.durable.outbox import Given, Outbox
from dtf_dask.errors import ClusterUnreachableError, OverloadedError, TaskRefusedError
from dtf_dask.quantities import format_duration
from dtf_dask.submission.table import Key, key_fault

logger = logging.getLogger(__name__)

MADE = "dtf-made"
"""Under which a message with a graph has its `Made`, if it was packed at once."""
RETRIES = "dtf-retry"
"""The ``op`` of a message that asks for a retry, which Dask's client does by RPC."""

_GATHER_RELEASES_S = 0.005
"""So long releases are gathered: each is a message of its own, in Dask."""
_SAY_AFTER_S, _SAY_AGAIN_S = 1.0, 30.0
_REASON_MAX = 1_000  # characters

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Made:
    """A submission that is packed."""

    operation: bytes
    keys: tuple[Key, ...]


class Sending:
    """The operations of one client.

    Parameters
    ----------
    client
        Its id.
    say
        Sends a message to the scheduler that leads, if there is one.
    hurry
        Has what was said sent at once.
    fail
        Lets the future of a key fail.
    why
        Says for people why operations wait.
    patience_s
        Says how long a submission waits for room.
    """

    def __init__(
        self,
        client: str,
        say: Callable[[Message], object],
        hurry: Callable[[], None],
        fail: Callable[[Hashable, BaseException], None],
        why: Callable[[], str],
        patience_s: Callable[[], float],
    ) -> None:
        self._client, self._say, self._hurry = client, say, hurry
        self._fail, self._why = fail, why
        self._patience_s = patience_s
        self.outbox = Outbox()
        self.live = False
        self.ended = ""
        self.owed = 0
        """The last operation that is no release: those end with the client anyway."""
        self.bytes_max = OPERATION_BYTES_MAX
        self._number = 0
        self._room = threading.Condition()
        self._said_at = float("-inf")
        self._behind: deque[Message] = deque()
        self._making: asyncio.Task[None] | None = None
        self._releases: list[Key] = []
        self._release_timer: asyncio.TimerHandle | None = None
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    # -- from threads that submit --------------------------------------------------

    def next_number(self) -> int:
        """The number of the next submission."""
        with self._room:
            self._number += 1
            return self._number

    def enter(self, keys: Iterable[Hashable], size: int, *, waits: bool) -> None:
        """A submission is about to be sent; if there is no room, wait for it.

        Raises
        ------
        ClusterUnreachableError
            There was none for so long.
        OverloadedError
            There is none, and on this thread nobody can wait.
        """
        with self._room:
            if not self.outbox.has_room(size, hard=not waits):
                if not waits:
                    raise OverloadedError(
                        f"{self._why()}; more is not kept: await client.flush() before"
                        " more is submitted"
                    )
                self._wait_for_room(size, self._patience_s())
            self.outbox.begin(cast("Iterable[Key]", keys))
            if size:
                self.outbox.charge(size)

    def leave(self, keys: Iterable[Hashable], size: int = 0) -> None:
        """What was to be submitted is not."""
        with self._room:
            self.outbox.end(cast("Iterable[Key]", keys))
            if size:
                self.outbox.discharge(size)

    def _wait_for_room(self, size: int, patience_s: float) -> None:
        begun = time.monotonic()
        while not self.outbox.has_room(size) and not self.ended:
            now = time.monotonic()
            if now - begun >= patience_s:
                raise ClusterUnreachableError(
                    f"{self._why()}, and no room for more since"
                    f" {format_duration(patience_s)} (ha.client-patience)"
                )
            if now - begun > _SAY_AFTER_S and now > self._said_at + _SAY_AGAIN_S:
                self._said_at = now
                logger.warning("A submission waits: %s", self._why())
            self._room.wait(min(_SAY_AFTER_S, begun + patience_s - now))
        if self.ended:
            raise ClusterUnreachableError(self.ended)

    @property
    def pending(self) -> int:
        """How many operations are not known to be in the ledger, or not even made."""
        return len(self._behind) + bool(self._releases) + self.outbox.pending

    @property
    def owes(self) -> bool:
        """Whether something is not in the ledger that is to outlive the client."""
        return bool(self._behind) or not self.outbox.settled(self.owed)

    # -- what is asked -------------------------------------------------------------

    def give(self, message: Message) -> None:
        """Take a message of Dask's client as an operation."""
        if self._behind:  # a graph is being made, and all that follows is behind it
            self._behind.append(message)
        elif message["op"] == GRAPH and MADE not in message:
            self._behind.append(message)
            self._making = asyncio.create_task(self._make_all(), name="dtf-graphs")
        else:
            self._act(message)

    def _act(self, message: Message) -> None:
        op = message["op"]
        if op == RELEASES:
            self._releases.extend(message["keys"])
            if self._release_timer is None:
                self._release_timer = asyncio.get_running_loop().call_later(
                    _GATHER_RELEASES_S, self._release
                )
            return
        self._release()
        if op == GRAPH:
            made: Made = message[MADE]
            self._put(made.operation, made.keys, len(made.operation))
            return
        keys = _in_ledger(message["keys"])
        if not keys:
            return
        if op == DESIRES:
            self._put_all(DESIRE, message.get("client") or self._client, keys)
        elif op == CANCELS:
            said = message["reason"], message["msg"]
            reason = ": ".join(str(one) for one in said if one)[:_REASON_MAX]
            force = bool(message["force"])
            self._put_all(CANCEL, self._client, keys, force, reason)
        elif op == RETRIES:
            self._put_all(RETRY, self._client, keys)
        else:
            raise AssertionError(op)

    def _release(self) -> None:
        if self._release_timer is not None:
            self._release_timer.cancel()
            self._release_timer = None
        keys, self._releases = _in_ledger(dict.fromkeys(self._releases)), []
        if keys:
            owed = self.owed
            self._put_all(RELEASE, self._client, keys)
            self.owed = owed

    def _put_all(
        self, kind: int, client: str, keys: tuple[Key, ...], *more: Any
    ) -> None:
        """As many operations as it takes."""
        for packed in encode_asked(kind, client, keys, *more):
            self._put(packed)

    def _put(self, operation: bytes, keys: tuple[Key, ...] = (), size: int = 0) -> None:
        given = self.outbox.add(operation, keys, size)
        self.owed = given.seq
        if self.live:
            self._say(client_words.durable(given.seq, given.operation))

    async def _make_all(self) -> None:
        """Make the graphs that wait, in a thread: in order with what is behind them."""
        while self._behind:
            message = self._behind[0]
            if message["op"] == GRAPH and MADE not in message:
                await self._make(message)
            else:
                self._act(message)
            self._behind.popleft()

    async def _make(self, message: Message) -> None:
        keys = tuple(message["keys"])
        try:
            operation = await asyncio.to_thread(
                operation_of_message,
                message,
                self._client,
                self.next_number(),
                self.bytes_max,
            )
        except Exception as error:
            self.leave(keys)
            for key in keys:
                self._fail(key, error)
            return
        with self._room:
            self.outbox.charge(len(operation))
        self._act({"op": GRAPH, MADE: Made(operation, keys)})

    # -- what becomes of it ----------------------------------------------------------

    def resume(self) -> None:
        """Somebody leads: say again all that it may not have."""
        for given in self.outbox.held():
            self._say(client_words.durable(given.seq, given.operation))
        self.live = True

    def acknowledged(self, upto: int) -> None:
        """All up to this number are in the ledger.

        Raises
        ------
        ProtocolError
            There is no such number.
        """
        with self._room:
            if self.outbox.acknowledge(upto):
                self._room.notify_all()
        self._wake(None)

    def refused(self, seq: int, why: str) -> Given | None:
        """One is refused for good."""
        with self._room:
            given = self.outbox.refuse(seq)
            self._room.notify_all()
        self._wake((seq, why))
        return given

    def end(self, why: str) -> None:
        """There is no more hope for what is not in the ledger."""
        self.live, self.ended = False, self.ended or why
        self._behind.clear()
        if self._making is not None:
            self._making.cancel()
        if self._release_timer is not None:
            self._release_timer.cancel()
        with self._room:
            self._room.notify_all()
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(ClusterUnreachableError(why))
        self._waiters.clear()

    def _wake(self, refused: tuple[int, str] | None) -> None:
        waiters, self._waiters = self._waiters, []
        for upto, waiter in waiters:
            if waiter.done():
                continue
            if refused is not None and refused[0] == upto:
                waiter.set_exception(TaskRefusedError(refused[1]))
            elif self.outbox.settled(upto):
                waiter.set_result(None)
            else:
                self._waiters.append((upto, waiter))

    async def given(self) -> int:
        """The number of the last operation, once all that was asked has one."""
        for _ in range(3):  # callbacks: of a dropped future, of its key, of this
            await asyncio.sleep(0)
        while self._behind and self._making is not None:
            await asyncio.wait([self._making])
        self._release()
        self._hurry()
        return self.outbox.last

    async def settled(self, upto: int) -> None:
        """Wait until all operations up to a number are in the ledger, or refused.

        Raises
        ------
        TaskRefusedError
            That very one was refused.
        ClusterUnreachableError
            The client gives up, or closes.
        """
        if self.ended:
            raise ClusterUnreachableError(self.ended)
        if not self.outbox.settled(upto):
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((upto, waiter))
            await waiter


def _in_ledger(keys: Iterable[Hashable]) -> tuple[Key, ...]:
    """Without those that no table takes: their futures have failed, and are dropped."""
    return tuple(cast("Key", key) for key in keys if not key_fault(key))


def is_small(expr: Any, keys: Collection[Hashable]) -> bool:
    """Whether a graph is packed so fast that a loop may wait for it."""
    size = len(keys)
    operand = getattr(expr, "operands", [None])[0]
    if isinstance(operand, dict):
        return max(size, len(operand)) <= _SMALL
    return type(expr).__name__ == "_MapExpr" and size <= _SMALL


_SMALL = 300

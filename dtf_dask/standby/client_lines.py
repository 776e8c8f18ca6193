"""What a client asked for, in the order of its numbers, whatever stream it came by."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgpack

from dtf_dask.durable.client_words import TOKEN_CHARS_MAX
from dtf_dask.durable.operations import (
    CANCEL,
    DESIRE,
    KINDS,
    RELEASE,
    RETRY,
    SCATTER,
    TABLE,
    beyond_bounds,
    decode_operation,
)
from dtf_dask.errors import ProtocolError, TaskRefusedError
from dtf_dask.standby.applying import FIRE_AND_FORGET
from dtf_dask.standby.durability import Durability
from dtf_dask.standby.entries import Asked
from dtf_dask.standby.huge import uncollected
from dtf_dask.standby.submitted import prepare
from dtf_dask.submission.table import CLIENT_LENGTH_MAX

logger = logging.getLogger(__name__)

_OF_NOBODY = ("variable-", "queue-", "published-")
"""What Dask's primitives hold is wanted by clients that are called so."""

PREFIX = "s/"
READ_AT_ONCE_BYTES = 256 * 1024
"""Larger operations are read in a thread."""
WAITING_BYTES_MAX = 1_100 * 2**20
_TOO_MUCH = "too much is asked before anything of it is in the ledger"
_ROOM_AGAIN_S = 0.05
_ADDS = frozenset({DESIRE, RETRY, SCATTER})
"""What only takes room, beside tables."""
_LETS_GO = frozenset({RELEASE, CANCEL})


def record_of(client: str, token: str, seen: int) -> tuple[str, bytes]:
    """What the ledger knows of a client; no token is of one of Dask's own."""
    packed: bytes = msgpack.packb((token, seen))
    return PREFIX + client, packed


def read_record(value: bytes) -> tuple[str, int]:
    """What `record_of` made: a token, and the number of the last operation.

    Raises
    ------
    ProtocolError
        It is none.
    """
    try:
        token, seen = msgpack.unpackb(value)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ProtocolError(f"a client's record: {error}") from error
    if type(token) is not str or type(seen) is not int or len(token) > TOKEN_CHARS_MAX:
        raise ProtocolError("a client's record makes no sense")
    return token, seen


def id_wrong(client: str) -> str:
    """Why a client cannot have this id; empty if it can."""
    if not 1 <= len(client) <= CLIENT_LENGTH_MAX:
        return f"its id has {len(client)} characters"
    if client == FIRE_AND_FORGET or client.startswith(_OF_NOBODY):
        return f"{client!r} is nobody's id"
    return ""


class ToMake(NamedTuple):
    """An operation that takes long to make; how, and who hears if it cannot be."""

    make: Callable[[], bytes]
    failed: Callable[[Exception], None]


class ClientLine:
    """The operations of one client; it outlives streams.

    Parameters
    ----------
    told
        Tells the client what became of them: ``("ack", upto)``, ``("refused", seq, why,
        keys)``, or ``("waiting", why)``.
    """

    def __init__(
        self,
        client: str,
        token: str,
        seen: int,
        durability: Durability,
        told: Callable[..., None],
    ) -> None:
        self.client = client
        self.token = token
        self.accepted = self.acked = seen
        self._durability = durability
        self._told = told
        self._waiting: deque[tuple[int, _Item]] = deque()
        self._waiting_bytes = 0
        self._reading: asyncio.Task[None] | None = None
        self._leaves = False

    def take(self, seq: int, packed: bytes) -> str:
        """Take in a numbered operation; why not, if there is no sense in it."""
        if seq <= self.accepted:
            if seq <= self.acked:
                self._told("ack", self.acked)
            return ""
        if not self.accepted:
            # One that was away for too long goes on with its own numbers.
            self.accepted = self.acked = seq - 1
        if seq != self.accepted + 1:
            return f"operation {seq} came after {self.accepted}: one was lost"
        if self._waiting_bytes + len(packed) > WAITING_BYTES_MAX:
            return _TOO_MUCH
        self.accepted = seq
        self._put(seq, packed)
        return ""

    def ask(self, packed: bytes) -> None:
        """Take in an operation of a client of Dask's own, which has no numbers.

        Raises
        ------
        ProtocolError
            Too many wait.
        """
        if self._waiting_bytes + len(packed) > WAITING_BYTES_MAX:
            raise ProtocolError(_TOO_MUCH)
        self._put(0, packed)

    def make(self, item: ToMake) -> None:
        """Take in one that is made in a thread, when its turn has come."""
        self._put(0, item)

    def then(self, call: Callable[[], None]) -> None:
        """Call something when all that was taken in before was acted on."""
        self._put(0, call)

    def leave(self, call: Callable[[], None]) -> None:
        """The same for a client that leaves: what it lets go it need not wait for."""
        self._leaves = True
        self.then(call)

    def done(self, seq: int) -> None:
        """Operations up to this one were acted on."""
        if seq > self.acked:
            self.acked = seq
            self._told("ack", seq)

    def refused(self, seq: int, why: str, keys: Sequence[Any]) -> None:
        """An operation was not."""
        self._told("refused", seq, why, keys)

    def close(self) -> None:
        """Nothing more comes."""
        if self._reading is not None:
            self._reading.cancel()

    def _put(self, seq: int, item: _Item) -> None:
        if self._reading is None and not isinstance(item, bytes | ToMake):
            self._durability.ask(Asked(None, b"", asker=Then(item)))
            return
        if self._reading is None and isinstance(item, bytes) and _is_small(item):
            asked = self._read(seq, item)
            if not self._must_wait(asked):
                self._ask(asked)
                return
        self._waiting.append((seq, item))
        self._waiting_bytes += len(item) if isinstance(item, bytes) else 0
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._go_on())

    async def _go_on(self) -> None:
        """Read what is large, so that others have their turn; wait for room."""
        while self._waiting:
            seq, item = self._waiting[0]
            if isinstance(item, ToMake):
                await self._make(seq, item)
            elif not isinstance(item, bytes):
                self._durability.ask(Asked(None, b"", asker=Then(item)))
            else:
                if _is_small(item):
                    asked = self._read(seq, item)
                else:
                    asked = await asyncio.to_thread(self._read_large, seq, item)
                await self._room_for(asked)
                self._ask(asked)
            self._waiting.popleft()
            self._waiting_bytes -= len(item) if isinstance(item, bytes) else 0
        self._reading = None

    async def _make(self, seq: int, item: ToMake) -> None:
        """Make one, and hand it on; or say why not."""
        why: Exception | None = None
        try:
            packed = await asyncio.to_thread(item.make)
            asked = self._admitted(
                await asyncio.to_thread(self._read_large, seq, packed)
            )
            why = TaskRefusedError(asked.why) if asked.why else None
        except Exception as error:
            why = error
        if why is None:
            self._durability.ask(asked)
            return
        try:
            item.failed(why)
        except Exception:  # what it says of itself makes no sense, too
            logger.exception("a client cannot be told what is wrong")

    def _read_large(self, seq: int, packed: bytes) -> Asked:
        with uncollected(len(packed)):
            return self._read(seq, packed)

    def _read(self, seq: int, packed: bytes) -> Asked:
        """What an operation asks; nothing, if it makes no sense."""
        record = record_of(self.client, self.token, seq if seq else self.accepted)
        try:
            operation = decode_operation(packed)
            wrong = ""
            if operation.client not in (self.client, FIRE_AND_FORGET):
                wrong = f"it is of another client, {operation.client[:60]!r}"
            elif not KINDS[operation.kind].from_clients:
                wrong = "clients do not ask that"
            if wrong := wrong or beyond_bounds(operation, len(packed)):
                raise ProtocolError(wrong)
            read = prepare(operation)
            if read is not None and read.table.client != self.client:
                raise ProtocolError("it has a table of another client")
        except Exception as error:  # of whatever is in there
            return self._refused(seq, record, str(error))
        return Asked(operation, packed, read, self, seq, record)

    def _refused(
        self,
        seq: int,
        record: tuple[str, bytes | None] | None,
        why: str,
        keys: Sequence[Any] = (),
    ) -> Asked:
        logger.warning(
            "operation %d of client %s is refused: %s", seq, self.client, why
        )
        return Asked(None, b"", asker=self, seq=seq, record=record, why=why, keys=keys)

    # Whether there is room for it: asked of all lines on the loop, one by one.

    def _ask(self, asked: Asked) -> None:
        self._durability.ask(self._admitted(asked))

    def _admitted(self, asked: Asked) -> Asked:
        """An operation, unless there is no room for it."""
        room, operation = self._durability.room, asked.operation
        full, keys = "", ()
        if operation is None:
            return asked
        if operation.kind == TABLE:
            full = room.none_to_submit(asked.size)
        elif operation.kind == DESIRE and self._are_known(operation.body[0]):
            full, keys = room.none_to_wish(), operation.body[0]
        elif operation.kind in _ADDS:
            full = room.none_to_keep()
            # Of a retry the client knows which of them had failed.
            keys = operation.body[0] if operation.kind != RETRY else ()
        elif self._must_wait(asked):
            full = "its client leaves"
        return self._refused(asked.seq, asked.record, full, keys) if full else asked

    def _are_known(self, keys: Sequence[Any]) -> bool:
        tasks = self._durability.applier.scheduler.tasks
        return all(key in tasks for key in keys)

    def _must_wait(self, asked: Asked) -> str:
        operation = asked.operation
        if operation is None or operation.kind not in _LETS_GO:
            return ""
        return self._durability.room.none_to_let_go(asked.size)

    async def _room_for(self, asked: Asked) -> None:
        """Wait until there is room for what lets go."""
        why = self._must_wait(asked)
        if not why:
            return
        logger.warning("client %s waits: %s", self.client, why)
        self._told("waiting", why)
        while self._must_wait(asked) and not self._leaves:
            await asyncio.sleep(_ROOM_AGAIN_S)
        self._told("waiting", "")


class Then:
    """Asks for nothing, and hears when its turn has come."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def done(self, seq: int) -> None:
        """Its turn has come; what is wrong with one client ends no scheduler."""
        try:
            self._call()
        except Exception:
            logger.exception("a client is not answered")

    def refused(self, seq: int, why: str, keys: Sequence[Any]) -> None:
        """What was asked with it could not be acted on; its turn comes all the same."""


_Item = bytes | ToMake | Callable[[], None]


def _is_small(packed: bytes) -> bool:
    return len(packed) <= READ_AT_ONCE_BYTES

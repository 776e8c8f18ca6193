"""What a client asked for, in the order of its numbers, whatever stream it came by."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgpack

from dtf_dask.durable.client_words import TOKEN_CHARS_MAX
from dtf_dask.durable.operations import KINDS, decode_operation
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
        Tells the client what became of them: ``("ack", upto)``, or ``("refused", seq,
        why, keys)``.
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
            return "too much is asked before anything of it is in the ledger"
        self.accepted = seq
        self._put(seq, packed)
        return ""

    def ask(self, packed: bytes) -> None:
        """Take in an operation of a client of Dask's own, which has no numbers."""
        self._put(0, packed)

    def make(self, item: ToMake) -> None:
        """Take in one that is made in a thread, when its turn has come."""
        self._put(0, item)

    def then(self, call: Callable[[], None]) -> None:
        """Call something when all that was taken in before was acted on."""
        self._put(0, call)

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
        if _is_small(item) and self._reading is None:
            self._hand_on(seq, item)
            return
        self._waiting.append((seq, item))
        self._waiting_bytes += len(item) if isinstance(item, bytes) else 0
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        """Read what is large, so that others have their turn."""
        while self._waiting:
            seq, item = self._waiting[0]
            if _is_small(item):
                self._hand_on(seq, item)
            else:
                asked = await asyncio.to_thread(self._read_large, seq, item)
                if isinstance(asked, Exception):
                    assert isinstance(item, ToMake)
                    try:
                        item.failed(asked)
                    except Exception:  # what it says of itself makes no sense, too
                        logger.exception("a client cannot be told what is wrong")
                else:
                    self._durability.ask(asked)
            self._waiting.popleft()
            self._waiting_bytes -= len(item) if isinstance(item, bytes) else 0
        self._reading = None

    def _read_large(self, seq: int, item: _Item) -> Asked | Exception:
        if isinstance(item, ToMake):
            try:
                return self._asked(seq, item.make())
            except Exception as error:
                return error
        assert isinstance(item, bytes)
        with uncollected(len(item)):
            return self._asked(seq, item)

    def _hand_on(self, seq: int, item: _Item) -> None:
        if isinstance(item, bytes):
            self._durability.ask(self._asked(seq, item))
        else:
            assert not isinstance(item, ToMake)
            self._durability.ask(Asked(None, b"", asker=Then(item)))

    def _asked(self, seq: int, packed: bytes) -> Asked:
        record = record_of(self.client, self.token, seq if seq else self.accepted)
        try:
            operation = decode_operation(packed)
            wrong = ""
            if operation.client not in (self.client, FIRE_AND_FORGET):
                wrong = f"it is of another client, {operation.client[:60]!r}"
            elif not KINDS[operation.kind].from_clients:
                wrong = "clients do not ask that"
            if wrong:
                raise ProtocolError(wrong)
            read = prepare(operation)
            room = self._durability.room
            if read is not None and (full := room.none_to_submit(len(packed))):
                raise TaskRefusedError(full)
            if read is not None and read.table.client != self.client:
                raise ProtocolError("it has a table of another client")
        except Exception as error:  # of whatever is in there
            logger.warning(
                "operation %d of client %s is refused: %s", seq, self.client, error
            )
            return Asked(None, b"", asker=self, seq=seq, record=record, why=str(error))
        return Asked(operation, packed, read, self, seq, record)


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


def _is_small(item: _Item) -> bool:
    if isinstance(item, bytes):
        return len(item) <= READ_AT_ONCE_BYTES
    return not isinstance(item, ToMake)

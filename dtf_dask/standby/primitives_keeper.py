"""What primitives change goes into the ledger, and answers wait until it is there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Protocol

from dtf_dask.durable.operations import (
    CLIENT_GONE,
    DESIRE,
    RELEASE,
    RESTART,
    SCATTER,
    encode_operation,
)
from dtf_dask.errors import ProtocolError, UsageError
from dtf_dask.standby.ledger_room import LedgerRoom
from dtf_dask.standby.primitives_records import (
    PREFIXES,
    Record,
    batches,
    cut,
    decode_record,
    encode_record,
    joined,
    part_key,
    record_key,
)
from dtf_dask.submission.table import CLIENT_LENGTH_MAX, shown

logger = logging.getLogger(__name__)

_GENERATIONS_A_TERM = 2**32


class Durability(Protocol):
    """The ledger, as the scheduler that leads has it."""

    @property
    def term(self) -> int:
        """In which the scheduler leads."""
        ...

    @property
    def room(self) -> LedgerRoom:
        """How much the ledger has."""
        ...

    async def keep(self, records: Mapping[str, bytes | None]) -> None:
        """Write records, or delete them.

        Over when that is committed, and all that was given before.
        """
        ...

    def keep_lazily(self, records: Mapping[str, bytes | None]) -> None:
        """Write records some time."""
        ...

    def append(self, operation: bytes) -> None:
        """An operation for the journal, which is applied in its turn."""
        ...

    async def settled(self) -> None:
        """All that was given before is committed, and applied."""
        ...

    def records(self, prefix: str) -> list[tuple[str, bytes]]:
        """All records whose keys begin so, as of now."""
        ...


class Keeper:
    """Gathers changes of primitives, and has them committed before anybody is told.

    Changes are made and given to it with no await between, so that what is committed
    is always a state that was.
    """

    def __init__(self, durability: Durability) -> None:
        self._durability = durability
        self._changes: dict[str, bytes | None] = {}
        self._parts: dict[str, tuple[int, int]] = {}
        self._next = durability.term * _GENERATIONS_A_TERM
        self._soon = False

    def number(self) -> int:
        """A number above all that were given before, by leaders before this one too."""
        self._next += 1
        return self._next

    def full(self) -> str:
        """Why nothing may be kept that can be refused; empty if it may."""
        return self._durability.room.none_to_keep()

    def put(self, kind: str, *fields: Any) -> None:
        """A record is new, or changed.

        Raises
        ------
        UsageError
            It cannot be kept; nothing changed.
        """
        key, value = encode_record(kind, *fields)
        made = cut(key, value, self.number())
        self._drop_parts(key)
        self._changes.update(made.parts)
        if made.parts:
            self._parts[key] = (self._next, len(made.parts))
        self._change(key, made.head)

    def drop(self, kind: str, *identity: Any) -> None:
        """A record is over."""
        key = record_key(kind, *identity)
        self._change(key, None)
        self._drop_parts(key)

    def desire(self, client: str, keys: Iterable[Hashable]) -> None:
        """A client, or what stands for one, wants keys."""
        self._append(DESIRE, client, tuple(keys))

    def release(self, client: str, keys: Iterable[Hashable]) -> None:
        """A client, or what stands for one, wants keys no longer."""
        self._append(RELEASE, client, tuple(keys))

    def gone(self, client: str) -> None:
        """What stood for a client is no more."""
        self._append(CLIENT_GONE, client)

    def scattered(self, client: str, sizes: Mapping[Any, int]) -> None:
        """Values were put into the memory of workers."""
        self._append(SCATTER, client, tuple(sizes), tuple(sizes.values()))

    def restart(self, client: str) -> None:
        """All tasks are forgotten."""
        self._append(RESTART, client)

    async def committed(self) -> None:
        """Wait until all that was given so far is in the ledger, and applied."""
        changes, self._changes = self._changes, {}
        if changes:
            # All begin now, in this order, and are committed in it; so is what others
            # gave before.
            await asyncio.gather(*map(self._durability.keep, batches(changes)))
        else:
            await self._durability.settled()

    def soon(self) -> None:
        """Have what nobody waits for committed, too."""
        if not self._soon:
            self._soon = True
            asyncio.get_running_loop().call_soon(self._lazily)

    def restored(self) -> list[Record]:
        """All records that leaders before this one left.

        What makes no sense is said, and passed over: a cluster that does not come
        back for one broken record would be worse.
        """
        found = joined(
            one for prefix in PREFIXES for one in self._durability.records(prefix)
        )
        self._parts = found.parts
        for key, why in found.lost.items():
            if why:
                logger.error("A record of coordination is lost: %s: %s", key, why)
            self._changes[key] = None
        made = []
        for key, value in found.values.items():
            try:
                made.append(decode_record(key, value))
            except ProtocolError as error:
                logger.error("A record of coordination is lost: %s", error)
        return made

    def _append(self, kind: int, client: str, *body: Any) -> None:
        if len(client) > CLIENT_LENGTH_MAX:
            raise UsageError(
                f"the name in {shown(client)} is too long: shorten it by"
                f" {len(client) - CLIENT_LENGTH_MAX} characters"
            )
        self._durability.append(encode_operation(kind, client, *body))

    def _change(self, key: str, value: bytes | None) -> None:
        self._changes.pop(key, None)  # its parts come before it
        self._changes[key] = value

    def _drop_parts(self, key: str) -> None:
        generation, count = self._parts.pop(key, (0, 0))
        for number in range(count):
            self._change(part_key(key, generation, number), None)

    def _lazily(self) -> None:
        self._soon = False
        changes, self._changes = self._changes, {}
        for some in batches(changes):
            self._durability.keep_lazily(some)

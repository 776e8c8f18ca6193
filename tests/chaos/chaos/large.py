"""A client whose values are too large for the log: nodes keep them beside it.

It alone writes its keys, one after the other, so that it knows what each may hold: what
was acknowledged last, or what came after it with an outcome that nobody knows. A key
with such an outcome is written no more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from chaos.group import SITES, Group
from dtf_dask.errors import ContentUnavailableError, PeerUnavailableError
from dtf_dask.ha.large_values import put_value, value_bytes
from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import DELETE
from dtf_dask.ha.ledger.outcomes import UNKNOWN, Code
from dtf_dask.ha.ledger.queries import Get

if TYPE_CHECKING:
    from dtf_dask.ha.remote_ledger import RemoteLedger

LARGE = "large"
_KEYS = 4
_LEAST_BYTES, _MOST_BYTES = 1_100_000, 2_500_000
_TIMEOUT_S = 10.0
_LIFE_S = 15.0
_PAUSE_S = (0.3, 2.0)

Seed = int | None
"""What a value is made of; None stands for no record."""


def content(seed: int) -> bytes:
    """A large value."""
    rng = Random(f"content {seed}")
    return rng.randbytes(rng.randrange(_LEAST_BYTES, _MOST_BYTES))


class LargeClient:
    """Writes and reads large values, and says what is wrong with them.

    Parameters
    ----------
    wrong
        Told what was read that cannot be.
    """

    def __init__(self, group: Group, seed: int, wrong: Callable[[str], None]) -> None:
        self.written = 0
        """How many were acknowledged."""
        self._group = group
        self._rng = Random(f"large {seed}")
        self._wrong = wrong
        self._next = 0
        self._may_hold: dict[str, set[Seed]] = {}
        self._in_use = [self._new_key() for _ in range(_KEYS)]

    async def life(self, go_on: Callable[[], bool]) -> None:
        """Work as one client, until it is to end or has lived long enough."""
        ends = time.monotonic() + _LIFE_S
        async with self._group.client(self._rng.choice(SITES), None) as ledger:
            while go_on() and time.monotonic() < ends:
                await self.one(ledger)
                await asyncio.sleep(self._rng.uniform(*_PAUSE_S))

    async def one(self, ledger: RemoteLedger) -> None:
        """One operation."""
        at = self._rng.randrange(_KEYS)
        if self._rng.random() < 0.5:
            await self._write(ledger, at)
        else:
            await self._read(ledger, self._in_use[at])

    async def check_all(self, ledger: RemoteLedger) -> None:
        """Read every key that there was, when nothing is wrong any more."""
        for key in self._may_hold:
            if not await self._read(ledger, key):
                self._wrong(f"the large value of {key} cannot be had at the end")

    def _new_key(self) -> str:
        key = f"k{len(self._may_hold)}"
        self._may_hold[key] = {None}
        return key

    async def _write(self, ledger: RemoteLedger, at: int) -> None:
        key, seed = self._in_use[at], self._next
        self._next += 1
        try:
            outcome = await put_value(ledger, LARGE, key, content(seed), _TIMEOUT_S)
        except ContentUnavailableError:
            return
        except PeerUnavailableError:
            outcome = UNKNOWN
        if outcome.code is Code.OK:
            self.written += 1
            self._may_hold[key] = {seed}
        elif outcome.code is Code.UNKNOWN:
            self._may_hold[key] |= {seed, None}
            self._in_use[at] = self._new_key()
            await ledger.propose([encode_command(DELETE, LARGE, key)], _TIMEOUT_S)

    async def _read(self, ledger: RemoteLedger, key: str) -> bool:
        """Whether it could be read; that it is right is seen to."""
        may_hold = set(self._may_hold[key])
        try:
            answer = await ledger.read(Get(LARGE, key), _TIMEOUT_S)
            if answer is None:
                return False
            found = None
            if answer.records:
                value = answer.records[0][1].value
                found = await value_bytes(ledger, value, _TIMEOUT_S)
        except (ContentUnavailableError, PeerUnavailableError):
            return False
        if not any(
            found == (None if seed is None else content(seed)) for seed in may_hold
        ):
            size = "nothing" if found is None else f"other {len(found)} bytes"
            self._wrong(f"the large value of {key} is {size}, not one of {may_hold}")
        return True

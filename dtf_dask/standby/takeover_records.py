"""What a leader writes down for the one after it, besides what clients ask for.

Who is there, so that it can be called; what has run for long, so that it is not begun
elsewhere while its worker is cut off; which tasks failed, and how often each may be
tried. All of it lazily: who takes over without the last of it does a little more.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgpack
from distributed import Scheduler, SchedulerPlugin

from dtf_dask.durable.makings import NONE
from dtf_dask.durable.operations import COUNTS, ERRED, encode_operation
from dtf_dask.errors import UsageError
from dtf_dask.standby import dask_links, dask_takeover
from dtf_dask.submission.table import Key, key_fault, shown

logger = logging.getLogger(__name__)

WORKERS, LEASES, ACTORS = "w/", "x/lease/", "x/actor/"
_VERSION = 1
_ERROR_BYTES_MAX = 512 * 1024
_KNOWN_BYTES_MAX = 64 * 1024


class Durability(Protocol):
    """Where it is written; see `dtf_dask.standby.durability`."""

    def keep_lazily(self, records: Mapping[str, bytes | None]) -> None:
        """Write records, or delete those of None, some time."""

    def append(self, operation: bytes) -> None:
        """Add an operation to the journal, some time."""

    def records(self, prefix: str) -> list[tuple[str, bytes]]:
        """Those whose keys begin so, as of now."""


@dataclass(frozen=True, slots=True)
class Known:
    """A worker, as it was written down.

    Parameters
    ----------
    info
        What it registered with, as far as it is needed to know it again.
    """

    address: str
    server_id: str
    info: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Leased:
    """An attempt that has run for long."""

    key: Key
    address: str
    server_id: str
    run_id: int
    for_s: float
    made: int = NONE


def pack_known(known: Known) -> bytes:
    """A worker as a record."""
    packed: bytes = msgpack.packb(
        (_VERSION, known.address, known.server_id, dict(known.info))
    )
    return packed


def pack_leased(leased: Leased) -> bytes:
    """An attempt as a record."""
    packed: bytes = msgpack.packb(
        (
            *(_VERSION, leased.key, leased.address, leased.server_id),
            *(leased.run_id, leased.for_s, leased.made),
        )
    )
    return packed


def known_workers(durability: Durability) -> dict[str, Known]:
    """The workers that a leader before this one had, by address."""
    found = {}
    for _, value in durability.records(WORKERS):
        row = _row(value, 4)
        if row is not None:
            known = Known(row[1], row[2], row[3])
            found[known.address] = known
    return found


def leased_attempts(durability: Durability) -> dict[str, Leased]:
    """The attempts that had run for long then, by the key of their records."""
    found = {}
    for name, value in durability.records(LEASES):
        row = _row(value, 6, 7)  # some do not say of which making it is
        if row is not None and not key_fault(row[1]):
            found[name] = Leased(*row[1:])
    return found


def made_actors(durability: Durability) -> dict[str, tuple[Key, int]]:
    """The actors that were made by then, with the marks of their makings."""
    found = {}
    for name, value in durability.records(ACTORS):
        row = _row(value, 3)
        if row is not None and not key_fault(row[1]):
            found[name] = row[1], row[2]
    return found


def _digest(key: Key) -> str:
    return hashlib.sha256(repr(key).encode()).hexdigest()[:40]


def _row(value: bytes, *lengths: int) -> tuple[Any, ...] | None:
    try:
        row = msgpack.unpackb(value, use_list=False)
    except (ValueError, TypeError, msgpack.UnpackException):
        row = None
    if type(row) is not tuple or len(row) not in lengths or row[0] != _VERSION:
        logger.warning("A record of a worker is passed over: it makes no sense here")
        return None
    return row


class Recorder(SchedulerPlugin):
    """Writes it down while its scheduler leads.

    Parameters
    ----------
    long_s
        For how long an attempt must have run to be written down.
    soon
        Calls something when Dask is in the middle of nothing.
    """

    name = "dtf-takeover-records"

    def __init__(
        self,
        scheduler: Scheduler,
        durability: Durability,
        *,
        long_s: float,
        soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._scheduler, self._durability = scheduler, durability
        self._long_s, self._soon = long_s, soon
        self._written = dict(durability.records(WORKERS))
        self._leased: dict[Key, str] = {
            leased.key: name for name, leased in leased_attempts(durability).items()
        }
        self._counted: dict[Key, None] = {}
        self._actors: dict[Key, str] = {
            key: name for name, (key, _) in made_actors(durability).items()
        }

    # -- hooks of Dask, which swallows what they raise --------------------------------

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """A worker came."""
        ws = scheduler.workers[worker]
        known = Known(worker, ws.server_id, dask_links.registered(ws))
        try:
            packed = pack_known(known)
        except (TypeError, ValueError, OverflowError):  # a name of a user's own type
            return
        if len(packed) > _KNOWN_BYTES_MAX:
            return  # it will not be called, and has to come by itself
        name = WORKERS + worker
        if self._written.get(name) != packed:
            self._written[name] = packed
            self._durability.keep_lazily({name: packed})

    def remove_worker(self, scheduler: Scheduler, worker: str, **more: Any) -> None:
        """A worker went."""
        if self._written.pop(WORKERS + worker, None) is not None:
            self._durability.keep_lazily({WORKERS + worker: None})

    def transition(
        self, key: Any, start: str, finish: str, *args: Any, **more: Any
    ) -> None:
        """A task was moved."""
        if start == "processing":
            if key in self._leased:
                self._durability.keep_lazily({self._leased.pop(key): None})
            if finish not in ("memory", "erred"):
                self.count(key)
                dask_takeover.stop_making(self._scheduler, key)
        if finish == "memory":
            self._actor_made(key)
        elif key in self._actors:
            self._durability.keep_lazily({self._actors.pop(key): None})
        known = str(more.get("stimulus_id")).startswith(dask_takeover.KNOWN_ERRED)
        if finish == "erred" and not known:
            self._erred(key)

    # -- what is written ------------------------------------------------------------

    def beats(self, address: str) -> None:
        """A worker said what it is at."""
        ws = self._scheduler.workers[address]
        for ts, ran in ws.executing.items():
            if ran < self._long_s or ts.key in self._leased or ts not in ws.processing:
                continue
            name = self._leased[ts.key] = LEASES + _digest(ts.key)
            attempt = ts.run_id or 0, float(ran), dask_takeover.made_of(ts)
            leased = Leased(ts.key, address, ws.server_id, *attempt)
            self._durability.keep_lazily({name: pack_leased(leased)})

    def forget_absent(self, address: str) -> None:
        """One of those who were there before does not come back."""
        if self._written.pop(WORKERS + address, None) is not None:
            self._durability.keep_lazily({WORKERS + address: None})

    def _actor_made(self, key: Any) -> None:
        ts = self._scheduler.tasks.get(key)
        if ts is not None and ts.actor and key not in self._actors:
            name = self._actors[key] = ACTORS + _digest(key)
            packed = msgpack.packb((_VERSION, key, dask_takeover.made_of(ts)))
            self._durability.keep_lazily({name: packed})

    def _erred(self, key: Key) -> None:
        words = dask_takeover.error_words(self._scheduler, key, _ERROR_BYTES_MAX)
        if words is None:
            return  # it failed for another, which is written down
        self._append(ERRED, key, key, words)

    def count(self, key: Key) -> None:
        """A task is to be tried again."""
        if not self._counted:
            self._soon(self._write_counts)
        self._counted[key] = None

    def _write_counts(self) -> None:
        counted, self._counted = self._counted, {}
        rows = dask_takeover.counts(self._scheduler, counted)
        if rows:
            columns = tuple(zip(*rows, strict=True))
            self._append(COUNTS, rows[0][0], *columns)

    def _append(self, kind: int, key: Key, *body: Any) -> None:
        try:
            self._durability.append(encode_operation(kind, "", *body))
        except UsageError as error:
            logger.warning("Not written down of task %s: %s", shown(key), error)

"""What the engine has learned and was told, as records of the ledger: it outlives both.

A scheduler that may die keeps it here, and not in a results store: the ledger is where
whoever takes over looks, and has it at once. Small records, each of one thing, are
written when they change, at most every few seconds; what clients were told is changed
is written before they hear it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import msgpack

from dtf_dask.durable.successor import Records
from dtf_dask.scheduler_plugins.adapter.governed import Key
from dtf_dask.scheduler_plugins.adapter.holding import Holding
from dtf_dask.scheduler_plugins.policies.breaker_terms import Kept
from dtf_dask.scheduler_plugins.policies.learned import sensible

logger = logging.getLogger(__name__)

PREFIX = "x/engine/"
INTERVAL_S = 5.0
LEARNED_MAX = 5_000
"""Names of which durations are kept; beyond it those go that were learned of first."""
ROWS_MAX = 5_000
"""Tasks of which it is kept what became of them so far."""
AT_ONCE_MAX = 500
_LEARNED, _BREAKER, _TRIED, _GANG, _URGENT = "l", "b", "t", "g", "u"


class Keeping:
    """One scheduler's."""

    def __init__(self, records: Records, holding: Holding) -> None:
        self._records, self._holding = records, holding
        self._memory = holding.engine.memory
        self._learned: dict[str, tuple[list[Any], list[float]]] = {}
        self._changed: dict[str, None] = {}  # of these, what is not written yet
        self._said: dict[str, Any] = {}  # of all others, as they were written last
        self._urgent: dict[str, Key] = {}
        self._timer: Any = None

    # -- what was kept -----------------------------------------------------------

    def recall(self) -> dict[Key, bool]:
        """Take over what was kept; returns what is known of tasks of gangs."""
        readers: dict[str, Callable[[str, Any], object]] = {
            _LEARNED: self._recall_learned,
            _BREAKER: self._recall_breaker,
            _TRIED: self._recall_tried,
            _URGENT: self._recall_urgent,
        }
        gangs: dict[Key, bool] = {}
        bad = 0
        for name, value in self._records.records(PREFIX):
            kind = name.removeprefix(PREFIX)[:1]
            try:
                row = msgpack.unpackb(value, use_list=False, strict_map_key=False)
                if kind == _GANG:
                    key, broken = row
                    gangs[key] = bool(broken)
                    self._said[name] = (bool(broken),)
                elif kind in readers:
                    readers[kind](name, row)
            except Exception as error:  # another version's, or damaged
                logger.debug("%s: %s", name, error)
                bad += 1
        if bad:
            logger.warning(
                "%d records of the scheduler that led before cannot be read", bad
            )
        return gangs

    def _recall_learned(self, name: str, row: Any) -> None:
        found = sensible(row)
        if found is None:
            raise ValueError(f"{row!r} is nothing that can be learned")
        holding = self._holding
        self._memory.recall([found], holding.clock(), holding.wall())
        about = [found.kind, found.name, found.group]
        self._learned[name] = about, list(found.numbers)

    def _recall_breaker(self, name: str, row: Any) -> None:
        test, place, state, openings, at_s, reason = row
        left_s = at_s - self._holding.wall() if state != "half-open" else 0.0
        kept = Kept(test, place, state, openings, left_s, reason)
        self._memory.recall_breakers([kept], self._holding.clock())
        self._said[name] = (state, openings, reason)

    def _recall_tried(self, name: str, row: Any) -> None:
        key, attempts, avoid, kills = row
        task = self._holding.tasks.get(key)
        if task is not None:
            task.attempts, task.avoid = attempts, frozenset(avoid)
            if kills:
                self._memory.recall_kills(key, kills)
            self._holding.tried[key] = task
        self._said[name] = (attempts, tuple(avoid), kills)

    def _recall_urgent(self, name: str, row: Any) -> None:
        key, changes = row
        holding = self._holding
        self._urgent[name], self._said[name] = key, changes
        task = holding.tasks.get(key)
        if task is not None:
            own = dict(changes)
            if own.get("deadline") is not None:
                own["deadline"] += holding.clock() - holding.wall()
            task.ask = replace(task.ask, **own)

    # -- what is kept ------------------------------------------------------------

    def start(self) -> None:
        """Write down what changes from now on."""
        self._memory.take(self._holding.clock())  # from now on it notes
        self._timer = self._holding.later(INTERVAL_S, self.tick)

    def close(self) -> None:
        """Nothing is written any more."""
        if self._timer is not None:
            self._timer.cancel()

    def tick(self) -> None:
        """Write down what has changed."""
        self._write()
        self._timer = self._holding.later(INTERVAL_S, self.tick)

    async def urgent(self, keys: Iterable[Key], changes: Mapping[str, Any]) -> None:
        """Write down that these tasks are more or less urgent than they were."""
        said = dict(changes)
        if said.get("deadline") is not None:
            said["deadline"] += self._holding.wall() - self._holding.clock()
        written: dict[str, bytes | None] = {}
        for key in keys:
            name = _name(_URGENT, key)
            before = self._said.get(name, {})
            self._urgent[name], self._said[name] = key, {**before, **said}
            written[name] = msgpack.packb((key, self._said[name]))
        if written:
            await self._records.keep(written)

    def _write(self) -> None:
        holding = self._holding
        written: dict[str, bytes | None] = {}
        self._note_learned(written)
        now, wall = holding.clock(), holding.wall()
        small: dict[str, tuple[Any, Any]] = {}
        for one in self._memory.breakers(now):
            said = one.state, one.openings, one.reason
            row = (*one[:4], wall + one.left_s, one.reason)
            small[_name(_BREAKER, one[:2])] = said, row
        for key, broken in self._memory.gangs().items():
            small[_name(_GANG, key)] = (broken,), (key, broken)
        small.update(self._tried())
        for name, (said, row) in small.items():
            if self._said.get(name) != said and len(written) < AT_ONCE_MAX:
                self._said[name] = said
                written[name] = msgpack.packb(row)
        for name in [one for one in self._said if one not in small]:
            key = self._urgent.get(name)
            if key is not None and key in holding.tasks:
                continue
            del self._said[name]
            self._urgent.pop(name, None)
            written[name] = None
        if written:
            self._records.keep_lazily(written)

    def _tried(self) -> dict[str, tuple[Any, Any]]:
        """Tasks that failed, or were ended for others, and are not over."""
        holding, kills = self._holding, self._memory.kills()
        tried = holding.tried
        for key in [k for k, task in tried.items() if holding.tasks.get(k) is not task]:
            del tried[key]
        rows: dict[str, tuple[Any, Any]] = {}
        for key in [*tried, *(key for key in kills if key not in tried)][:ROWS_MAX]:
            task = holding.tasks.get(key)
            if task is not None and (task.attempts or task.avoid or key in kills):
                said = task.attempts, tuple(sorted(task.avoid)), kills.get(key, 0)
                rows[_name(_TRIED, key)] = said, (key, *said)
        return rows

    def _note_learned(self, written: dict[str, bytes | None]) -> None:
        """What was learned since, but no more at once than is small."""
        additions = self._memory.take(self._holding.clock())
        for kind, name, group, numbers, kept in additions.first(len(additions)):
            record = _name(_LEARNED, (kind, name, group))
            about, known = self._learned.pop(record, ([kind, name, group], []))
            self._learned[record] = about, [*known, *numbers][-kept:]
            self._changed[record] = None
            if len(self._learned) > LEARNED_MAX:
                oldest = next(iter(self._learned))
                del self._learned[oldest]
                self._changed[oldest] = None
        for record in list(self._changed)[:AT_ONCE_MAX]:
            del self._changed[record]
            row = self._learned.get(record)
            written[record] = row and msgpack.packb(
                (*row[0], row[1], self._holding.wall())
            )


def _name(kind: str, about: Any) -> str:
    packed: bytes = msgpack.packb(about)
    return f"{PREFIX}{kind}/{hashlib.blake2b(packed, digest_size=12).hexdigest()}"

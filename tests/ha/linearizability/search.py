"""Is there an order that explains what clients saw? A search with bounds.

A history is linearizable if its operations can be put in one order in which every
result is right, and which contradicts no clock: what returned before another was called
comes before it. Keys are independent, so each is searched alone.

The search is that of Wing and Gong (1993) with Lowe's two savings (2017). It walks over
the returns in the order of time and places operations only when one that returns must
be placed by then. What it remembers is a number and a state: which of the operations
that are under way have been placed, a bit for each. No way is walked twice.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from linearizability.models import ILLEGAL, Model
from linearizability.operation import Operation

_LOOK_AT_CLOCK_EVERY = 512
_WAYS_SHOWN_MAX = 4

Path = tuple[Operation, "Path"] | None


@dataclass(frozen=True, slots=True)
class Linearizable:
    """Yes: for each key an order that explains all that was seen."""

    orders: dict[Hashable, list[Operation]] = field(repr=False)

    def __str__(self) -> str:
        return f"linearizable, {len(self.orders)} keys"


@dataclass(frozen=True, slots=True)
class Furthest:
    """One of the orders that explain all but the last return, and where it ends."""

    order: list[Operation]
    state: Any
    pending: list[Operation]


@dataclass(frozen=True, slots=True)
class NotLinearizable:
    """No: the shortest part of one key's history that has no order.

    Up to the return before that of ``culprit`` there is an order; no order of
    ``operations``, those that had been called when it returned, explains its result
    too.
    ``furthest`` are some of the orders that lack only that.
    """

    key: Hashable
    culprit: Operation
    operations: list[Operation] = field(repr=False)
    furthest: list[Furthest] = field(repr=False)

    def __str__(self) -> str:
        lines = [
            f"not linearizable: key {self.key!r}, {len(self.operations)} operations up"
            f" to the return of",
            f"  {self.culprit}",
        ]
        for way in self.furthest:
            lines.append(f"an order of those before it ends in state {way.state!r}:")
            skipped = len(way.order) - 10
            lines += [f"  ... {skipped} before"] if skipped > 0 else []
            lines += [f"  {one}" for one in way.order[-10:]]
            lines += [f"  not placed: {one}" for one in way.pending]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Undecided:
    """Nobody knows: the search of these keys ended before it found out."""

    keys: list[Hashable]
    reason: str

    def __str__(self) -> str:
        return f"unknown: {self.reason} (keys {', '.join(map(repr, self.keys))})"


Verdict = Linearizable | NotLinearizable | Undecided


def check(
    history: Iterable[Operation],
    model: Model,
    *,
    limit_s: float = 60.0,
    ways_max: int = 3_000_000,
    clock: Callable[[], float] = time.monotonic,
) -> Verdict:
    """Whether a history is linearizable, or that it could not be found out.

    Parameters
    ----------
    history : iterable of Operation
        In any order. Equal times count as overlapping.
    model : Model
        What the object of each key does.
    limit_s : float
        When to give up, for all keys together.
    ways_max : int
        How many ways are remembered before a key is given up: 200 to 500 bytes each.

    Examples
    --------
    >>> write = Operation("a", "write", "x", 1, None, called=0, returned=1)
    >>> stale = Operation("b", "read", "x", None, None, called=2, returned=3)
    >>> print(check([write, stale], Register()))
    not linearizable: key 'x', 2 operations up to the return of
      [2..3] client b: read -> None
    an order of those before it ends in state 1:
      [0..1] client a: write 1 -> None
      not placed: [2..3] client b: read -> None
    """
    by_key: dict[Hashable, list[Operation]] = defaultdict(list)
    for operation in history:
        by_key[operation.key].append(operation)
    ends_at = clock() + limit_s
    orders: dict[Hashable, list[Operation]] = {}
    given_up: dict[Hashable, str] = {}
    # Short ones first: what is decided cheaply should not wait for what is not.
    for key, operations in sorted(by_key.items(), key=lambda item: len(item[1])):
        search = _Search(key, model.effective(operations), model)
        found = search.run(ways_max, lambda: clock() > ends_at, foresee=True)
        if isinstance(found, NotLinearizable):
            # That search leaves ways early, so where it ended says little. If the other
            # one cannot tell in time, all operations together have no order.
            plain = search.run(ways_max, lambda: clock() > ends_at, foresee=False)
            if isinstance(plain, NotLinearizable):
                return plain
            return replace(found, operations=search.operations)
        if isinstance(found, str):
            given_up[key] = found
        else:
            orders[key] = found
    if given_up:
        return Undecided(list(given_up), "; ".join(sorted(set(given_up.values()))))
    return Linearizable(orders)


class _Search:
    """The search of one key."""

    def __init__(
        self, key: Hashable, operations: Sequence[Operation], model: Model
    ) -> None:
        self.key = key
        self.model = model
        self.operations = sorted(operations, key=lambda one: one.called)
        # For each return, in order: whose it is, its bit, and who is under way then.
        self.returns: list[tuple[Operation, int]] = []
        self.reads: list[list[tuple[int, Operation]]] = []
        self.writes: list[list[tuple[int, Operation, int]]] = []
        self._lay_out()

    def _lay_out(self) -> None:
        events = [(one.called, 0, n) for n, one in enumerate(self.operations)]
        events += [
            (one.returned, 1, n)
            for n, one in enumerate(self.operations)
            if one.returned is not None
        ]
        under_way: dict[int, int] = {}  # operation -> its bit
        free: list[int] = []
        # Alike and of unknown outcome, operations are placed as they were called: any
        # other order of them explains the same.
        alike: dict[tuple[str, str], int] = {}
        only_after: dict[int, int] = {}
        for _, is_return, n in sorted(events):
            one = self.operations[n]
            if not is_return:
                bit = free.pop() if free else 1 << len(under_way)
                under_way[n] = bit
                if one.returned is None:
                    same = (one.kind, repr(one.argument))
                    only_after[n] = alike.get(same, 0)
                    alike[same] = bit
                continue
            self.returns.append((one, under_way[n]))
            reads, writes = [], []
            for other, bit in under_way.items():
                what = self.operations[other]
                if self.model.only_reads(what):
                    reads.append((bit, what))
                elif other != n:
                    writes.append((bit, what, only_after.get(other, 0)))
            # Tried from the last: first what must return soon, then what never did.
            writes.sort(key=lambda w: -_return_time(w[1]))
            self.reads.append(reads)
            self.writes.append(writes)
            free.append(under_way.pop(n))

    def run(
        self, ways_max: int, out_of_time: Callable[[], bool], *, foresee: bool
    ) -> list[Operation] | NotLinearizable | str:
        """An order, the shortest part without one, or why the search ended."""
        step, returns = self.model.step, self.returns
        last_seen = self.model.last_seen(self.operations) if foresee else {}
        seen: set[tuple[int, int, Any]] = set()
        stack: list[tuple[int, int, Any, Path]] = [(0, 0, self.model.initial, None)]
        furthest = -1
        ways: list[tuple[int, Any, Path]] = []
        steps = 0
        while stack:
            steps += 1
            if steps % _LOOK_AT_CLOCK_EVERY == 0 and out_of_time():
                return "out of time"
            at, placed, state, path = stack.pop()
            at, placed, path = self._advance(at, placed, state, path)
            if at == len(returns):
                return _unwound(path)
            if (at, placed, state) in seen:
                continue
            if len(seen) >= ways_max:
                return "out of memory"
            seen.add((at, placed, state))
            if at > furthest:
                furthest, ways = at, []
            if at == furthest and len(ways) < _WAYS_SHOWN_MAX:
                ways.append((placed, state, path))
            # Whoever reads this state and is yet to be called would never see it.
            needed = last_seen.get(state, -1.0) > (returns[at][0].returned or 0.0)
            for bit, one, only_after in self.writes[at]:
                if placed & bit or (only_after and not placed & only_after):
                    continue
                after = step(state, one)
                if after is ILLEGAL or (one.returned is None and after == state):
                    continue
                if needed and after != state:
                    continue
                stack.append((at, placed | bit, after, (one, path)))
            target, bit = returns[at]
            after = step(state, target)
            if after is not ILLEGAL and not (needed and after != state):
                stack.append((at, placed | bit, after, (target, path)))
        return self._refusal(furthest, ways)

    def _advance(
        self, at: int, placed: int, state: Any, path: Path
    ) -> tuple[int, int, Path]:
        """Past returns of what is placed. A read is placed as soon as it is right."""
        returns = self.returns
        while at < len(returns):
            for bit, one in self.reads[at]:
                if not placed & bit and self.model.step(state, one) is not ILLEGAL:
                    placed |= bit
                    path = (one, path)
            bit = returns[at][1]
            if not placed & bit:
                break
            placed &= ~bit
            at += 1
        return at, placed, path

    def _refusal(self, at: int, ways: list[tuple[int, Any, Path]]) -> NotLinearizable:
        culprit = self.returns[at][0]
        assert culprit.returned is not None
        called = [one for one in self.operations if one.called <= culprit.returned]
        furthest = []
        for _, state, path in ways:
            order = _unwound(path)
            done = {id(one) for one in order}
            pending = [one for one in called if id(one) not in done]
            furthest.append(Furthest(order, state, pending))
        return NotLinearizable(self.key, culprit, called, furthest)


def _return_time(operation: Operation) -> float:
    return float("inf") if operation.returned is None else operation.returned


def _unwound(path: Path) -> list[Operation]:
    order = []
    while path is not None:
        one, path = path
        order.append(one)
    return order[::-1]

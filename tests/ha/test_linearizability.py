"""The linearizability checker: believed because of what it says where it is known."""

from __future__ import annotations

import csv
import doctest
import itertools
import random
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linearizability import search
from linearizability.models import ILLEGAL, Model, Register, StringStore
from linearizability.operation import Operation
from linearizability.recorded import register_history, store_history
from linearizability.search import Linearizable, NotLinearizable, Undecided, check

RECORDED = Path(__file__).resolve().parents[3] / "shared/linearizability-histories"
needs_recorded = pytest.mark.skipif(
    not RECORDED.is_dir(),
    reason="the recorded histories of porcupine are not beside this checkout",
)


def op(
    client: str,
    kind: str,
    argument: Any,
    result: Any,
    called: float,
    returned: float | None,
    key: Hashable = "x",
) -> Operation:
    return Operation(client, kind, key, argument, result, called, returned)


def replay(order: Sequence[Operation], model: Model) -> bool:
    """Whether every result of an order is right."""
    state: Any = model.initial
    for one in order:
        state = model.step(state, one)
        if state is ILLEGAL:
            return False
    return True


def keeps_real_time(order: Sequence[Operation]) -> bool:
    """Whether nothing comes before what returned before it was called."""
    return not any(
        later.returned is not None and later.returned < earlier.called
        for n, earlier in enumerate(order)
        for later in order[n + 1 :]
    )


def brute_force(operations: Sequence[Operation], model: Model) -> bool:
    """Every subset of what may not have happened, in every order."""
    certain = [one for one in operations if one.returned is not None]
    unknown = [one for one in operations if one.returned is None]
    return any(
        keeps_real_time(order) and replay(order, model)
        for size in range(len(unknown) + 1)
        for chosen in itertools.combinations(unknown, size)
        for order in itertools.permutations([*certain, *chosen])
    )


def certain_and_maybe(operations: Sequence[Operation]) -> tuple[set[int], set[int]]:
    certain = {id(one) for one in operations if one.returned is not None}
    return certain, {id(one) for one in operations}


@needs_recorded
def test_recorded_register_histories() -> None:
    """All of Jepsen's histories of a register are judged as expected."""
    expected_lines = (RECORDED / "etcd/expected.csv").read_text().splitlines()
    rows = list(csv.DictReader(expected_lines))
    wrong = []
    for row in rows:
        lines = (RECORDED / "etcd" / row["history"]).read_text().splitlines()
        verdict = check(register_history(lines), Register(), limit_s=20)
        expected = Linearizable if row["linearizable"] == "true" else NotLinearizable
        if not isinstance(verdict, expected):
            wrong.append((row, str(verdict)))
    assert wrong == []
    assert len(rows) == 69


@needs_recorded
@pytest.mark.parametrize("name", ["c01", "c10", "c50"])
@pytest.mark.parametrize("ending", ["ok", "bad"])
def test_recorded_store_histories(name: str, ending: str) -> None:
    """Histories of 1, 10 and 50 clients of a string store are judged as their names."""
    lines = (RECORDED / f"kv/{name}-{ending}.txt").read_text().splitlines()
    history = store_history(lines)
    verdict = check(history, StringStore(), limit_s=50)
    assert isinstance(verdict, Linearizable if ending == "ok" else NotLinearizable)
    if isinstance(verdict, Linearizable):
        for order in verdict.orders.values():
            assert keeps_real_time(order)
            assert replay(order, StringStore())
        assert sum(map(len, verdict.orders.values())) == len(history)


VALUES = st.integers(0, 2)


@st.composite
def register_operations(draw: st.DrawFn) -> list[Operation]:
    found = []
    for n in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["read", "write", "cas"]))
        called = draw(st.integers(0, 8))
        returned = draw(st.none() | st.integers(called, 9))
        argument: Any = None
        result: Any = None
        if kind == "read":
            result = draw(st.none() | VALUES)
        elif kind == "write":
            argument = draw(VALUES)
        else:
            argument, result = (draw(VALUES), draw(VALUES)), draw(st.booleans())
        if returned is None:
            result = None
        found.append(op(f"c{n}", kind, argument, result, called, returned))
    return found


@st.composite
def store_operations(draw: st.DrawFn) -> list[Operation]:
    found = []
    for n in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["get", "put", "append"]))
        called = draw(st.integers(0, 8))
        returned = draw(st.none() | st.integers(called, 9))
        text = draw(st.text("ab", max_size=2))
        argument, result = (None, text) if kind == "get" else (text, None)
        if returned is None:
            result = None
        found.append(op(f"c{n}", kind, argument, result, called, returned))
    return found


def agrees_with_brute_force(operations: list[Operation], model: Model) -> None:
    verdict = check(operations, model)
    assert isinstance(verdict, Linearizable) == brute_force(operations, model), verdict
    if isinstance(verdict, Linearizable):
        (order,) = verdict.orders.values()
        assert keeps_real_time(order)
        assert replay(order, model)
        certain, all_of_them = certain_and_maybe(operations)
        placed = {id(one) for one in order}
        assert certain <= placed <= all_of_them
        return
    assert isinstance(verdict, NotLinearizable)
    # What it shows is no order by itself, and all up to the return before has one.
    assert not brute_force(verdict.operations, model)
    at = verdict.culprit.returned
    assert at is not None
    assert {id(one) for one in verdict.operations} <= {id(one) for one in operations}
    assert verdict.furthest
    for way in verdict.furthest:
        assert keeps_real_time(way.order)
        assert replay(way.order, model)
        placed = {id(one) for one in way.order}
        assert id(verdict.culprit) not in placed
        assert all(
            id(one) in placed
            for one in operations
            if one.returned is not None and one.returned < at
        )


@settings(max_examples=250)
@given(register_operations())
def test_registers_as_brute_force(operations: list[Operation]) -> None:
    """On tiny histories of a register the search says what trying all orders says."""
    agrees_with_brute_force(operations, Register())


@settings(max_examples=250)
@given(store_operations())
def test_stores_as_brute_force(operations: list[Operation]) -> None:
    """On tiny histories of a string the search says what trying all orders says."""
    agrees_with_brute_force(operations, StringStore())


def made_up(
    seed: int, size: int, *, keys: int, clients: int, unknown: float
) -> list[Operation]:
    """A linearizable history: each operation takes effect somewhere in its time."""
    rng = random.Random(seed)
    free_at = [0.0] * clients
    asked = []
    for n in range(size):
        client = min(range(clients), key=free_at.__getitem__)
        called = free_at[client] + rng.random() * 0.1
        at = called + rng.expovariate(1)
        returned: float | None = at + rng.expovariate(1)
        assert returned is not None
        free_at[client] = returned
        write = rng.random() < 0.5
        if write and rng.random() < unknown:
            at = at if rng.random() < 0.5 else float("inf")
            returned = None
        asked.append((at, client, rng.randrange(keys), n, write, called, returned))
    values: dict[int, int | None] = {}
    history = []
    for at, client, key, n, write, called, returned in sorted(asked):
        kind, argument, result = "read", None, values.get(key)
        if write:
            kind, argument, result = "write", n, None
            if at != float("inf"):
                values[key] = n
        history.append(op(f"c{client}", kind, argument, result, called, returned, key))
    return history


def test_a_long_live_history() -> None:
    """20,000 operations, some of unknown outcome, are judged in seconds."""
    history = made_up(1, 20_000, keys=20, clients=20, unknown=0.04)
    assert sum(one.returned is None for one in history) > 200
    assert isinstance(check(history, Register(), limit_s=30), Linearizable)


def test_one_stale_read_in_a_long_history_is_found() -> None:
    """A single read of what was overwritten before it began makes the answer no."""
    history = made_up(2, 4_000, keys=5, clients=10, unknown=0.02)
    history.sort(key=lambda one: one.called)
    reads = [one for one in history if one.kind == "read" and one.called > 100]
    stale = reads[len(reads) // 2]
    earlier = [
        one.result
        for one in history
        if one.key == stale.key
        and one.kind == "read"
        and one.result is not None
        and one.returned is not None
        and one.returned < stale.called - 50
    ]
    history[history.index(stale)] = op(
        str(stale.client),
        "read",
        None,
        earlier[-1],
        stale.called,
        stale.returned,
        stale.key,
    )
    verdict = check(history, Register(), limit_s=30)
    assert isinstance(verdict, NotLinearizable)
    assert verdict.key == stale.key
    assert verdict.culprit.called == stale.called


def test_keys_are_independent() -> None:
    """Each key is searched alone, and the answer names the one that has no order."""
    history = [
        op("a", "write", 1, None, 0, 1, key="good"),
        op("a", "write", 1, None, 2, 3, key="bad"),
        op("b", "read", None, 1, 4, 5, key="good"),
        op("b", "read", None, None, 4, 5, key="bad"),
    ]
    verdict = check(history, Register())
    assert isinstance(verdict, NotLinearizable)
    assert verdict.key == "bad"
    assert isinstance(check(history[::2], Register()), Linearizable)


def test_a_no_shows_what_has_no_order() -> None:
    """The text names the operation that cannot be placed, and what was before it."""
    history = [
        op("a", "write", 1, None, 0, 1),
        op("a", "write", 2, None, 2, 3),
        op("b", "read", None, 1, 4, 5),
        op("b", "read", None, 7, 6, 7),
    ]
    verdict = check(history, Register())
    assert isinstance(verdict, NotLinearizable)
    assert str(verdict).splitlines() == [
        "not linearizable: key 'x', 3 operations up to the return of",
        "  [4..5] client b: read -> 1",
        "an order of those before it ends in state 2:",
        "  [0..1] client a: write 1 -> None",
        "  [2..3] client a: write 2 -> None",
        "  not placed: [4..5] client b: read -> 1",
    ]


def hard_history() -> list[Operation]:
    """Twelve appends at once, and then a read of what they cannot have made."""
    history = [op(f"c{n}", "append", f"{n:x}", None, 0, 10) for n in range(12)]
    return [*history, op("r", "get", None, "nothing of it", 11, 12)]


def test_it_gives_up_in_time() -> None:
    """Out of time it says so, whatever remains to be searched."""
    now = itertools.count()
    verdict = check(hard_history(), StringStore(), limit_s=3, clock=lambda: next(now))
    assert verdict == Undecided(["x"], "out of time")


def test_it_gives_up_before_memory_ends() -> None:
    """It remembers no more ways than it may, and says that it gave up."""
    verdict = check(hard_history(), StringStore(), ways_max=1_000)
    assert verdict == Undecided(["x"], "out of memory")
    assert str(verdict) == "unknown: out of memory (keys 'x')"


def test_a_no_counts_even_if_other_keys_are_undecided() -> None:
    """One key without an order is enough."""
    late = [op("a", "append", "a", None, 20 + n, 20 + n, key="bad") for n in range(20)]
    wrong = op("b", "get", None, "", 60, 61, key="bad")
    history = [*hard_history(), *late, wrong]
    verdict = check(history, StringStore(), ways_max=1_000)
    assert isinstance(verdict, NotLinearizable)
    assert verdict.key == "bad"


def test_the_example_is_true() -> None:
    """What the documentation of `check` shows is what it does."""
    names = {"Operation": Operation, "Register": Register}
    ran = doctest.testmod(search, extraglobs=names)
    assert (ran.failed, ran.attempted > 0) == (0, True)


@pytest.mark.parametrize("line", ["", "INFO  jepsen.util - x :ok :read 1", "{}"])
def test_what_is_no_history_is_refused(line: str) -> None:
    """A line that cannot be read is an error, never an operation less."""
    with pytest.raises(ValueError, match="not a line"):
        register_history([line])
    with pytest.raises(ValueError, match="not a line"):
        store_history([line])


@pytest.mark.parametrize("model", [Register(), StringStore()])
def test_unknown_kinds_are_refused(model: Model) -> None:
    """A model says so if it is asked for what it does not know."""
    with pytest.raises(ValueError, match="knows no 'pop'"):
        check([op("a", "pop", None, None, 0, 1)], model)

"""What schedulers remember in a results store: added to, bounded, and read as it is."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import pytest
import sqlalchemy as sa

from dtf_dask.model import CaseId, Run, RunId
from dtf_dask.runs.results import engine as engines
from dtf_dask.runs.results import learned, schema
from dtf_dask.runs.results.store import ResultsStore

ODD = "\0 \ud800 [é] '\"%" + "x" * 1000


def all_of(store: ResultsStore) -> list[tuple[Any, ...]]:
    """Every row without its time, in the order in which they are read."""
    return [row[:4] for page in store.remembered() for row in page]


def test_numbers_are_added_to_what_is_there(store: ResultsStore) -> None:
    """The newest stay, as many as the row says; a row of another machine is another."""
    store.remember(
        [("runs", "a", "pc", [1.0, 2.0], 3), ("runs", "a", "mac", [9], 3)], 1
    )
    store.remember([("runs", "a", "pc", [3.5, 4.0], 3)], 2)
    assert all_of(store) == [
        ("runs", "a", "mac", [9]),
        ("runs", "a", "pc", [2.0, 3.5, 4.0]),
    ]


def test_any_name_comes_back(store: ResultsStore) -> None:
    """NUL, lone surrogates and long names, and no two of them are one row."""
    names = [ODD, ODD[:-1], "", "a b", "a"]
    rows = [("runs", name, "pc", [1.0], 9) for name in names]
    rows += [("runs", "a", "b pc", [1.0], 9), ("tenant", "a", "", [2.0], 1)]
    store.remember(rows, 1.0)
    assert sorted(all_of(store), key=repr) == sorted(
        [(kind, name, where, [*numbers]) for kind, name, where, numbers, _ in rows],
        key=repr,
    )


def test_two_schedulers_both_have_their_say(url: str) -> None:
    """Each adds to the same rows, in orders of its own; no addition is lost."""
    names = [f"n{number}" for number in range(1200)]
    writers = 3

    def write(number: int, order: Iterable[str]) -> None:
        with ResultsStore.open(url) as store:
            for turn in range(4):
                value = float(number * 10 + turn)
                store.remember([("runs", n, "pc", [value], 31) for n in order], value)

    ResultsStore.open(url).close()
    orders = (names, names[::-1], names[600:] + names[:600])
    threads = [
        threading.Thread(target=write, args=one) for one in enumerate(orders[:writers])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with ResultsStore.open(url) as store:
        found = all_of(store)
    assert len(found) == len(names)
    expected = {float(n * 10 + turn) for n in range(writers) for turn in range(4)}
    for _, _, _, numbers in found:
        assert len(numbers) == len(expected)
        assert set(numbers) == expected


def test_what_was_added_to_longest_ago_goes(
    store: ResultsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is bounded; what is new, and what was touched, stays."""
    monkeypatch.setattr(learned, "ROWS_MAX", 10)
    store.remember([("runs", f"old{n}", "pc", [1.0], 9) for n in range(10)], 1.0)
    store.remember([("runs", "old3", "pc", [2.0], 9)], 2.0)
    store.remember([("runs", f"new{n}", "pc", [1.0], 9) for n in range(9)], 3.0)
    names = [name for _, name, _, _ in all_of(store)]
    assert names[0] == "old3"
    assert sorted(names[1:]) == [f"new{n}" for n in range(9)]


def test_no_more_is_read_than_the_bound(
    store: ResultsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that others filled costs no more than a full one: the newest are read."""
    for at in range(6):
        store.remember([("runs", f"n{at}", "pc", [1.0], 9)], float(at))
    monkeypatch.setattr(learned, "ROWS_MAX", 4)
    assert [name for _, name, _, _ in all_of(store)] == ["n2", "n3", "n4", "n5"]


def test_rows_come_in_pages(store: ResultsStore) -> None:
    """No more than a page is in memory at a time, and none is lost between."""
    count = 2 * learned.PAGE_ROWS + 7
    store.remember([("runs", f"n{n}", "pc", [1.0], 9) for n in range(count)], 1.0)
    pages = [len(page) for page in store.remembered()]
    assert pages == [learned.PAGE_ROWS, learned.PAGE_ROWS, 7]


def test_damaged_rows_are_read_as_they_are(store: ResultsStore) -> None:
    """Whoever uses them can refuse them one by one: none fails the reading."""
    texts = ["", "no json", "[" * 7000, "[1," * 50_000, '{"a":1}', "[NaN, 1e999]"]
    with store._writer.begin() as connection:
        for number, text in enumerate(texts):
            connection.execute(
                sa.insert(schema.learned),
                {
                    "digest": bytes([number]),
                    "kind": "runs",
                    "name": "x" * 100_000,
                    "hardware": "pc",
                    "numbers": text,
                    "used_at": float("-inf") if number else -1.0,
                },
            )
    store.remember([("runs", "good", "pc", [1.0], 9)], 1.0)
    found = all_of(store)
    assert len(found) == len(texts) + 1
    assert found[-1] == ("runs", "good", "pc", [1.0])
    assert all(len(name) <= learned.TEXT_LENGTH_MAX for _, name, _, _ in found)


def test_columns_of_other_types_are_read_as_they_are(tmp_path: Any) -> None:
    """SQLite lets anybody put anything anywhere."""
    with ResultsStore.open(tmp_path / "results.sqlite") as store:
        store.remember([("runs", "good", "pc", [1.0], 9)], 1.0)
        with store._writer.begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO dtf_learned VALUES (x'00', 7, x'ff', 1.5, x'fe', 'soon')"
            )
        assert ("runs", "good", "pc", [1.0]) in all_of(store)
        assert len(all_of(store)) == 2


def test_what_is_damaged_is_not_built_upon(store: ResultsStore) -> None:
    """A row with an odd number is whole again once something is added to it."""
    store.remember([("runs", "a", "pc", [1.0], 9)], 1.0)
    with store._writer.begin() as connection:
        connection.execute(
            sa.update(schema.learned).values(numbers='[2.0, "x", NaN, null, true]')
        )
    store.remember([("runs", "a", "pc", [3.0], 9)], 1.0)
    assert all_of(store) == [("runs", "a", "pc", [2.0, 3.0])]


def test_a_store_of_the_first_revision_gets_the_table_and_keeps_its_runs(
    url: str,
) -> None:
    """What was recorded before schedulers remembered is all there, and they can."""
    parsed = engines.database_url(url)
    old = (
        engines._sqlite_engine(parsed, 1.0)
        if parsed.get_backend_name() == "sqlite"
        else engines._postgresql_engine(parsed)
    )
    with engines.writing(old).begin() as connection:
        engines._upgrade(connection, "0001")
        assert not sa.inspect(connection).has_table("dtf_learned")
    run = Run(RunId("r"), 1.0, suite="s")
    kept = ResultsStore(old, parsed)
    kept.begin_run(run, [CaseId("c")])
    with engines.writing(old).begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO dtf_attempts (run_key, case_key, number, worker, outcome,"
                " detail, host, started_at, duration_s, phases)"
                " VALUES (1, 1, 1, 0, 'passed', '', '', 0.0, 2.0, '')"
            )
        )
    kept.close()
    with ResultsStore.open(url) as store:
        assert store.run("r") == run
        assert store.durations("s") == {"c": 2.0}
        store.remember([("runs", "a", "pc", [1.0], 9)], 1.0)
        assert all_of(store) == [("runs", "a", "pc", [1.0])]

"""What schedulers remember of tasks and tenants, kept beside the results.

Writers add numbers to a row and replace none: two schedulers on one store both have
their say, and one that was away overwrites nobody.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from dtf_dask.runs.codec import unescape_text
from dtf_dask.runs.results.schema import learned, text_digest

ROWS_MAX = 100_000
PAGE_ROWS = 500
TEXT_LENGTH_MAX = 8000
"""Of a longer text only so much is read, which makes no sense then."""

Addition = tuple[str, str, str, Sequence[float], int]
"""Kind, name, kind of machine, new numbers, how many of all are kept."""

Remembered = tuple[Any, Any, Any, Any, Any]
"""Kind, name, kind of machine, numbers, seconds of the epoch: whatever is there."""

_NUMBER_MAX = 1e300
_WRITERS_LOCK = 0x64746C  # PostgreSQL's advisory lock of whoever adds: "dtl"
_TEXTS = (learned.c.kind, learned.c.name, learned.c.hardware, learned.c.numbers)


def add(writer: sa.Engine, rows: Iterable[Addition], now: float) -> None:
    """Add rows, some at a time: nobody who records a run waits long for that."""
    remaining = iter(rows)
    while page := list(islice(remaining, PAGE_ROWS)):
        with writer.begin() as connection:
            _add_page(connection, page, now)


def pages(engine: sa.Engine) -> Iterator[list[Remembered]]:
    """The newest rows, at most `ROWS_MAX`, those that were added to last at the end."""
    with engine.begin() as connection:
        count = connection.execute(_COUNT).scalar_one()
        # By their first letters, and not by their types: in SQLite a column may hold
        # anything, and one odd value would fail all rows.
        texts = [sa.func.substr(c, 1, TEXT_LENGTH_MAX, type_=sa.Text) for c in _TEXTS]
        found = connection.execute(
            sa.select(*texts, sa.type_coerce(learned.c.used_at, sa.types.NullType()))
            .order_by(learned.c.used_at, learned.c.digest)
            .offset(max(0, count - ROWS_MAX)),
            execution_options={"yield_per": PAGE_ROWS},
        )
        for page in found.partitions():
            yield [
                (*map(_text, row[:3]), _numbers(row[3]), row[4])  # type: ignore[misc]
                for row in page
            ]


_COUNT = sa.select(sa.func.count()).select_from(learned)


def _add_page(connection: sa.Connection, rows: Sequence[Addition], now: float) -> None:
    dialect: Any = sqlite
    if connection.dialect.name == "postgresql":
        # One at a time, or two that add to the same rows in different orders would
        # wait for each other. (SQLite has one writer anyway.)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITERS_LOCK)))
        dialect = postgresql
    added = {_digest(row): row for row in rows}
    numbers = sa.func.substr(learned.c.numbers, 1, TEXT_LENGTH_MAX, type_=sa.Text)
    before = {
        bytes(digest): _numbers(text)
        for digest, text in connection.execute(
            sa.select(learned.c.digest, numbers).where(learned.c.digest.in_(added))
        )
    }
    values = []
    for digest, (kind, name, hardware, new, kept) in added.items():
        whole = [*_sound(before.get(digest)), *new][-kept:]
        values.append(
            {
                "digest": digest,
                "kind": kind,
                "name": name,
                "hardware": hardware,
                "numbers": json.dumps(whole, separators=(",", ":")),
                "used_at": now,
            }
        )
    insert = dialect.insert(learned)
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=["digest"],
            set_={name: insert.excluded[name] for name in ("numbers", "used_at")},
        ),
        values,
    )
    if len(before) < len(added):
        _drop_oldest(connection)


def _drop_oldest(connection: sa.Connection) -> None:
    excess = connection.execute(_COUNT).scalar_one() - ROWS_MAX
    if excess > 0:
        oldest = (
            sa.select(learned.c.digest)
            .order_by(learned.c.used_at, learned.c.digest)
            .limit(excess)
        )
        connection.execute(sa.delete(learned).where(learned.c.digest.in_(oldest)))


def _digest(row: Addition) -> bytes:
    kind, name, hardware, _, _ = row
    return text_digest(f"{len(kind)} {len(name)} {kind} {name} {hardware}")


def _sound(numbers: Any) -> list[float]:
    """What of a row can be built upon: one odd number is not carried on for ever."""
    if not isinstance(numbers, list):
        return []
    return [n for n in numbers if type(n) in (int, float) and abs(n) < _NUMBER_MAX]


def _text(value: Any) -> Any:
    return unescape_text(value) if isinstance(value, str) else value


def _numbers(text: Any) -> Any:
    """The list of a row; what is no list comes back as it is."""
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return text

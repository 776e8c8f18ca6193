"""Tasks whose insides a scheduler never opens; a worker does, where they arrive.

Dask's scheduler reads of a task what it depends on and little more, and pickles the
rest for a worker. So it is given an `OpaqueTask`, which has just that, and which is
unpickled as the task itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dtf_dask.durable.makings import mark_of
from dtf_dask.submission.opening import open_task
from dtf_dask.submission.table import Key, Row, Table, shown


class OpaqueTask:
    """A row of a table, as Dask's scheduler sees a task.

    Parameters
    ----------
    functions
        Those that the payload refers to, by their numbers in the table.
    at_s
        When it was submitted, in seconds since 1970 of the leader's clock.
    made
        The mark of the submission; see `dtf_dask.durable.makings`.
    replaced
        Inputs that are values by now, as `substitute` was told.
    """

    __slots__ = (
        *("at_s", "data_producer", "dependencies", "functions"),
        *("key", "made", "payload", "replaced"),
    )

    def __init__(
        self,
        key: Key,
        dependencies: frozenset[Key],
        payload: bytes,
        functions: Mapping[int, bytes],
        data_producer: bool,
        at_s: float,
        made: int,
        replaced: Mapping[Key, Any] | None = None,
    ) -> None:
        self.key = key
        self.dependencies = dependencies
        self.payload = payload
        self.functions = functions
        self.data_producer = data_producer
        self.at_s = at_s
        self.made = made
        self.replaced = replaced

    def substitute(self, values: Mapping[Key, Any]) -> OpaqueTask:
        """The same task, with nodes of a graph in the place of inputs."""
        return OpaqueTask(
            self.key,
            self.dependencies - set(values),
            self.payload,
            self.functions,
            self.data_producer,
            self.at_s,
            self.made,
            {**(self.replaced or {}), **values},
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return open_task, (self.key, self.payload, self.functions, self.replaced)

    def __repr__(self) -> str:
        return f"<OpaqueTask {shown(self.key)}>"


_NO_FUNCTIONS: Mapping[int, bytes] = {}


def opaque_tasks(table: Table, at_s: float) -> dict[Key, OpaqueTask]:
    """The tasks of a table, by key, in the order in which they had better run."""
    made = mark_of(table.client, table.seq)
    return {row.key: _opaque(row, table.functions, at_s, made) for row in table.rows}


def _opaque(
    row: Row, functions: tuple[bytes, ...], at_s: float, made: int
) -> OpaqueTask:
    return OpaqueTask(
        row.key,
        frozenset(row.needs),
        row.payload,
        {number: functions[number] for number in row.uses}
        if row.uses
        else _NO_FUNCTIONS,
        row.produces,
        at_s,
        made,
    )

"""Tasks that only workers open: what becomes of a payload where it arrives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from dtf_dask.errors import TaskRefusedError
from dtf_dask.submission.table import Key, Row, shown


def open_task(
    key: Key,
    payload: bytes,
    functions: Mapping[int, bytes],
    replaced: Mapping[Key, Any] | None,
) -> Any:
    """The task that a payload is. It executes what a client sent: in workers only.

    What cannot be opened becomes a task that fails for that reason: an exception here
    would break the worker's connection, and with it all its other tasks.
    """
    from dask._task_spec import Task

    from dtf_dask.submission.materialise import opened

    try:
        known = [b""] * (max(functions, default=-1) + 1)
        for number, function in functions.items():
            known[number] = function
        node = opened(Row(key, (), payload, (), False, {}), known)
        return node.substitute(cast(Any, replaced)) if replaced else node
    except Exception as error:
        return Task(key, _fail, f"{type(error).__name__}: {error}"[:10_000], shown(key))


def _fail(why: str, key: str) -> None:
    raise TaskRefusedError(f"task {key} cannot be opened on this worker: {why}")

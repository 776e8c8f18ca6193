"""What may be asked of a coordinator: each gives its answer in parts."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from monitor_app.feed.calls import Caller, StrangeError
from monitor_app.feed.place import part
from monitor_app.feed.questions import Call
from monitor_app.feed.reasons import reason

PAGE = 500
"""As many rows as may be asked for at once."""


def one(path: str, **query: object) -> Call:
    """What a path answers."""

    def call(caller: Caller) -> Iterator[Any]:
        yield _object(caller.get(path, query))

    return call


def pages(path: str, rows_max: int = 1_000_000, **query: object) -> Call:
    """All rows of a list, page by page."""

    def call(caller: Caller) -> Iterator[Any]:
        offset = 0
        while offset < rows_max:
            limit = min(PAGE, rows_max - offset)
            told = _object(
                caller.get(path, {**query, "limit": limit, "offset": offset})
            )
            items, total = told.get("items"), told.get("total")
            if not isinstance(items, list) or not isinstance(total, int):
                raise StrangeError(f"{path}: what is answered is no list")
            yield told
            offset += limit
            if offset >= total or not items:
                return

    return call


def of_run(run: str, what: str = "") -> str:
    """The path of a run, or of something of it."""
    return f"/runs/{part(run)}{what}"


def action(name: str, said: Mapping[str, Any]) -> Call:
    """Have something done, once, whoever is asked."""
    id = f"monitor-{secrets.token_hex(8)}"

    def call(caller: Caller) -> Iterator[Any]:
        yield _object(caller.post(f"/actions/{part(name)}", said, id))

    return call


def _object(told: object) -> dict[str, Any]:
    if not isinstance(told, dict):
        raise StrangeError(reason("what is answered is not understood"))
    return told

"""Histories that Jepsen recorded, read from its logs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from linearizability.operation import Operation

_REGISTER_LINE = re.compile(r"INFO\s+jepsen\.util - (\d+)\s+:(\w+)\s+:(\w+)\s+(.+)")
_STORE_LINE = re.compile(
    r'\{:process (\d+), :type :(\w+), :f :(\w+), :key "(.*?)", :value (nil|"(.*)")\}'
)


def register_history(lines: Iterable[str]) -> list[Operation]:
    """Operations on one register: ``INFO  jepsen.util - 3  :ok  :cas  [1 2]``."""
    return list(_paired(_register_events(lines)))


def store_history(lines: Iterable[str]) -> list[Operation]:
    """Operations on strings: ``{:process 0, :type :ok, :f :get, :key "5", ...}``."""
    return list(_paired(_store_events(lines)))


_Event = tuple[str, str, str, str, Any]  # client, type, kind, key, value


def _register_events(lines: Iterable[str]) -> Iterator[_Event]:
    for line in lines:
        match = _REGISTER_LINE.fullmatch(line.strip())
        if match is None:
            raise ValueError(f"not a line of a register's history: {line!r}")
        client, state, kind, value = match.groups()
        yield client, state, kind, "register", _register_value(value)


def _register_value(text: str) -> Any:
    if text.startswith("["):
        return tuple(int(part) for part in text.strip("[]").split())
    return None if text in ("nil", ":timed-out") else int(text)


def _store_events(lines: Iterable[str]) -> Iterator[_Event]:
    for line in lines:
        match = _STORE_LINE.fullmatch(line.strip())
        if match is None:
            raise ValueError(f"not a line of a store's history: {line!r}")
        client, state, kind, key, value, text = match.groups()
        yield client, state, kind, key, None if value == "nil" else text


def _paired(events: Iterable[_Event]) -> Iterator[Operation]:
    begun: dict[str, tuple[int, Any]] = {}
    asked: dict[str, tuple[str, str]] = {}
    for now, (client, state, kind, key, value) in enumerate(events):
        if state == "invoke":
            begun[client], asked[client] = (now, value), (kind, key)
            continue
        called, argument = begun.pop(client)
        kind, key = asked.pop(client)
        result, returned = value if kind in ("read", "get") else None, now
        if kind == "cas":
            result = state == "ok"
        if state == "info":
            yield Operation(client, kind, key, argument, None, called, None)
        elif state == "ok" or kind == "cas":
            # A cas that failed has seen another value: that says more than nothing.
            yield Operation(client, kind, key, argument, result, called, returned)
    for client, (called, argument) in begun.items():
        kind, key = asked[client]
        yield Operation(client, kind, key, argument, None, called, None)

"""What an object does when operations come one after the other.

To check histories of another kind of object, write a class that fits `Model`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any, Protocol

from linearizability.operation import Operation

ILLEGAL = object()
"""What `Model.step` answers where the operation cannot have had this result."""


class Model(Protocol):
    """A sequential object, one for each key."""

    @property
    def initial(self) -> Hashable:
        """The state before any operation."""

    def step(self, state: Any, operation: Operation) -> Any:
        """The state after an operation, or `ILLEGAL` if its result contradicts.

        An operation whose outcome is unknown contradicts nothing: it takes its effect,
        if it has one in this state.
        """

    def only_reads(self, operation: Operation) -> bool:
        """Whether it leaves every state in which its result is right as it is."""

    def effective(self, operations: Sequence[Operation]) -> list[Operation]:
        """The operations on one key without those of no consequence.

        What is left must have an order if and only if all have one. It pays to drop
        operations of unknown outcome that nobody saw the effect of: the search may
        place each of them anywhere.
        """

    def last_seen(self, operations: Sequence[Operation]) -> dict[Hashable, float]:
        """When a state is needed for the last time, for states that never come back.

        The time is that of the call of the last operation which only reads it.
        """


class Register:
    """One value: ``read``, ``write value``, ``cas (old, new)`` that answers a bool."""

    def __init__(self, initial: Hashable = None) -> None:
        self.initial = initial

    def step(self, state: Any, operation: Operation) -> Any:
        kind, unknown = operation.kind, operation.returned is None
        if kind == "read":
            return state if unknown or operation.result == state else ILLEGAL
        if kind == "write":
            return operation.argument
        if kind == "cas":
            old, new = operation.argument
            if not unknown and operation.result != (state == old):
                return ILLEGAL
            return new if state == old else state
        raise ValueError(f"a register knows no {kind!r}")

    def only_reads(self, operation: Operation) -> bool:
        return operation.kind == "read" or (
            operation.kind == "cas" and operation.result is False
        )

    def effective(self, operations: Sequence[Operation]) -> list[Operation]:
        if any(one.kind == "cas" and one.result is not True for one in operations):
            # One that failed has seen that the value was another, whichever it was;
            # one of unknown outcome can make any value into another.
            unseen = False
            seen: set[Any] = set()
        else:
            unseen = True
            seen = {_value_seen(one) for one in operations if one.returned is not None}
        return [
            one
            for one in operations
            if one.returned is not None
            or not (
                one.kind == "read"
                or (unseen and one.kind == "write" and one.argument not in seen)
            )
        ]

    def last_seen(self, operations: Sequence[Operation]) -> dict[Hashable, float]:
        written = Counter(
            one.argument[1] if one.kind == "cas" else one.argument
            for one in operations
            if one.kind != "read"
        )
        last: dict[Hashable, float] = {}
        for one in operations:
            value = one.result
            # The first value comes back where it is written at all.
            most = 0 if value == self.initial else 1
            if one.kind == "read" and written[value] <= most:
                last[value] = max(last.get(value, one.called), one.called)
        return last


def _value_seen(one: Operation) -> Any:
    if one.kind == "read":
        return one.result
    return one.argument[0] if one.kind == "cas" else ILLEGAL


class StringStore:
    """A string for each key, empty at first: ``get``, ``put text``, ``append text``."""

    initial = ""

    def step(self, state: str, operation: Operation) -> Any:
        kind = operation.kind
        if kind == "get":
            unknown = operation.returned is None
            return state if unknown or operation.result == state else ILLEGAL
        if kind == "put":
            return operation.argument
        if kind == "append":
            return state + operation.argument
        raise ValueError(f"a string store knows no {kind!r}")

    def only_reads(self, operation: Operation) -> bool:
        return operation.kind == "get"

    def effective(self, operations: Sequence[Operation]) -> list[Operation]:
        read = [
            one.result
            for one in operations
            if one.kind == "get" and one.returned is not None
        ]
        return [
            one
            for one in operations
            if one.returned is not None
            or (one.kind != "get" and any(one.argument in text for text in read))
        ]

    def last_seen(self, operations: Sequence[Operation]) -> dict[Hashable, float]:
        return {}

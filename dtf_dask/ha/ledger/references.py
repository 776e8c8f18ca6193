"""Values too large for the log: records hold their digest and size instead. Pure.

Contents themselves are on the disks of nodes, outside of the state. What the state says
is which of them some record refers to.
"""

from __future__ import annotations

from typing import Any, NamedTuple

DIGEST_BYTES = 32
CONTENT_BYTES_MAX = 4 * 2**30
REFERENCE_BYTES = 48
"""What a reference counts as a value."""


class Reference(NamedTuple):
    """A content: its SHA-256, and how many bytes it has."""

    digest: bytes
    size: int


Value = bytes | Reference


def value_bytes(value: Value) -> int:
    """What a value counts."""
    return len(value) if type(value) is bytes else REFERENCE_BYTES


def reference_wrong(digest: object, size: object) -> str | None:
    """What is wrong with a reference from outside; None if nothing is."""
    if type(digest) is not bytes or len(digest) != DIGEST_BYTES:
        return f"a digest has {DIGEST_BYTES} bytes"
    if type(size) is not int or not 0 < size <= CONTENT_BYTES_MAX:
        return f"a content has 1 to {CONTENT_BYTES_MAX} bytes"
    return None


def decode_value(plain: Any) -> Value:
    """A value as msgpack holds it; `ValueError` if it is none."""
    if type(plain) is bytes:
        return plain
    if type(plain) is not tuple or len(plain) != 2 or reference_wrong(*plain):
        raise ValueError("a value that is neither bytes nor a reference")
    return Reference(*plain)


class References:
    """How many records refer to each content."""

    __slots__ = ("appeared", "counts")

    def __init__(self) -> None:
        self.counts: dict[Reference, int] = {}
        self.appeared: list[Reference] = []
        """Those that nothing had referred to, since somebody emptied it."""

    def add(self, reference: Reference) -> None:
        """One more record refers to a content."""
        count = self.counts.get(reference, 0)
        if not count:
            self.appeared.append(reference)
        self.counts[reference] = count + 1

    def drop(self, reference: Reference) -> None:
        """One record less refers to it."""
        count = self.counts[reference] - 1
        if count:
            self.counts[reference] = count
        else:
            del self.counts[reference]

"""What a snapshot store drops to stay within its limit. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

StoredKind = Literal["tree", "content"]

# Of things used at one time the tree goes first: it is made anew from its contents,
# while a content has to be sent again.
_ORDER: dict[StoredKind, int] = {"tree": 0, "content": 1}


@dataclass(frozen=True, slots=True)
class Stored:
    """One unpacked tree, or one content, of a store; ``last_used_s`` by its clock."""

    kind: StoredKind
    key: str
    size_bytes: int
    last_used_s: float


@dataclass(frozen=True, slots=True)
class Eviction:
    """What to drop, and how many bytes are left then."""

    dropped: tuple[Stored, ...]
    left_bytes: int


def plan_eviction(
    stored: Iterable[Stored],
    *,
    in_use: Collection[tuple[StoredKind, str]],
    left_bytes_max: int,
    trees_kept_max: int,
) -> Eviction:
    """Choose what was not used for longest, never what is in use.

    Trees over ``trees_kept_max`` go even when there is room: each is thousands of
    files. What is left may still be too much, when everything else is in use.
    """
    everything = sorted(
        stored, key=lambda item: (item.last_used_s, _ORDER[item.kind], item.key)
    )
    left = sum(item.size_bytes for item in everything)
    trees = sum(item.kind == "tree" for item in everything)
    dropped = []
    for item in everything:
        if (item.kind, item.key) in in_use:
            continue
        too_many = item.kind == "tree" and trees > trees_kept_max
        if left > left_bytes_max or too_many:
            dropped.append(item)
            left -= item.size_bytes
            trees -= item.kind == "tree"
    return Eviction(tuple(dropped), left)

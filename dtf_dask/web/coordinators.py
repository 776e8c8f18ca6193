"""How the coordinators stand, as one node says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def coordinators(
    hello: Mapping[str, Any],
    standing: Mapping[str, Any],
    at: float,
    webs: Mapping[int, str],
    led: Mapping[str, Any],
) -> dict[str, Any]:
    """Each of them, and who leads.

    Of the others a node knows how far they are behind, and whether they are heard of,
    only while it leads: of others it is ``led``, what the leader says of that. What
    nobody knows is None. ``webs`` says where their web processes serve, of those that
    have one. A scheduler that is alone has none: its web process is of no node, whose
    number is 0.
    """
    own, names = hello["node"], hello["names"]
    leader = standing.get("leader", 0)
    leads = standing.get("role") == "leader"
    if leads:
        led = standing
    elif not leader:
        led = {}
    lag, active = led.get("lag", {}), led.get("active", ())
    known = leads or bool(active)
    items = []
    for node in _members(standing) or ([own] if own else []):
        here = node == own
        role = "leader" if node == leader else "other"
        heard_of = here or node == leader or node in active
        items.append(
            {
                "node": node,
                "name": names.get(str(node), str(node)),
                "here": here,
                "role": standing.get("role", "unknown") if here else role,
                "votes": node in standing.get("voters", ()),
                "heard_of": heard_of if known or here else None,
                "lag": 0 if node == leader else _lag(lag, node),
                "web": webs.get(node) or (hello["listens_at"] if here else None),
                "scheduler": _scheduler(standing) if here else None,
            }
        )
    return {
        "cluster": hello["cluster"],
        "contact": hello.get("contact", ""),
        "seen_by": own,
        "at": at,
        "leader": leader or None,
        "term": standing.get("term", 0),
        "applied": standing.get("applied", 0),
        "quorum_left": led.get("quorum_left"),
        "elections": standing.get("elections", 0),
        "items": items,
    }


_OF_EACH = ("name", "role", "votes", "heard_of", "web", "scheduler")


def steady(told: Mapping[str, Any]) -> dict[str, Any]:
    """What of that does not move all the time."""
    words = ("leader", "term", "quorum_left", "elections")
    items = [tuple(one[word] for word in _OF_EACH) for one in told["items"]]
    return {word: told[word] for word in words} | {"items": items}


def _members(standing: Mapping[str, Any]) -> list[int]:
    return sorted({*standing.get("voters", ()), *standing.get("learners", ())})


def _lag(lag: Mapping[Any, int], node: int) -> int | None:
    found = lag.get(node, lag.get(str(node)))
    return None if found is None else int(found)


def _scheduler(standing: Mapping[str, Any]) -> dict[str, Any]:
    told = standing.get("scheduler", {})
    return {word: told.get(word) for word in ("role", "term", "crashes", "last_end")}

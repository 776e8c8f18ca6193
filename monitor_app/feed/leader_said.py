"""How the coordinators stand as who leads sees it, while another one is read.

Only who leads knows how far the others are, and how many may fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dtf_dask.errors import UsageError
from monitor_app.feed.calls import Caller, CallError
from monitor_app.feed.place import Place, parse_place
from monitor_app.feed.pulse import ANSWER_S

ASK_S = 2.0
REST_S = 10.0
"""Who leads and does not answer is asked again after so long."""

Told = Mapping[str, Any]


class LeaderSaid:
    """Asks who leads, from the thread of the feed."""

    def __init__(self) -> None:
        self._caller: Caller | None = None
        self._told: Told = {}
        self._next_at = 0.0

    def ask(self, told: Told, place: Place, token: str, now: float) -> None:
        """Ask, if ``told`` by ``place`` does not know, and it is time."""
        leader = place_of_leader(told, place)
        if leader is None or leader == place or now < self._next_at:
            return
        if self._caller is None or self._caller.place != leader:
            self.close()
            self._caller = Caller(leader, token, call_s=ANSWER_S)
        try:
            answer = self._caller.get("/coordinators")
        except CallError:
            self._told, self._next_at = {}, now + REST_S
        else:
            self._told = answer if isinstance(answer, Mapping) else {}
            self._next_at = now + ASK_S

    def added(self, told: Told) -> Told:
        """What one says, and what who leads knows besides."""
        return merged(told, self._told)

    def close(self) -> None:
        """Ask no more."""
        if self._caller is not None:
            self._caller.close()
        self._caller, self._told, self._next_at = None, {}, 0.0


def place_of_leader(told: Told, place: Place) -> Place | None:
    """Where who leads is read; None if nobody says."""
    for one in _items(told):
        web = one.get("web")
        if one.get("node") == told.get("leader") and isinstance(web, str) and web:
            try:
                return parse_place(f"{place.scheme}://{web}")
            except UsageError:
                return None
    return None


def merged(told: Told, leader: Told) -> Told:
    """What one says, and what who leads does besides, if it is of the same term.

    Examples
    --------
    >>> mine = {"term": 2, "leader": 1, "items": [{"node": 1, "lag": None}]}
    >>> other = {**mine, "quorum_left": 1, "items": [{"node": 1, "lag": 0}]}
    >>> found = merged(mine, other)
    >>> found["quorum_left"], found["items"]
    (1, [{'node': 1, 'lag': 0, 'heard_of': None}])
    >>> merged(mine, {**other, "term": 1}) == mine
    True
    """
    same = (told.get("term"), told.get("leader"))
    if not leader or same != (leader.get("term"), leader.get("leader")):
        return told
    known = {one.get("node"): one for one in _items(leader)}

    def completed(one: Told) -> Told:
        more = known.get(one.get("node"), {})
        found = {name: more.get(name) for name in _OF_LEADER if one.get(name) is None}
        return {**one, **found}

    left = told.get("quorum_left")
    return {
        **told,
        "quorum_left": leader.get("quorum_left") if left is None else left,
        "items": [completed(one) for one in _items(told)],
    }


_OF_LEADER = ("lag", "heard_of")


def _items(told: Told) -> list[Told]:
    items = told.get("items")
    found = items if isinstance(items, list) else []
    return [one for one in found if isinstance(one, Mapping)]

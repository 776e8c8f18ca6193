"""What a takeover cost, as a record to be seen. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def failover_of(
    standing: Mapping[str, Any], name: str, term: int
) -> dict[str, Any] | None:
    """What the node beside a scheduler said of how it came to lead.

    Parameters
    ----------
    standing
        A node's status, as it comes with pings.
    name
        Of the node.
    term
        That is led.

    Returns
    -------
    dict or None
        None while that is not known yet.
    """
    told = standing["scheduler"]
    if told["term"] != term or told["settled_after_s"] < 0:
        return None
    return {
        "node": name,
        "term": term,
        "at": told["led_at_s"],
        "without_leader_s": max(0.0, told["without_leader_s"]),
        "leading_after_s": max(0.0, told["leading_after_s"]),
        "settled_after_s": told["settled_after_s"],
        "tasks": told["tasks"],
        "workers": told["workers"],
        "missing": told["missing"],
    }

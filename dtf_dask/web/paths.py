"""Where a web process serves what. Pure."""

from __future__ import annotations

PAGES = "/dtf"
"""Where the pages are."""

BASE = f"{PAGES}/api/v1"
"""What all paths of the API begin with."""

HERE = f"{PAGES}/here"
"""What pages of other nodes ask, to see whether this one is there."""


def api_url(place: str) -> str:
    """Of the API of a coordinator whose web process serves at ``host:port``."""
    return f"http://{place}{BASE}/"


def pages_url(place: str) -> str:
    """Of the pages of a coordinator whose web process serves at ``host:port``."""
    return f"http://{place}{PAGES}"

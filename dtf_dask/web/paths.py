"""Where a web process serves what. Pure."""

from __future__ import annotations

BASE = "/dtf/api/v1"
"""What all paths of the API begin with."""


def api_url(place: str) -> str:
    """Of the API of a coordinator whose web process serves at ``host:port``."""
    return f"http://{place}{BASE}/"

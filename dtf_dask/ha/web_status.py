"""How the web process of a node stands, for those who look after it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

WebRole = Literal["none", "starting", "serves", "pausing"]
"""``none``: the node has none; ``pausing``: it ended, and is started again."""


@dataclass(frozen=True, slots=True)
class WebStatus:
    """The web process of a node.

    Parameters
    ----------
    role
        What it is now.
    listens_at
        Where it serves, ``host:port``.
    pid
        0 while there is none.
    starts, crashes
        How often it was started, and ended unasked, since the node's process began.
    last_end
        Why the last one ended, in words.
    alarm
        That it ends again and again; empty if it does not.
    """

    role: WebRole = "none"
    listens_at: str = ""
    pid: int = 0
    starts: int = 0
    crashes: int = 0
    last_end: str = ""
    alarm: str = ""

"""How outcomes, states and levels look: a glyph and a colour beside the word. Pure."""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple


class Mark(NamedTuple):
    """Of one word.

    Parameters
    ----------
    colour
        The name of one of a theme's.
    """

    glyph: str
    colour: str


MARKS = MappingProxyType(
    {
        "passed": Mark("✓", "passed"),
        "failed": Mark("✗", "failed"),
        "error": Mark("!", "error"),
        "timeout": Mark("T", "timeout"),
        "skipped": Mark("–", "skipped"),
        "lost": Mark("?", "lost"),
        "flaky": Mark("~", "flaky"),
        "running": Mark("▸", "running"),
        "interrupted": Mark("‖", "skipped"),
        "critical": Mark("‼", "failed"),
        "warning": Mark("!", "timeout"),
        "closed": Mark("✓", "passed"),
        "open": Mark("✗", "failed"),
        "half-open": Mark("~", "timeout"),
        "left": Mark("–", "skipped"),
        "shut": Mark("✗", "failed"),
        "odd": Mark("!", "timeout"),
        "paused": Mark("‖", "timeout"),
        "begun": Mark("▸", "running"),
        "done": Mark("✓", "passed"),
        "refused": Mark("✗", "failed"),
        "unknown": Mark("?", "lost"),
        "leader": Mark("★", "running"),
        "follower": Mark("·", "skipped"),
    }
)
_OTHER = Mark("·", "skipped")

OUTCOMES = ("passed", "failed", "error", "timeout", "skipped", "lost")
"""Of cases, in the order in which they are shown."""


def mark_of(word: str) -> Mark:
    """How a word looks; any word looks like something."""
    return MARKS.get(word, _OTHER)

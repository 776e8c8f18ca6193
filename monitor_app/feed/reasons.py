"""Why something cannot be read or done, as it is said in English. Pure.

The window translates it: of a text each part between colons, if it is known.
"""

from __future__ import annotations


def reason(text: str) -> str:
    """A text that is translated by who shows it: here only for who collects them."""
    return text


DEFECT = reason("a defect of the monitor")

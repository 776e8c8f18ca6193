"""Names that users give to things in settings. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from dtf_dask.hints import shown

NAMES_MAX = 1000


@dataclass(frozen=True, slots=True)
class Naming:
    """What names of one kind look like.

    Parameters
    ----------
    pattern
        What a whole name matches.
    words
        The same for people.
    """

    pattern: re.Pattern[str]
    words: str

    def fits(self, name: object) -> bool:
        """Whether this is such a name."""
        return isinstance(name, str) and self.pattern.fullmatch(name) is not None

    def named(self, value: object, expected: str) -> dict[str, Any]:
        """Return a mapping whose names are names, and not too many.

        Raises
        ------
        ValueError
            If it is something else.
        """
        if not isinstance(value, dict):
            raise ValueError(f"expected {expected}")
        if len(value) > NAMES_MAX:
            raise ValueError(f"expected at most {NAMES_MAX} names")
        for name in value:
            if not self.fits(name):
                raise ValueError(f"{shown(name)} is no name: {self.words}")
        return value

"""Which actions ask before they are done, and what undoes them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DESTROYS = frozenset({"cancel", "stop-run", "retire-worker", "transfer-leadership"})
"""What they end does not come back by itself."""

_OPPOSITE = {"quarantine": "release", "release": "quarantine"}


@dataclass(frozen=True, slots=True)
class Wish:
    """An action that somebody asks for.

    Parameters
    ----------
    said
        What it is about: see `dtf_dask.view.actions`.
    """

    action: str
    said: Mapping[str, Any]

    @property
    def destroys(self) -> bool:
        """Whether it is asked again before it is done."""
        return self.action in DESTROYS

    def undone_by(self, leader: str = "") -> Wish | None:
        """What makes it as it was, if anything does.

        Parameters
        ----------
        leader
            Who led before.

        Examples
        --------
        >>> Wish("quarantine", {"worker": "w", "reason": "odd"}).undone_by()
        Wish(action='release', said={'worker': 'w'})
        """
        opposite = _OPPOSITE.get(self.action)
        if opposite:
            return Wish(opposite, {"worker": self.said["worker"]})
        if self.action == "transfer-leadership" and leader:
            return Wish(self.action, {"node": leader})
        return None

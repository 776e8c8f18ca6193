"""What a client asked and what it was told, as a linearizability checker sees it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One operation on one key.

    Parameters
    ----------
    client : Hashable
        Who asked. Only shown: operations of one client may overlap.
    kind : str
        What was asked, in the words of a `Model`.
    key : Hashable
        What it was asked of. Keys are independent objects.
    argument : Any
        What it was asked with; None if there is nothing to say.
    result : Any
        What was answered; None if the outcome is unknown.
    called, returned : float
        When it began and ended, on a clock that all clients share, or positions in one
        log. ``returned`` is None if the outcome is unknown: the operation then took
        effect at any time after ``called``, or never. What definitely did not happen is
        left out of a history.
    """

    client: Hashable
    kind: str
    key: Hashable
    argument: Any
    result: Any
    called: float
    returned: float | None

    def __str__(self) -> str:
        asked = self.kind if self.argument is None else f"{self.kind} {self.argument!r}"
        told = "outcome unknown" if self.returned is None else repr(self.result)
        end = "" if self.returned is None else f"{self.returned:g}"
        return f"[{self.called:g}..{end}] client {self.client}: {asked} -> {told}"

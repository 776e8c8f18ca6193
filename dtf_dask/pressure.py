"""How full the scheduler's queue is, as it is told to clients. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from dtf_dask.explanation import roughly

TOPIC = "dtf-pressure"
"""The Dask topic on which the scheduler says that the state is another one."""

PressureState = Literal["calm", "pressed", "shedding"]
"""Clients do as they like; they slow down; the queue has overflowed, and takes nothing
of those who ask until it is well below its bound again."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """How full the queue is.

    Parameters
    ----------
    waiting, bound
        How many tasks wait, and how many may.
    pressed_at
        From how many on clients are slowed down.
    pressure
        How much they are: 0 not at all, 1 altogether.
    clear_s
        In how many seconds it may be calm, at the pace at which tasks start now; None
        if it is calm, or nobody can tell.
    """

    state: PressureState
    waiting: int
    bound: int
    pressed_at: int
    pressure: float
    clear_s: float | None = None

    @classmethod
    def of(cls, message: object) -> Pressure | None:
        """What a scheduler said; None if that is not understood.

        Examples
        --------
        >>> said = Pressure("pressed", 9, 10, 8, 0.5, clear_s=4.0)
        >>> Pressure.of(said.message()) == said, Pressure.of({"state": "odd"})
        (True, None)
        """
        if not isinstance(message, Mapping):
            return None
        state: Any = message.get("state")
        numbers = [message.get(name) for name in ("waiting", "bound", "pressed_at")]
        if state not in get_args(PressureState) or not all(
            type(number) is int and number >= 0 for number in numbers
        ):
            return None
        waiting, bound, pressed_at = (int(number or 0) for number in numbers)
        pressure, clear_s = _number(message, "pressure"), _number(message, "clear_s")
        return cls(state, waiting, bound, pressed_at, pressure or 0.0, clear_s)

    def message(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)

    @property
    def words(self) -> str:
        """The same for people.

        Examples
        --------
        >>> Pressure("shedding", 1200, 1000, 800, 1.0, clear_s=90.0).words
        'the queue has overflowed: 1,200 tasks wait and it keeps 1,000; at this pace it\
 is calm in about 90 s'
        """
        start = {
            "calm": "",
            "pressed": "the queue is nearly full: ",
            "shedding": "the queue has overflowed: ",
        }[self.state]
        text = f"{start}{self.waiting:,} tasks wait and it keeps {self.bound:,}"
        if self.clear_s is not None:
            text += f"; at this pace it is calm in about {roughly(self.clear_s)}"
        return text


def _number(message: Mapping[Any, Any], name: str) -> float | None:
    value = message.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None

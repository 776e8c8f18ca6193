"""How those settings of scheduling are read that are more than a word. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dtf_dask.quantities import parse_duration
from dtf_dask.settings_names import Naming

POLICIES_MAX = 32
PATIENCE_S_MAX = 366 * 86_400.0
WEIGHT_MAX = 1_000_000.0
_NAMING = Naming(
    re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}"),
    "a letter, then letters, digits, '.', '_' or '-', at most 100",
)
_named = _NAMING.named


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def read(self, value: object) -> bool:
        """Return it."""
        if isinstance(value, bool):
            return value
        raise ValueError("expected true or false")


@dataclass(frozen=True, slots=True)
class Classes:
    """Names of priority classes and the patience of each: ``{normal: 10 min}``."""

    def read(self, value: object) -> dict[str, float]:
        """Return the patience in seconds by name, the most urgent first."""
        classes = {}
        for name, patience in _named(value, "classes such as {normal: 10 min}").items():
            seconds = parse_duration(patience)
            if not 0 <= seconds <= PATIENCE_S_MAX:
                raise ValueError(f"expected a patience of 0 to 366 days for {name!r}")
            classes[name] = seconds
        if not classes:
            raise ValueError("expected at least one class")
        return dict(sorted(classes.items(), key=lambda one: (one[1], one[0])))


@dataclass(frozen=True, slots=True)
class PolicyNames:
    """Names of installed policies."""

    def read(self, value: object) -> tuple[str, ...]:
        """Return them without repetition."""
        if (
            isinstance(value, list | tuple)
            and len(value) <= POLICIES_MAX
            and all(_NAMING.fits(name) for name in value)
        ):
            return tuple(dict.fromkeys(value))
        raise ValueError(f"expected a list of at most {POLICIES_MAX} names")


@dataclass(frozen=True, slots=True)
class Share:
    """What a tenant may have of the cluster's threads."""

    weight: float = 1.0
    guaranteed: float = 0.0
    max: float = 1.0


@dataclass(frozen=True, slots=True)
class Tenants:
    """Names and shares: ``{ada: {weight: 2, guaranteed: 0.25, max: 0.5}}``."""

    def read(self, value: object) -> dict[str, Share]:
        """Return the shares by name."""
        tenants = {}
        for name, share in _named(value, "tenants such as {ada: {weight: 2}}").items():
            numbers = {}
            for key, number in _named(share, f"weight, ... for {name!r}").items():
                if key not in Share.__slots__:
                    raise ValueError(f"expected weight, guaranteed or max for {name!r}")
                if isinstance(number, bool) or not isinstance(number, int | float):
                    raise ValueError(f"expected a number as {key} of {name!r}")
                numbers[key] = float(number)
            made = Share(**numbers)
            if not 0 < made.weight <= WEIGHT_MAX:
                raise ValueError(f"expected a weight of more than 0 for {name!r}")
            if not (0 <= made.guaranteed <= 1 and 0 < made.max <= 1):
                raise ValueError(f"expected shares from 0 to 1 for {name!r}")
            if made.guaranteed > made.max:
                raise ValueError(f"{name!r} is guaranteed more than it may have")
            tenants[name] = made
        if sum(share.guaranteed for share in tenants.values()) > 1 + 1e-9:
            raise ValueError("the guaranteed shares are together more than 1")
        return tenants

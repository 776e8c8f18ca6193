"""Whether a demand can hold anywhere at all. Pure.

Sound, not complete: what is refused holds for no facts; some demands that hold for none
are let through. Only comparisons of one fact, joined by "and", are looked at together.
"""

from __future__ import annotations

from typing import Any

from dtf_dask.demand_terms import (
    NEGATIVE,
    AllOf,
    AnyOf,
    Comparison,
    Op,
    Term,
    holding,
)
from dtf_dask.facts import Kind

_MEASURES = (Kind.NUMBER, Kind.SIZE, Kind.DURATION)


def conflict(term: Term) -> str | None:
    """The part that can never hold, as text; None if none was found."""
    if isinstance(term, Comparison):
        return _together([term])
    if isinstance(term, AnyOf):
        parts = [conflict(part) for part in term.terms]
        return None if None in parts else str(term)
    return _of_all(term)


def _of_all(term: AllOf) -> str | None:
    by_name: dict[str, list[Comparison]] = {}
    for part in term.terms:
        if isinstance(part, Comparison):
            by_name.setdefault(part.name, []).append(part)
        elif found := conflict(part):
            return found
    for same in by_name.values():
        if found := _together(same):
            return found
    return None


def _together(same: list[Comparison]) -> str | None:
    """Comparisons of one fact that cannot all hold."""
    impossible = (
        _flat_contradiction(same) or _no_listed_value(same) or _empty_range(same)
    )
    return " and ".join(map(str, same)) if impossible else None


def _flat_contradiction(same: list[Comparison]) -> bool:
    """A flag that is set and is not; a fact that is not there and is compared."""
    said = {(one.op, one.value) for one in same if one.op in (Op.HAS, Op.HAS_NOT)}
    if any((Op.HAS_NOT, value) in said for op, value in said if op is Op.HAS):
        return True
    absent = any(one.op is Op.IS_NOT for one in same)
    return absent and any(one.op not in NEGATIVE for one in same)


def _no_listed_value(same: list[Comparison]) -> bool:
    """Only some values are allowed, and each is refused by another comparison."""
    for one in same:
        if one.op in (Op.EQ, Op.IN):
            values = one.value if one.op is Op.IN else (one.value,)
            return not any(
                all(_allows(other, value) for other in same) for value in values
            )
    return False


def _allows(one: Comparison, value: Any) -> bool:
    if one.op in (Op.IS, Op.IS_NOT, Op.HAS, Op.HAS_NOT):
        return True
    return holding(one.op, one.value)(value)


def _empty_range(same: list[Comparison]) -> bool:
    """The lowest that is allowed lies above the highest."""
    # No measure is negative; versions begin nowhere in particular.
    low: tuple[Any, bool] | None = None
    high: tuple[Any, bool] | None = None
    if same[0].fact.kind in _MEASURES:
        low = (0, False)
    for one in same:
        if one.op in (Op.GT, Op.GE, Op.LIKE):
            bound = one.value[0] if one.op is Op.LIKE else one.value
            strict = one.op is Op.GT
            if low is None or (bound, strict) > low:
                low = (bound, strict)
        if one.op in (Op.LT, Op.LE, Op.LIKE):
            bound = one.value[1] if one.op is Op.LIKE else one.value
            strict = one.op is not Op.LE
            if high is None or bound < high[0] or (bound == high[0] and strict):
                high = (bound, strict)
    if low is None or high is None:
        return False
    return bool(low[0] > high[0] or (low[0] == high[0] and (low[1] or high[1])))

"""Why a demand does not hold, in words that a user can act on. Pure."""

from __future__ import annotations

from dtf_dask.demand_terms import (
    AllOf,
    Comparison,
    Facts,
    Op,
    Term,
    compiled,
    value_text,
)
from dtf_dask.facts import Kind

_ALTERNATIVES_MAX = 6
_ABSENT = {
    "package": "not installed",
    "browser": "not installed",
    "label": "not set",
}


def reasons(term: Term, facts: Facts) -> tuple[str, ...]:
    """What is missing, each part that makes the term false; empty if it holds."""
    if isinstance(term, AllOf):
        return tuple(reason for part in term.terms for reason in reasons(part, facts))
    if compiled(term)(facts):
        return ()
    if isinstance(term, Comparison):
        needs, has = _needs(term), _has(term, facts)
        return (f"needs {needs}, {has}",)
    if not term.terms:
        return ("can hold on no worker",)
    shown = [_within(part, facts) for part in term.terms[:_ALTERNATIVES_MAX]]
    if len(term.terms) > _ALTERNATIVES_MAX:
        shown.append(f"{len(term.terms) - _ALTERNATIVES_MAX} other alternatives")
    return (f"needs {' or '.join(shown)}",)


def _within(term: Term, facts: Facts) -> str:
    """A part of an alternative: only what it lacks."""
    if isinstance(term, Comparison):
        return f"{_needs(term)} ({_has(term, facts)})"
    lacking = [part for part in term.terms if not compiled(part)(facts)]
    word = " and " if isinstance(term, AllOf) else " or "
    text = word.join(_within(part, facts) for part in lacking)
    return f"({text})" if len(lacking) > 1 else text


def _needs(one: Comparison) -> str:
    match one.op:
        case Op.IS if one.fact.kind is Kind.FLAG:
            return f"{one.name} to be true"
        case Op.IS_NOT if one.fact.kind is Kind.FLAG:
            return f"{one.name} to be false"
        case Op.IS_NOT:
            return f"no {one.name}"
        case Op.IS:
            return one.name
        case Op.HAS:
            return f"{one.wanted} in {one.name}"
        case Op.HAS_NOT:
            return f"{one.name} without {one.wanted}"
        case Op.LIKE:
            return f"{one.name} == {one.wanted}"
        case Op.UNLIKE:
            return f"{one.name} != {one.wanted}"
    return f"{one.name} {one.op} {one.wanted}"


def _has(one: Comparison, facts: Facts) -> str:
    value = facts.get(one.name)
    if one.op is Op.HAS_NOT:
        return "has it"
    if one.op is Op.HAS:
        return "not reported" if value is None else "does not have it"
    if value is not None:
        return f"has {value_text(one.fact.kind, value, one.wanted)}"
    if one.fact.kind is Kind.FLAG:
        return "is false"
    if one.fact.absent is not None:
        return "has none" if one.fact.kind is Kind.SIZE else f"has {one.fact.absent}"
    return _ABSENT.get(one.name.partition(".")[0], "not reported")

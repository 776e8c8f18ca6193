"""What a demand is made of: comparisons, and groups of them that have one form. Pure.

There is no "not": it is carried down to the comparisons, which turn around, so that
``not memory < '8 GiB'`` is ``memory >= '8 GiB'``. Groups are flat, sorted, without
doubles: demands that say the same in another order are equal.

A fact that is not there equals nothing, and is neither less nor more than anything. So
all comparisons with it are false, but ``!=`` and ``not in``, which are true. Where none
reported means none there (``Fact.absent``), it counts as 0.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from dtf_dask.facts import Fact, Kind, Value
from dtf_dask.quantities import format_size
from dtf_dask.versions import version_key, version_text

Facts = Mapping[str, Value]
Test = Callable[[Facts], bool]


class Op(StrEnum):
    """How a fact is compared."""

    EQ = "=="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    IN = "in"
    NOT_IN = "not in"
    HAS = "has"
    HAS_NOT = "has not"
    LIKE = "is of the family"  # version == '3.12.*'
    UNLIKE = "is not of the family"
    IS = "is"  # a flag that is set, a text or version that is there
    IS_NOT = "is not"


OPPOSITE = {
    Op.EQ: Op.NE,
    Op.LT: Op.GE,
    Op.LE: Op.GT,
    Op.IN: Op.NOT_IN,
    Op.HAS: Op.HAS_NOT,
    Op.LIKE: Op.UNLIKE,
    Op.IS: Op.IS_NOT,
}
OPPOSITE |= {value: key for key, value in OPPOSITE.items()}
NEGATIVE = {Op.NE, Op.NOT_IN, Op.HAS_NOT, Op.UNLIKE, Op.IS_NOT}
"""These hold for a fact that is not there; all others do not."""
ORDERING = {
    Op.LT: operator.lt,
    Op.LE: operator.le,
    Op.GT: operator.gt,
    Op.GE: operator.ge,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One fact against one value.

    ``value`` is what is compared: a number, bytes, seconds, text, the key of a version;
    a tuple of them for `Op.IN`; first and beyond for `Op.LIKE`; None for `Op.IS`.
    """

    name: str
    fact: Fact
    op: Op
    value: Any = None

    def __str__(self) -> str:
        match self.op:
            case Op.IS:
                return self.name
            case Op.IS_NOT:
                return f"not {self.name}"
            case Op.LIKE:
                return f"{self.name} == {self._written()}"
            case Op.UNLIKE:
                return f"{self.name} != {self._written()}"
            case Op.HAS_NOT:
                return f"not {self.name} has {self._written()}"
        return f"{self.name} {self.op} {self._written()}"

    def _written(self) -> str:
        """The value as it is written in an expression."""
        kind, value = self.fact.kind, self.value
        if self.op in (Op.LIKE, Op.UNLIKE):
            return f"'{family_text(value)}'"
        if self.op in (Op.IN, Op.NOT_IN):
            return f"[{', '.join(literal(kind, one) for one in value)}]"
        return literal(kind, value)

    @property
    def wanted(self) -> str:
        """The value as people say it: sizes and versions without quotes."""
        if self.value is None:
            return ""
        text = self._written()
        bare = self.fact.kind in (Kind.SIZE, Kind.VERSION, Kind.DURATION)
        return text.replace("'", "") if bare else text


@dataclass(frozen=True, slots=True)
class AllOf:
    """Holds where every term does; without terms it holds everywhere."""

    terms: tuple[Term, ...] = ()

    def __str__(self) -> str:
        if not self.terms:
            return "true"
        return " and ".join(
            f"({term})" if isinstance(term, AnyOf) else str(term) for term in self.terms
        )


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Holds where a term does; without terms it holds nowhere."""

    terms: tuple[Term, ...] = ()

    def __str__(self) -> str:
        return " or ".join(map(str, self.terms)) if self.terms else "false"


Term = Comparison | AllOf | AnyOf
TRUE = AllOf()
FALSE = AnyOf()


def all_of(terms: Iterable[Term]) -> Term:
    """The terms as one, in its one form."""
    flat = _flat(terms, AllOf)
    if FALSE in flat:
        return FALSE
    return flat[0] if len(flat) == 1 else AllOf(tuple(flat))


def any_of(terms: Iterable[Term]) -> Term:
    """One of the terms, in its one form."""
    flat = _flat(terms, AnyOf)
    if TRUE in flat:
        return TRUE
    return flat[0] if len(flat) == 1 else AnyOf(tuple(flat))


def negated(term: Term) -> Term:
    """What holds where a term does not, but for facts that are not there."""
    if isinstance(term, AllOf):
        return any_of(map(negated, term.terms))
    if isinstance(term, AnyOf):
        return all_of(map(negated, term.terms))
    return replace(term, op=OPPOSITE[term.op])


def comparisons(term: Term) -> Iterator[Comparison]:
    """Every comparison of a term, in order."""
    if isinstance(term, Comparison):
        yield term
    else:
        for part in term.terms:
            yield from comparisons(part)


def _flat(terms: Iterable[Term], group: type[AllOf] | type[AnyOf]) -> list[Term]:
    by_text: dict[str, Term] = {}
    for term in terms:
        parts = term.terms if isinstance(term, group) else (term,)
        by_text.update((str(part), part) for part in parts)
    return [by_text[text] for text in sorted(by_text)]


# Values as text.

_SIZES = sorted(
    (base**power, f"{letter}{suffix}")
    for base, suffix in ((1000, "B"), (1024, "iB"))
    for power, letter in enumerate("KMGTP", start=1)
)


def literal(kind: Kind, value: Any) -> str:
    """A value as an expression writes it, so that it is read as the same value."""
    if kind is Kind.SIZE:
        return f"'{exact_size(value)}'" if value else "0"
    if kind is Kind.DURATION:
        return f"'{exact_duration(value)}'" if value else "0"
    if kind is Kind.VERSION:
        return f"'{version_text(value)}'"
    if kind is Kind.NUMBER:
        return repr(value)
    quote = '"' if "'" in value else "'"
    return f"{quote}{value}{quote}"


def exact_size(size_bytes: int) -> str:
    """A size in the largest unit of which it is a whole number."""
    for unit_bytes, unit in reversed(_SIZES):
        if size_bytes % unit_bytes == 0 and size_bytes:
            return f"{size_bytes // unit_bytes} {unit}"
    return f"{size_bytes} B"


def exact_duration(seconds: float) -> str:
    """A duration in the largest unit of which it is a whole number."""
    for unit_s, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds % unit_s == 0 and seconds:
            return f"{int(seconds // unit_s)} {unit}"
    return f"{seconds!r} s"


def family_text(value: Any) -> str:
    """``3.12.*`` again, from what it is compared by."""
    (first, _), (beyond, _) = value
    # Zeros at the end were cut: 3.0.* begins with 3 and ends at 3.1.
    numbers = [*first, *[0] * (len(beyond) - len(first))]
    return f"{'.'.join(map(str, numbers))}.*"


def value_text(kind: Kind, value: Value, wanted: str) -> str:
    """A worker's value in a message; in bytes where rounding would hide a lack."""
    if kind is Kind.SIZE and isinstance(value, int):
        short = format_size(value)
        return f"{value} B" if short in wanted else short
    if isinstance(value, bool):
        return str(value).lower()
    if kind is Kind.DURATION and isinstance(value, int | float):
        return exact_duration(value)
    if kind is Kind.TEXT:
        return repr(value)
    return str(value)


# Terms as functions: closures rather than a walk of the tree at every evaluation.


def compiled(term: Term) -> Test:
    """The function that tells whether a term holds for some facts."""
    if isinstance(term, Comparison):
        return _comparing(term)
    tests = tuple(map(compiled, term.terms))
    if len(tests) == 2:
        first, second = tests
        if isinstance(term, AllOf):
            return lambda facts: first(facts) and second(facts)
        return lambda facts: first(facts) or second(facts)
    if isinstance(term, AllOf):
        return lambda facts: all(test(facts) for test in tests)
    return lambda facts: any(test(facts) for test in tests)


def _comparing(one: Comparison) -> Test:
    name, op, value = one.name, one.op, one.value
    if op in NEGATIVE:
        positive = _comparing(replace(one, op=OPPOSITE[op]))
        return lambda facts: not positive(facts)
    if op is Op.IS:
        return lambda facts: facts.get(name, False) is not False
    if op is Op.HAS:
        return lambda facts: value in facts.get(name, ())  # type: ignore[operator]
    holds = holding(op, value)
    if one.fact.kind is Kind.VERSION:

        def version(facts: Facts) -> bool:
            text = facts.get(name)
            return text is not None and holds(version_key(text))

        return version
    if one.fact.absent is not None:
        absent = one.fact.absent
        return lambda facts: holds(facts.get(name, absent))

    def compare(facts: Facts) -> bool:
        found = facts.get(name)
        return found is not None and holds(found)

    return compare


def holding(op: Op, value: Any) -> Callable[[Any], bool]:
    """The comparison of a value that is there, in the form that is compared."""
    if op in NEGATIVE:
        positive = holding(OPPOSITE[op], value)
        return lambda found: not positive(found)
    if op is Op.EQ:
        return lambda found: bool(found == value)
    if op is Op.IN:
        return frozenset(value).__contains__
    if op is Op.LIKE:
        first, beyond = value
        return lambda found: bool(first <= found < beyond)
    compare = ORDERING[op]
    return lambda found: bool(compare(found, value))

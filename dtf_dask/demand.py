"""What a task needs of a worker, or a worker accepts, as an expression. Pure.

    gpu.count >= 1 and gpu.memory >= '16 GiB' and not gpu.throttled

Words and columns: `demand_tokens`. Grammar and types: `demand_grammar`. One form for
what means one thing, and how it is evaluated: `demand_terms`. The facts: `facts`.
Nothing of an expression is ever run as Python; its length, depth and size have limits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from dtf_dask.demand_conflicts import conflict
from dtf_dask.demand_grammar import read_expression, read_preference
from dtf_dask.demand_reasons import reasons
from dtf_dask.demand_terms import (
    Facts,
    Term,
    Test,
    comparisons,
    compiled,
)
from dtf_dask.demand_tokens import EXPRESSION_LENGTH_MAX
from dtf_dask.errors import DemandError
from dtf_dask.facts import WORKER_FACTS, Vocabulary
from dtf_dask.hints import shown

_CACHED_MAX = 1024


@dataclass(frozen=True, slots=True)
class Expression:
    """A condition over facts, in its one form; equal where it says the same.

    Parameters
    ----------
    text
        The expression as dtf writes it. It reads as this very expression.
    evaluate
        Tells whether facts meet it. They must have come through `facts.checked`.
    """

    text: str
    term: Term = field(compare=False, repr=False)
    evaluate: Test = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[Callable[[Term], Expression], tuple[Term]]:
        return _expression, (self.term,)  # what was compiled does not travel

    @property
    def names(self) -> frozenset[str]:
        """The facts that it asks for."""
        return frozenset(one.name for one in comparisons(self.term))

    def lacks(self, facts: Facts) -> tuple[str, ...]:
        """Why facts do not meet it, in words; empty if they do.

        Examples
        --------
        >>> parse("gpu.count >= 1 and python.version >= '3.12'").lacks(
        ...     {"python.version": "3.11.7"}
        ... )
        ('needs gpu.count >= 1, has 0', 'needs python.version >= 3.12, has 3.11.7')
        """
        return () if self.evaluate(facts) else reasons(self.term, facts)


@dataclass(frozen=True, slots=True)
class Preference:
    """Expressions with weights: what would be good, and how good."""

    text: str
    parts: tuple[tuple[Expression, int], ...] = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.text

    @property
    def names(self) -> frozenset[str]:
        """The facts that it asks for."""
        return frozenset[str]().union(*(one.names for one, _ in self.parts))

    def score(self, facts: Facts) -> int:
        """The share of the weights whose expressions facts meet, from 0 to 100.

        Examples
        --------
        >>> wish = parse_preference("gpu.arch == 'hopper': 3, memory >= '64 GiB'")
        >>> wish.score({"gpu.arch": "hopper"}), wish.score({"memory": 2**36})
        (75, 25)
        """
        met = sum(weight for one, weight in self.parts if one.evaluate(facts))
        return 100 * met // sum(weight for _, weight in self.parts)


def parse(text: object, vocabulary: Vocabulary = WORKER_FACTS) -> Expression:
    """Read an expression; the same text gives the same object.

    Parameters
    ----------
    vocabulary
        The facts that it may ask for: `facts.WORKER_FACTS` in demands of tasks,
        `facts.TASK_FACTS` in what a worker accepts.

    Raises
    ------
    DemandError
        If it is no expression: in which column, and what would be right.

    Examples
    --------
    >>> parse("(not gpu.count<1) and memory >= 4 GiB")
    Expression(text="gpu.count >= 1 and memory >= '4 GiB'")
    """
    return _parsed(_checked(text), vocabulary)


def parse_demand(text: object, vocabulary: Vocabulary = WORKER_FACTS) -> Expression:
    """Read an expression that has to hold somewhere.

    Raises
    ------
    DemandError
        If it is no expression, or one that nothing can meet.

    Examples
    --------
    >>> parse_demand("gpu.count >= 2 and gpu.count < 2")
    Traceback (most recent call last):
    ...
    dtf_dask.errors.DemandError: no worker can meet gpu.count < 2 and gpu.count >= 2
    """
    found = parse(text, vocabulary)
    impossible = contradictory(found)
    if impossible is not None:
        raise DemandError(f"no {vocabulary.whose} can meet {impossible}")
    return found


def parse_preference(text: object, vocabulary: Vocabulary = WORKER_FACTS) -> Preference:
    """Read expressions with weights, ``expression: weight, ...``; a weight may be left
    out and is 1.

    Raises
    ------
    DemandError
        If it is none: in which column, and what would be right.
    """
    return _parsed_preference(_checked(text), vocabulary)


def contradictory(expression: Expression) -> str | None:
    """The part that no facts can meet; None if there may be some.

    What it finds is certain. It does not find everything.
    """
    return conflict(expression.term)


def _checked(text: object) -> str:
    if not isinstance(text, str):
        raise DemandError(
            "expected an expression such as \"gpu.memory >= '16 GiB'\", "
            f"not {shown(text)}"
        )
    return text


@lru_cache(_CACHED_MAX)
def _parsed(text: str, vocabulary: Vocabulary) -> Expression:
    return _expression(read_expression(text, vocabulary))


@lru_cache(_CACHED_MAX)
def _parsed_preference(text: str, vocabulary: Vocabulary) -> Preference:
    parts = tuple(
        (_expression(term), weight)
        for term, weight in read_preference(text, vocabulary)
    )
    written = ", ".join(
        str(one) if weight == 1 else f"{one}: {weight}" for one, weight in parts
    )
    _within_limit(written)
    return Preference(written, parts)


def _expression(term: Term) -> Expression:
    text = str(term)
    _within_limit(text)
    return Expression(text, term, compiled(term))


def _within_limit(written: str) -> None:
    # Lists of version families are written out, and the result must be readable again.
    if len(written) > EXPRESSION_LENGTH_MAX:
        raise DemandError(
            f"written out it has {len(written)} characters, over the limit of "
            f"{EXPRESSION_LENGTH_MAX}"
        )

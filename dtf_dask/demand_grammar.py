"""The grammar of demands, by recursive descent with bounds. Pure.

    any        = all ("or" all)*
    all        = condition ("and" condition)*
    condition  = "not"* ("(" any ")" | "true" | "false" | comparison)
    comparison = fact | fact SIGN value | value SIGN fact
               | fact ["not"] "in" list | fact "has" text | text "in" fact
    list       = "[" value ("," value)* "]"
    value      = TEXT | NUMBER [UNIT] | "true" | "false"
    preference = weighted ("," weighted)*
    weighted   = any [":" NUMBER]

What a comparison means depends on the kind of the fact, which is known: errors of type
are errors of grammar, found where they stand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dtf_dask.demand_terms import (
    FALSE,
    OPPOSITE,
    TRUE,
    Comparison,
    Op,
    Term,
    all_of,
    any_of,
    negated,
)
from dtf_dask.demand_tokens import COMPARISON_SIGNS, Token, What, failure, tokens
from dtf_dask.demand_values import EXAMPLES, read_value
from dtf_dask.errors import DemandError
from dtf_dask.facts import Fact, Kind, Vocabulary, canonical_name
from dtf_dask.hints import shown
from dtf_dask.versions import family

DEPTH_MAX = 20
TERMS_COUNT_MAX = 64
WEIGHT_MAX = 100

_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_SIGNS: dict[Kind, tuple[str, ...]] = {
    Kind.TEXT: ("==", "!=", "in"),
    Kind.NUMBER: (*COMPARISON_SIGNS, "in"),
    Kind.SIZE: (*COMPARISON_SIGNS, "in"),
    Kind.DURATION: (*COMPARISON_SIGNS, "in"),
    Kind.VERSION: (*COMPARISON_SIGNS, "in"),
    Kind.NAMES: ("has",),
    Kind.FLAG: ("==", "!="),
}
_NOUNS = {
    Kind.NAMES: "a list of names",
    Kind.FLAG: "a flag, true or false",
}
# Those of which a name alone says something: it is set, or known at all.
_CONDITIONS = (Kind.FLAG, Kind.TEXT, Kind.VERSION)


def read_expression(source: str, vocabulary: Vocabulary) -> Term:
    """Read an expression.

    Raises
    ------
    DemandError
        With the column of what is wrong, and what would be right.
    """
    reader = _Reader(source, vocabulary)
    term = reader.any(0)
    if reader.next.is_(",", ":"):
        raise reader.failure(f"{reader.next.shown} has a meaning in preferences only")
    reader.end("'and', 'or' or the end")
    return term


def read_preference(source: str, vocabulary: Vocabulary) -> list[tuple[Term, int]]:
    """Read weighted expressions: ``gpu.arch == 'hopper': 3, memory >= '64 GiB'``.

    Raises
    ------
    DemandError
        With the column of what is wrong, and what would be right.
    """
    reader = _Reader(source, vocabulary)
    found = [reader.weighted()]
    while reader.accept(","):
        found.append(reader.weighted())
    reader.end("'and', 'or', a weight such as ': 3', ',' or the end")
    return found


@dataclass(frozen=True, slots=True)
class _Subject:
    """The fact that is compared, and the word that names it."""

    name: str
    fact: Fact
    word: Token

    @property
    def is_a(self) -> str:
        kind = self.fact.kind
        return f"{self.name} is {_NOUNS.get(kind, f'a {kind}')}"


class _Reader:
    """Where in the words of an expression we are."""

    def __init__(self, source: str, vocabulary: Vocabulary) -> None:
        self._source = source
        self._vocabulary = vocabulary
        self._tokens = tokens(source)
        self._at = 0
        self._terms = 0

    # Words.

    @property
    def next(self) -> Token:
        return self._tokens[self._at]

    def accept(self, *texts: str) -> Token | None:
        """Take the next word if it is one of these."""
        return self._take() if self.next.is_(*texts) else None

    def end(self, expected: str) -> None:
        """Refuse whatever is left."""
        if self.next.is_(*COMPARISON_SIGNS, "in", "has"):
            raise self.failure("comparisons do not chain; join two by 'and'")
        if self.next.what is not What.END:
            lower = self.next.text.lower()
            case = f"; write {lower!r}" if lower in ("and", "or") else ""
            raise self.failure(f"expected {expected}, not {self.next.shown}{case}")

    def failure(self, what: str, word: Token | None = None) -> DemandError:
        return failure(self._source, (word or self.next).at, what)

    def _take(self) -> Token:
        token = self.next
        if token.what is not What.END:
            self._at += 1
        return token

    # Groups.

    def any(self, depth: int) -> Term:
        terms = [self._all(depth)]
        while self.accept("or"):
            terms.append(self._all(depth))
        return any_of(terms)

    def _all(self, depth: int) -> Term:
        terms = [self._condition(depth)]
        while self.accept("and"):
            terms.append(self._condition(depth))
        return all_of(terms)

    def _condition(self, depth: int) -> Term:
        turned = False
        while self.accept("not"):
            turned = not turned
        opened = self.accept("(")
        if opened is None:
            term = self._comparison()
        elif depth >= DEPTH_MAX:
            raise self.failure(f"more than {DEPTH_MAX} parentheses deep", opened)
        else:
            term = self.any(depth + 1)
            if not self.accept(")"):
                self.end("'and', 'or' or ')'")
                raise self.failure("this parenthesis is never closed", opened)
        return negated(term) if turned else term

    def weighted(self) -> tuple[Term, int]:
        term = self.any(0)
        if not self.accept(":"):
            return term, 1
        word = self._take()
        weight = int(word.text) if word.text.isdecimal() else 0
        if word.what is What.NUMBER and 1 <= weight <= WEIGHT_MAX:
            return term, weight
        raise self.failure(
            f"expected a weight, a whole number from 1 to {WEIGHT_MAX}, "
            f"not {word.shown}",
            word,
        )

    # Comparisons.

    def _comparison(self) -> Term:
        self._terms += 1
        if self._terms > TERMS_COUNT_MAX:
            raise self.failure(f"more than {TERMS_COUNT_MAX} comparisons")
        first = self._take()
        if first.what is What.NAME:
            return self._of_fact(self._subject(first))
        if first.is_("true", "false") and not self.next.is_("==", "!="):
            return TRUE if first.text == "true" else FALSE
        if first.what in (What.TEXT, What.NUMBER) or first.is_("true", "false"):
            return self._of_value(first)
        raise self.failure(
            f"expected a fact of the {self._vocabulary.whose}, not {first.shown}", first
        )

    def _of_fact(self, subject: _Subject) -> Term:
        """What follows a fact that stands first."""
        turned = self.next.is_("not") and self._tokens[self._at + 1].is_("in")
        if turned:
            self._take()
        sign = self.accept(*COMPARISON_SIGNS, "in", "has")
        if sign is None:
            return self._alone(subject)
        self._check_sign(subject, sign)
        if sign.text == "in":
            term = self._listed(subject)
            return negated(term) if turned else term
        word, unit = self._value(subject)
        return self._compare(subject, Op(sign.text), word, unit)

    def _of_value(self, word: Token) -> Term:
        """``16 GiB <= memory`` and ``'avx2' in cpu.features``, turned around."""
        unit = self._unit(word)
        sign = self.accept(*COMPARISON_SIGNS, "in")
        if sign is None:
            raise self.failure("expected a comparison of this with a fact", word)
        named = self._take()
        if named.what is not What.NAME:
            raise self.failure(f"expected a fact, not {named.shown}", named)
        subject = self._subject(named)
        if sign.text == "in":
            if subject.fact.kind is not Kind.NAMES:
                raise self.failure(f"{subject.is_a}: nothing is in it", named)
            return self._compare(subject, Op.HAS, word, unit)
        self._check_sign(subject, sign)
        return self._compare(subject, Op(_FLIPPED[sign.text]), word, unit)

    def _subject(self, word: Token) -> _Subject:
        name = canonical_name(word.text)
        fact = self._vocabulary.fact(name)
        if fact is None:
            hint = self._vocabulary.hint(name)
            raise self.failure(f"no fact is called {word.shown}{hint}", word)
        return _Subject(name, fact, word)

    def _check_sign(self, subject: _Subject, sign: Token) -> None:
        known = _SIGNS[subject.fact.kind]
        if sign.text not in known:
            raise self.failure(
                f"{subject.is_a}: compare it by {', '.join(known)}, not by {sign.text}",
                sign,
            )

    def _alone(self, subject: _Subject) -> Term:
        """A fact as a condition of its own."""
        kind = subject.fact.kind
        if kind not in _CONDITIONS:
            sign = "has" if kind is Kind.NAMES else ">="
            raise self.failure(
                f"{subject.is_a}: compare it, "
                f"such as {subject.name} {sign} {EXAMPLES[kind]}",
                subject.word,
            )
        return Comparison(subject.name, subject.fact, Op.IS)

    def _listed(self, subject: _Subject) -> Term:
        """``in`` with its list; one with families is an "or" of its parts."""
        if not self.accept("["):
            raise self.failure(f"expected a list, '[', not {self.next.shown}")
        parts: list[Comparison] = []
        while not parts or self.accept(","):
            word, unit = self._value(subject)
            parts.append(self._compare(subject, Op.EQ, word, unit))
        if not self.accept("]"):
            raise self.failure(f"expected ',' or ']', not {self.next.shown}")
        terms: list[Term] = [one for one in parts if one.op is Op.LIKE]
        self._terms += len(terms)
        if self._terms > TERMS_COUNT_MAX:
            raise self.failure(f"more than {TERMS_COUNT_MAX} comparisons")
        values = tuple(sorted({one.value for one in parts if one.op is Op.EQ}))
        if len(values) == 1:
            terms.append(Comparison(subject.name, subject.fact, Op.EQ, values[0]))
        elif values:
            terms.append(Comparison(subject.name, subject.fact, Op.IN, values))
        return any_of(terms)

    def _value(self, subject: _Subject) -> tuple[Token, Token | None]:
        word = self._take()
        if word.what is What.NAME:
            if self._vocabulary.fact(canonical_name(word.text)):
                what = "compare a fact with a value, not with another fact"
            else:
                what = f"put it in quotes: '{word.text}'"
            raise self.failure(what, word)
        if word.what in (What.END, What.SIGN):
            raise self.failure(
                f"{subject.is_a}: expected a value such as "
                f"{EXAMPLES[subject.fact.kind]}, not {word.shown}",
                word,
            )
        joined = self.next.at == word.at + len(word.text)  # 3.12rc1 is one thing
        takes_units = subject.fact.kind in (Kind.SIZE, Kind.DURATION)
        return word, self._unit(word) if takes_units or joined else None

    def _unit(self, word: Token) -> Token | None:
        """The unit behind a number: ``16 GiB``."""
        is_unit = word.what is What.NUMBER and self.next.what is What.NAME
        return self._take() if is_unit else None

    def _compare(
        self, subject: _Subject, op: Op, word: Token, unit: Token | None
    ) -> Comparison:
        fact = subject.fact
        value: Any
        try:
            if fact.kind is Kind.VERSION and word.what is What.TEXT:
                value = family(word.text)
                if value is not None:
                    return self._of_family(subject, op, value, word)
            value = read_value(fact, word, unit)
        except ValueError as error:
            raise self.failure(f"{subject.is_a}: {error}", word) from None
        if fact.kind is Kind.FLAG:
            # == true, != false: set. The others: not set.
            is_set = value is (op is Op.EQ)
            return Comparison(subject.name, fact, Op.IS if is_set else Op.IS_NOT)
        return Comparison(subject.name, fact, op, value)

    def _of_family(
        self, subject: _Subject, op: Op, value: Any, word: Token
    ) -> Comparison:
        like = Comparison(subject.name, subject.fact, Op.LIKE, value)
        if op is Op.EQ:
            return like
        if op is Op.NE:
            return replace(like, op=OPPOSITE[Op.LIKE])
        raise self.failure(
            f"{shown(word.text)} goes with == and !=; write {word.text[:-2]!r}", word
        )

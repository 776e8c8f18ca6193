"""The words of the demand language, and errors that point at them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from dtf_dask.errors import DemandError
from dtf_dask.hints import shown

EXPRESSION_LENGTH_MAX = 1000
_EXCERPT_LENGTH_MAX = 72

KEYWORDS = ("and", "or", "not", "in", "has", "true", "false")
COMPARISON_SIGNS = ("==", "!=", "<=", ">=", "<", ">")

# What people write who think of another language -> what it is called here.
_ELSEWHERE = {
    "=": "write == to compare",
    "&": "write and",
    "|": "write or",
    "!": "write not",
    "-": "no fact is negative",
    "'": "this quote is never closed",
    '"': "this quote is never closed",
}

_WORD = re.compile(
    r"""\ *(?:
        (?P<name>[A-Za-z_][A-Za-z0-9_.-]*)
      | (?P<number>[0-9][0-9.]*(?:[eE][+-]?[0-9]+)?)
      | (?P<text>'[^']*'|"[^"]*")
      | (?P<sign>==|!=|<=|>=|[<>()\[\],:])
    )""",
    re.VERBOSE,
)


class What(StrEnum):
    """The kinds of words."""

    NAME = "name"
    KEYWORD = "keyword"
    NUMBER = "number"
    TEXT = "text"
    SIGN = "sign"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """A word and where it begins; ``text`` is without its quotes, if it had any."""

    what: What
    text: str
    at: int

    @property
    def shown(self) -> str:
        if self.what is What.END:
            return "the end"
        return self.text[:40] if self.what is What.NUMBER else shown(self.text)

    def is_(self, *texts: str) -> bool:
        """Whether it is one of these keywords or signs."""
        return self.what in (What.KEYWORD, What.SIGN) and self.text in texts


def tokens(source: str) -> list[Token]:
    """Split an expression into words; the last is its end.

    Raises
    ------
    DemandError
        If it is empty, too long, not one printable line, or has other characters.
    """
    if len(source) > EXPRESSION_LENGTH_MAX:
        raise DemandError(
            f"{len(source)} characters are over the limit of {EXPRESSION_LENGTH_MAX}"
        )
    if not source.isprintable():
        raise DemandError("expected one line of printable characters")
    if not source.strip(" "):
        raise DemandError("expected an expression such as \"gpu.memory >= '16 GiB'\"")
    found = []
    at, end = 0, len(source.rstrip(" "))
    while at < end:
        match = _WORD.match(source, at)
        if match is None:
            at += len(source[at:]) - len(source[at:].lstrip(" "))
            hint = _ELSEWHERE.get(source[at])
            what = f"{source[at]!r} is not understood"
            raise failure(source, at, f"{what}; {hint}" if hint else what)
        what = What(match.lastgroup or "")
        text = match[what]
        start = match.start(what)
        if what is What.NAME and text in KEYWORDS:
            what = What.KEYWORD
        elif what is What.TEXT:
            text = text[1:-1]
        found.append(Token(what, text, start))
        at = match.end()
    return [*found, Token(What.END, "", end)]


def failure(source: str, at: int, what: str) -> DemandError:
    """An error that says in which column, and shows the place."""
    first = max(0, min(at - _EXCERPT_LENGTH_MAX // 2, len(source) - 1))
    if len(source) <= _EXCERPT_LENGTH_MAX:
        first = 0
    excerpt = source[first : first + _EXCERPT_LENGTH_MAX]
    return DemandError(
        f"column {at + 1}: {what}\n    {excerpt}\n    {' ' * (at - first)}^"
    )

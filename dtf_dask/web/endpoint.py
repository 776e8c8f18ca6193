"""One path of the API, with what it takes and what it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dtf_dask.web import schemas
from dtf_dask.web.listing import PAGE
from dtf_dask.web.parameters import Choice, Parameter, Text
from dtf_dask.web.site import Site

Query = Mapping[str, Any]
Answer = Callable[[Site, Query], Awaitable[Any]]

_RUN = Text(
    "run", "Its id, a beginning of one that is no other's, or 'last'.", required=True
)


_OUTCOMES = ("passed", "failed", "error", "timeout", "skipped", "lost", "flaky")
_SORTS = ("order", "case_id", "duration_s", "attempts")
CASES: tuple[Parameter, ...] = (
    *PAGE,
    Choice("outcome", "Only those that came to this.", _OUTCOMES),
    Text("q", "Only those whose id holds this, in any case."),
    Choice(
        "sort",
        "By what; '-' before it turns the order. 'order' is that of the plan.",
        [word for name in _SORTS for word in (name, f"-{name}")],
        "order",
    ),
)
"""Which cases of a run."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One of them.

    Parameters
    ----------
    path
        Below `paths.BASE`; ``{run}`` stands for one part of it.
    words
        What it answers.
    schema
        Of the answer.
    answer
        Given the site and the values of the query and of the path, JSON's values, or
        bytes of JSON.
    missing
        Whether there may be no such thing.
    """

    path: str
    words: str
    schema: schemas.Schema
    answer: Answer
    parameters: Sequence[Parameter] = ()
    missing: bool = False

    @property
    def in_path(self) -> Sequence[Parameter]:
        """What stands in the path."""
        return (_RUN,) if "{run}" in self.path else ()

"""What an answer says that refuses: problem details (RFC 9457). Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

CONTENT_TYPE = "application/problem+json"

TITLES = {
    400: "The request makes no sense",
    403: "Refused",
    404: "There is no such thing",
    405: "This cannot be done with it",
    409: "This cannot be done as things are",
    415: "It is said in another way than is understood",
    421: "This is not served under that name",
    500: "A defect of dtf",
    503: "Not now",
}

_DETAIL_CHARS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and what to do about it.

    Parameters
    ----------
    status
        Of HTTP.
    detail
        In words, for who asked.
    headers
        To be sent with it.
    """

    status: int
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The kind of problem, the same for all of a status."""
        return TITLES.get(self.status, "This was not done")

    def body(self) -> bytes:
        """As it is sent."""
        plain = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail[:_DETAIL_CHARS_MAX],
        }
        return json.dumps(plain).encode()


class RefusedError(Exception):
    """What is asked for is refused, with a `Problem` that says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


def refused(status: int, detail: str, **headers: str) -> RefusedError:
    """What to raise to refuse; ``Retry_After`` stands for that header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return RefusedError(Problem(status, detail, named))

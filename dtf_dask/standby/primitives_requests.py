"""Which requests were done, and with which answers: each is done once. Pure.

Who asks numbers requests, and says with a later one which of them it has had answers
of; until then the answer is kept, as a record of the ledger. Bounded: of those who ask,
the ones that asked longest ago are forgotten, with their answers.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import NamedTuple

from dtf_dask.durable.requests import Request

REQUESTERS_MAX = 10_000
QUIET_S_MAX = 3_600.0
_OVER_MAX = 1_000


class Past(NamedTuple):
    """What is known of a request: whether it is over, and its answer if it is kept."""

    over: bool
    answer: bytes | None


@dataclass(slots=True)
class _Requester:
    heard_at_s: float
    answers: dict[int, bytes] = field(default_factory=dict)
    over: deque[int] = field(default_factory=lambda: deque(maxlen=_OVER_MAX))


class Requests:
    """The answers that may have to be given again.

    Examples
    --------
    >>> requests = Requests()
    >>> requests.heard(Request("w", 1, ()), 0.0)
    (Past(over=False, answer=None), [])
    >>> requests.answered("w", 1, b"yes")
    True
    >>> requests.heard(Request("w", 1, ()), 1.0)
    (Past(over=False, answer=b'yes'), [])
    >>> requests.heard(Request("w", 2, (1,)), 2.0)
    (Past(over=False, answer=None), [('w', 1)])
    """

    def __init__(self, requesters_max: int = REQUESTERS_MAX) -> None:
        self._requesters_max = requesters_max
        self._requesters: OrderedDict[str, _Requester] = OrderedDict()

    def restored(
        self, requester: str, number: int, answer: bytes, now_s: float
    ) -> None:
        """An answer that a leader before this one gave."""
        found = self._requesters.setdefault(requester, _Requester(now_s))
        found.answers[number] = answer

    def heard(
        self, request: Request, now_s: float
    ) -> tuple[Past, list[tuple[str, int]]]:
        """A request came: what is known of it, and which answers may be forgotten."""
        found = self._requesters.setdefault(request.requester, _Requester(now_s))
        found.heard_at_s = now_s
        self._requesters.move_to_end(request.requester)
        forgotten = []
        for number in request.done:
            found.over.append(number)
            if found.answers.pop(number, None) is not None:
                forgotten.append((request.requester, number))
        forgotten += self._forget_quiet(now_s)
        past = Past(request.number in found.over, found.answers.get(request.number))
        return past, forgotten

    def answered(self, requester: str, number: int, answer: bytes) -> bool:
        """A request was done; whether its answer is to be kept."""
        found = self._requesters.get(requester)
        if found is None or number in found.over:
            return False
        found.answers[number] = answer
        return True

    def _forget_quiet(self, now_s: float) -> list[tuple[str, int]]:
        forgotten: list[tuple[str, int]] = []
        while len(self._requesters) > 1:
            name, oldest = next(iter(self._requesters.items()))
            many = len(self._requesters) > self._requesters_max
            if not many and now_s - oldest.heard_at_s <= QUIET_S_MAX:
                break
            del self._requesters[name]
            forgotten += [(name, number) for number in oldest.answers]
        return forgotten

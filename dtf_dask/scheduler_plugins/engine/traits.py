"""What the workers' facts come to under all that was ever asked of them. Pure.

Two workers are alike if every demand finds them alike, not if they say the same: hosts
have names, and disks fill. So a thousand workers form a few groups, and a task is
matched with groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dtf_dask.demand import Expression, Preference
from dtf_dask.scheduler_plugins.engine.match import Want
from dtf_dask.scheduler_plugins.engine.terms import Offer

_REMEMBERED_MAX = 100_000

Question = Expression | Preference | str
"""A demand, a preference, or the name of a custom resource."""


class Traits:
    """The questions asked so far, and the answers to them."""

    def __init__(self) -> None:
        self._questions: dict[Question, tuple[str, ...]] = {}
        self._answers: dict[tuple[Any, ...], Any] = {}

    def new_in(self, want: Want) -> list[Question]:
        """What a want asks that nobody has asked before; from now on it is known."""
        asked: list[Question] = [name for name, _ in want.shape.custom]
        if want.hardware is not None:
            asked.append(want.hardware)
        if want.prefer is not None:
            asked.append(want.prefer)
        new = [question for question in asked if question not in self._questions]
        for question in new:
            named = () if isinstance(question, str) else sorted(question.names)
            self._questions[question] = tuple(named)
        return new

    def of(self, offer: Offer) -> tuple[Any, ...]:
        """All answers for one worker, in the order of the questions."""
        return self.answers(self._questions, offer)

    def answers(self, questions: Iterable[Question], offer: Offer) -> tuple[Any, ...]:
        """The answers to some questions for one worker."""
        return tuple([self.answer(question, offer) for question in questions])

    def answer(self, question: Question, offer: Offer) -> Any:
        """Whether a worker meets a demand, its score, or how much it has."""
        if isinstance(question, str):
            return offer.resources.get(question, 0)
        facts = offer.facts
        key = (question, *(facts.get(name) for name in self._questions[question]))
        try:
            return self._answers[key]
        except KeyError:
            answer = self._answers[key] = _asked(question, facts)
            if len(self._answers) > _REMEMBERED_MAX:
                self._answers.clear()
            return answer
        except TypeError:  # a fact that is a list: not remembered
            return _asked(question, facts)


def _asked(question: Expression | Preference, facts: Mapping[str, Any]) -> int | bool:
    if isinstance(question, Expression):
        return question.evaluate(facts)
    return question.score(facts)

"""How long a task will run, learned from how long it ran. Pure.

Of each test and group of workers the last few durations are kept. Their median is the
estimate: one wild run does not move it, and a test that has become slower for good is
followed as soon as half of the window has seen it. What never ran in a group is
estimated from what is nearest to it: the test elsewhere, its variants, its file, its
class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from dtf_dask.scheduler_plugins.policies.group_speed import GroupSpeeds
from dtf_dask.scheduler_plugins.policies.learned import (
    NAME_LENGTH_MAX,
    SECONDS_MAX,
    Kind,
    Note,
)

_GROUPS_ASKED_MAX = 3
_GUESSES_MAX = 10_000  # names of which it is kept what they should take elsewhere,
_GUESSED_GROUPS_MAX = 256  # and where, of each

Source = Literal[
    "runs", "other groups", "similar", "class", "default", "asked", "guessed"
]


class Estimate(NamedTuple):
    """What a task will take. A tuple, since one is made for every question.

    Parameters
    ----------
    seconds
        The most likely duration.
    spread_s
        By how much it may well be longer.
    count
        How many runs of this very test, in this very group, stand behind it.
    source
        Where the number comes from.
    """

    seconds: float
    spread_s: float
    count: int  # type: ignore[assignment]  # that of a tuple is of no use here
    source: Source


def told(seconds: float, guessed: bool) -> Estimate:
    """What whoever submits a task says of it."""
    return Estimate(seconds, seconds / 2, 0, "guessed" if guessed else "asked")


@dataclass(frozen=True, slots=True)
class EstimateSettings:
    """Bounds of what is remembered. A test that ran in one group takes about 0.8 KiB.

    ``runs_max`` durations of each (test, group) are kept: a change is followed after
    more than half as many; ``similar_runs_max`` of each file, family of variants and
    class.
    """

    runs_max: int = 9
    similar_runs_max: int = 31
    names_max: int = 100_000
    groups_max: int = 32
    similar_max: int = 20_000
    classes_max: int = 64


class _Runs:
    """The last durations of one thing, and what follows from them."""

    __slots__ = ("_answer", "durations")

    def __init__(self) -> None:
        self.durations: list[float] = []
        self._answer: Estimate | None = None

    def add(self, seconds: float, runs_max: int) -> None:
        durations = self.durations
        durations.append(seconds)
        if len(durations) > runs_max:
            del durations[0]
        self._answer = None

    def add_before(self, seconds: Sequence[float], runs_max: int) -> None:
        self.durations = [*seconds, *self.durations][-runs_max:]
        self._answer = None

    def typical(self) -> Estimate:
        """Of one test: the median. Of two in the middle the lower: stalls add time."""
        return self._answer or self._answered(_median, "runs")

    def mean(self) -> Estimate:
        """Of many tests: the mean, without the extremes: their sum is what counts."""
        return self._answer or self._answered(_trimmed_mean, "similar")

    def _answered(
        self, middle: Callable[[list[float]], float], source: Source
    ) -> Estimate:
        ordered = sorted(self.durations)
        count = len(ordered)
        seconds = middle(ordered)
        # With nine runs the second largest: one wild run is not a spread.
        above_s = ordered[count * 8 // 10] - seconds
        spread_s = max(above_s, seconds / (count + 1))
        self._answer = Estimate(seconds, spread_s, count, source)
        return self._answer


class Estimates:
    """Durations of tasks by name and group of workers.

    Names are those of tests (``file.py::Class::test[variant]``) or any others.
    """

    def __init__(self, settings: EstimateSettings | None = None) -> None:
        self._settings = settings or EstimateSettings()
        self.speeds = GroupSpeeds()
        self.derived: dict[str, Any] = {}
        """What others keep of a name; it is dropped when the name is learned of."""
        self.note: Note | None = None
        """Hears of each number that is learned, for whoever keeps them."""
        # All of them with the one that was learned of last at the end.
        self._names: dict[str, dict[str, _Runs]] = {}
        # By name and group, until either the name or the groups' speeds change: each
        # decision asks of each group (a third of the CPU of deciding, without this).
        self._guesses: dict[str, dict[str, Estimate]] = {}
        self._solved = 0
        self._similar: dict[str, _Runs] = {}  # as on a group of factor 1
        self._classes: dict[str, _Runs] = {}  # as on a group of factor 1

    def of(
        self, name: str, group: str, default_s: float, priority_class: str = ""
    ) -> Estimate:
        """What it will take there, by the nearest thing that is known."""
        groups = self._names.get(name)
        if groups is not None:
            runs = groups.get(group)
            if runs is not None:
                return runs._answer or runs.typical()
            return self._elsewhere(name, groups, group)
        wider = _wider(name)
        while wider:
            runs = self._similar.get(wider)
            if runs is not None:
                seconds, spread_s, _, _ = runs.mean()
                return self._guess(seconds, spread_s, group, "similar")
            wider = _wider(wider)
        runs = self._classes.get(priority_class)
        if runs is not None:
            seconds, spread_s, _, _ = runs.mean()
            return self._guess(seconds, spread_s, group, "class")
        return Estimate(default_s, default_s, 0, "default")

    def groups(self, name: str) -> dict[str, Estimate]:
        """The groups in which it ran, and what it took there."""
        groups = self._names.get(name, {})
        return {group: runs.typical() for group, runs in groups.items()}

    def learn(
        self, name: str, group: str, seconds: float, priority_class: str = ""
    ) -> None:
        """It ran to its end there. What is no duration is ignored."""
        if not 0 <= seconds < math.inf or len(name) > NAME_LENGTH_MAX:
            return
        if seconds > SECONDS_MAX:
            seconds = SECONDS_MAX
        settings = self._settings
        self.derived.pop(name, None)
        self._guesses.pop(name, None)
        names = self._names
        groups = names.pop(name, None)
        if groups is None:
            groups = {}
            if len(names) >= settings.names_max:
                del names[next(iter(names))]
        names[name] = groups
        runs = groups.pop(group, None)
        if runs is None:
            runs = _Runs()
            if len(groups) >= settings.groups_max:
                del groups[next(iter(groups))]
        groups[group] = runs
        runs.add(seconds, settings.runs_max)
        if len(groups) > 1:
            self._compare(name, groups, group)
        base_s = min(seconds / self.speeds.factor(group), SECONDS_MAX)
        note = self.note
        if note is not None:
            note("runs", name, group, seconds, settings.runs_max)
        wider = _wider(name)
        while wider:
            self._learn_similar("similar", wider, base_s)
            wider = _wider(wider)
        # There are few classes: which of them was learned of last does not matter.
        runs = self._classes.get(priority_class)
        if runs is None or note is not None:
            self._learn_similar("class", priority_class, base_s)
        else:
            runs.add(base_s, settings.similar_runs_max)

    def recall(
        self, kind: Kind, name: str, group: str, seconds: Sequence[float]
    ) -> None:
        """Take over what was learned before; what was learned since is the newer.

        It is left out where all there is room for has been learned since.
        """
        settings = self._settings
        if kind != "runs":
            table, size = self._table(kind)
            runs = _room(table, name, size)
            if runs is not None:
                runs.add_before(seconds, settings.similar_runs_max)
            return
        groups = self._names.get(name)
        if groups is None:
            if len(self._names) >= settings.names_max:
                return
            groups = self._names[name] = {}
        runs = _room(groups, group, settings.groups_max)
        if runs is not None:
            runs.add_before(seconds, settings.runs_max)
            self.derived.pop(name, None)
            self._guesses.pop(name, None)
            self._compare(name, groups, group)

    def _compare(self, name: str, groups: dict[str, _Runs], group: str) -> None:
        """What ran in several groups tells how fast these are."""
        if self.speeds.knows(name):
            self.speeds.learn(name, group, groups[group].typical().seconds)
        else:
            for other, there in groups.items():
                self.speeds.learn(name, other, there.typical().seconds)

    def _elsewhere(self, name: str, groups: dict[str, _Runs], group: str) -> Estimate:
        """What a test takes in a group that it did not run in, by those it ran in."""
        guesses = self._guesses
        if self._solved != self.speeds.solved:
            self._solved = self.speeds.solved
            guesses.clear()
        known = guesses.get(name)
        if known is None:
            if len(guesses) >= _GUESSES_MAX:
                guesses.clear()
            known = guesses[name] = {}
        guess = known.get(group)
        if guess is None:
            if len(known) >= _GUESSED_GROUPS_MAX:
                known.clear()
            base_s = self._base_s(groups)
            guess = self._guess(base_s, base_s / 2, group, "other groups")
            known[group] = guess
        return guess

    def _guess(
        self, base_s: float, spread_s: float, group: str, source: Source
    ) -> Estimate:
        """Of what never ran there: no better known than by half."""
        factor = self.speeds.factor(group)
        seconds = base_s * factor
        half_s = seconds / 2
        spread_s *= factor
        return Estimate(seconds, spread_s if spread_s > half_s else half_s, 0, source)

    def _base_s(self, groups: dict[str, _Runs]) -> float:
        """What a test takes on a group of factor 1, by the groups it ran in last."""
        bases = []
        for group, runs in reversed(groups.items()):
            answer = runs._answer or runs.typical()
            bases.append(answer.seconds / self.speeds.factor(group))
            if len(bases) == _GROUPS_ASKED_MAX:
                break
        return bases[0] if len(bases) == 1 else _median(sorted(bases))

    def _learn_similar(self, kind: Kind, name: str, seconds: float) -> None:
        table, size = self._table(kind)
        runs_max = self._settings.similar_runs_max
        runs = table.pop(name, None)
        if runs is None:
            runs = _Runs()
            if len(table) >= size:
                del table[next(iter(table))]
        table[name] = runs
        runs.add(seconds, runs_max)
        if self.note is not None:
            self.note(kind, name, "", seconds, runs_max)

    def _table(self, kind: Kind) -> tuple[dict[str, _Runs], int]:
        if kind == "similar":
            return self._similar, self._settings.similar_max
        return self._classes, self._settings.classes_max


def _room(table: dict[str, _Runs], name: str, size: int) -> _Runs | None:
    """What is known of a thing, if only that there is room for it."""
    runs = table.get(name)
    if runs is None and len(table) < size:
        runs = table[name] = _Runs()
    return runs


def _median(ordered: list[float]) -> float:
    return ordered[(len(ordered) - 1) // 2]


def _trimmed_mean(ordered: list[float]) -> float:
    if len(ordered) > 4:
        ordered = ordered[1:-1]
    return sum(ordered) / len(ordered)


def _wider(name: str) -> str:
    """The family of a test's variants; of a test its class, of that its file; or ""."""
    cut = name.find("[")
    if cut <= 0:
        cut = name.rfind("::")
    return name[:cut] if cut > 0 else ""

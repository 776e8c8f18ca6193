"""Cases that ask different things of a worker, told apart. Pure.

Cases of one kind may share a batch. Those of a group that must not be divided are of
one kind: it asks what all of them ask together.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dtf_dask.errors import UsageError
from dtf_dask.hints import nearest
from dtf_dask.scheduler_plugins.adapter.asks import PLAIN, Wishes, read
from dtf_dask.scheduler_plugins.engine.match import Capacity, Wants, hardware_lacks
from dtf_dask.scheduler_plugins.engine.terms import Offer

PLANNED = (
    *("hardware", "prefer", "memory", "gpus", "gpu_memory", "cpus", "resources"),
    *("tokens", "exclusive", "priority_class", "tenant", "deadline", "on_late"),
    "lease",
)
"""The annotations that decide where and when a case runs. The others (its timeout,
retries, what it comes after) are of the case alone."""

_OF_TASKS_ONLY = ("name", "gang", "on_upstream_failure", "preemptible")
_LARGEST = ("memory", "gpus", "gpu_memory", "cpus", "exclusive", "lease")
_BY_NAME = ("resources", "tokens")
_SAME = ("priority_class", "tenant", "deadline", "on_late")

_HINTS_MAX = 2000  # names among which the nearest one is looked for

_WANTS = Wants()


@dataclass(frozen=True, slots=True)
class Kind:
    """What cases ask of where and when they run.

    Parameters
    ----------
    annotation
        What their batches tell the scheduler; empty if they ask nothing.
    wishes
        The same, read.
    """

    annotation: Mapping[str, Any] = field(default_factory=dict)
    wishes: Wishes = PLAIN

    def lacks(self, offer: Offer | None) -> tuple[str, ...]:
        """Why a worker cannot run such cases, in words; empty if it can.

        A worker of which nothing is known runs what asks for nothing.
        """
        if offer is None:
            asks = self.wishes.need != PLAIN.need
            return ("says nothing of its hardware",) if asks else ()
        want = _WANTS.of(self.wishes.need)
        lacking = Capacity.of(offer).lacks(want.shape)
        lacking += hardware_lacks(want, offer.facts)
        if offer.accept is not None and not offer.accept.evaluate(self._facts()):
            lacking += (f"accepts only {offer.accept}",)
        return lacking

    def score(self, offer: Offer | None) -> int:
        """How much a worker is preferred, 0 to 100."""
        prefer = self.wishes.need.prefer
        return 0 if prefer is None or offer is None else prefer.score(offer.facts)

    def _facts(self) -> dict[str, Any]:
        return {"class": self.wishes.priority_class, "tenant": self.wishes.tenant}


def with_moments(
    asked: Sequence[Mapping[str, Any]], started_at: float
) -> list[Mapping[str, Any]]:
    """Deadlines as points in time: what is relative counts from the run's start.

    Examples
    --------
    >>> with_moments([{"deadline": 60.0}], 0.0)
    [{'deadline': '1970-01-01T00:01:00+00:00'}]
    """

    def moment(seconds: float) -> str:
        due = datetime.datetime.fromtimestamp(started_at + seconds, datetime.UTC)
        return due.isoformat()

    return [
        {**one, "deadline": moment(one["deadline"])}
        if isinstance(one.get("deadline"), float)
        else one
        for one in asked
    ]


def orders(
    asked: Sequence[Mapping[str, Any]], ids: Sequence[str]
) -> dict[int, list[int]]:
    """By case, the cases that it comes after.

    Raises
    ------
    UsageError
        For a name that no case has; the nearest one is named.
    """
    if not any("after" in one for one in asked):
        return {}
    numbers = {name: number for number, name in enumerate(ids)}
    found: dict[int, list[int]] = {}
    for number, one in enumerate(asked):
        for name in one.get("after", ()):
            if name not in numbers:
                raise UsageError(
                    f"{ids[number]}: after = {name!r}: there is no such case"
                    f"{nearest(name, ids[:_HINTS_MAX])}"
                )
            found.setdefault(number, []).append(numbers[name])
    return found


def kinds_of(
    asked: Sequence[Mapping[str, Any]],
    groups: Mapping[int, str] | None = None,
    classes: Sequence[str] = ("normal",),
    default_class: str = "normal",
) -> list[Kind]:
    """The kind of each case; equal kinds are one object.

    Parameters
    ----------
    asked
        By case, its annotations as `annotations.validate` returns them.
    groups
        The groups that must not be divided, by case.
    classes, default_class
        The priority classes that there are, and that of cases that name none.

    Raises
    ------
    UsageError
        For what cases cannot ask, or cases of one group not together.
    """
    plain = Kind(wishes=read({}, default_class=default_class))
    if not any(asked):  # as in most runs
        return [plain] * len(asked)
    planned = [_planned(annotation) for annotation in asked]
    members: dict[str, list[int]] = {}
    for index, name in (groups or {}).items():
        if planned[index]:
            members.setdefault(name, []).append(index)
    for index, name in (groups or {}).items():
        if name in members:
            planned[index] = together([planned[i] for i in members[name]], name)
    kinds: dict[str, Kind] = {repr({}): plain}
    found = []
    for annotation in planned:
        key = repr(annotation)
        if key not in kinds:
            wishes = read(annotation, default_class=default_class)
            if wishes.priority_class not in classes:
                raise UsageError(
                    f"priority_class = {wishes.priority_class!r}: there is no such"
                    f" class{nearest(wishes.priority_class, classes)}"
                )
            kinds[key] = Kind(annotation, wishes)
        found.append(kinds[key])
    return found


def together(asked: Sequence[Mapping[str, Any]], group: str) -> dict[str, Any]:
    """What all cases of a group ask of the one worker that runs them.

    Examples
    --------
    >>> together([{"hardware": "gpu.count >= 1", "cpus": 2}, {"cpus": 4}], "g")
    {'hardware': 'gpu.count >= 1', 'cpus': 4}
    """
    merged: dict[str, Any] = {}
    for annotation in dict.fromkeys(map(_frozen, asked)):
        for key, value in annotation:
            if key not in merged:
                merged[key] = value
            elif key == "hardware":
                merged[key] = f"({merged[key]}) and ({value})"
            elif key == "prefer":
                merged[key] = f"{merged[key]}, {value}"
            elif key in _LARGEST:
                merged[key] = max(merged[key], value)
            elif key in _BY_NAME:
                merged[key] = _largest(dict(merged[key]), dict(value))
            elif merged[key] != value:
                raise UsageError(
                    f"the cases of the group {group!r} run together, and ask for"
                    f" {key} = {merged[key]!r} and {value!r}; give them one"
                )
    return {
        key: dict(merged[key]) if key in _BY_NAME else merged[key]
        for key in PLANNED
        if key in merged
    }


def _planned(annotation: Mapping[str, Any]) -> dict[str, Any]:
    for key in _OF_TASKS_ONLY:
        if key in annotation:
            raise UsageError(
                f"{key} is for tasks of a client, not for cases; leave it out"
            )
    return {key: annotation[key] for key in PLANNED if key in annotation}


def _frozen(annotation: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(
        (key, tuple(value.items()) if isinstance(value, Mapping) else value)
        for key, value in annotation.items()
    )


def _largest(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    names = dict.fromkeys((*one, *other))
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in names}

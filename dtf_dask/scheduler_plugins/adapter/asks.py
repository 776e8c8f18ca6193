"""What a task asks of the scheduler, from its annotations and Dask's own fields. Pure.

The client has checked the annotations already. They are checked again: the scheduler
believes no client, and whoever is refused is told why.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from dtf_dask.annotation_values import AMOUNT_MAX as AMOUNT_MAX
from dtf_dask.annotation_values import (
    NAME_LENGTH_MAX,
    UPSTREAM_ALL,
    Late,
    Upstream,
)
from dtf_dask.annotations import validate
from dtf_dask.demand import parse_demand, parse_preference
from dtf_dask.errors import DeadlineError, TaskRefusedError, UsageError
from dtf_dask.hints import shown
from dtf_dask.scheduler_plugins.engine.terms import Ask, Gang, Key, Need

NESTED_BONUS = 1.0
"""What a task is put forward by that was submitted by a task: that one waits for it."""

_OWN_AMOUNTS = ("cpu", "memory", "gpu", "gpu_memory")


class Own(NamedTuple):
    """What one task asks, and those that ask the same otherwise do not. Made for each.

    Parameters
    ----------
    name
        Under which it is learned how tasks fare; None for the prefix of their keys.
    deadline
        Seconds from submission, or a point in time as ISO text.
    expected_s
        How long it is thought to take.
    """

    name: str | None = None
    deadline: float | str | None = None
    expected_s: float | None = None


NOTHING = Own()


@dataclass(frozen=True, slots=True)
class OnFailure:
    """What becomes of a task when one that it depends on fails.

    Parameters
    ----------
    word
        For all that are not among ``edges``; None if nothing was said of them.

    Examples
    --------
    >>> wish = OnFailure(edges=(("load", "run"),))
    >>> wish.of_input("load"), wish.of_input("other"), wish.of_after("other")
    ('run', 'fail', 'run')
    """

    word: Upstream | None = None
    edges: tuple[tuple[Key, Upstream], ...] = ()

    def of_input(self, key: Key) -> Upstream:
        """Of one whose result it needs: as in Dask it fails, if nothing was said."""
        return dict(self.edges).get(key) or self.word or "fail"

    def of_after(self, key: Key) -> Upstream:
        """Of one that it only runs after: any end will do, if nothing was said."""
        return dict(self.edges).get(key) or self.word or "run"

    def strangers(self, known: Collection[Key]) -> list[Key]:
        """The keys that it names and that are not among these."""
        return [key for key, _ in self.edges if key not in known]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What tasks of one annotation ask, whichever of them it is.

    Parameters
    ----------
    retries
        None if the annotation says nothing of it.
    """

    need: Need = Need()  # noqa: RUF009 - frozen
    priority_class: str = "normal"
    tenant: str = "default"
    on_late: Late = "run"
    timeout_s: float | None = None
    retries: int | None = None
    after: tuple[Key, ...] = ()
    gang: Gang | None = None
    preemptible: bool = False
    upstream: OnFailure = OnFailure()
    own: Own = NOTHING
    guessed: bool = False


PLAIN = Wishes()


def read(
    annotation: object = None, resources: object = None, default_class: str = "normal"
) -> Wishes:
    """Check what a task asks.

    Parameters
    ----------
    annotation
        What stands under ``dtf`` in its annotations, if anything does.
    resources
        Dask's own ``resources=``, if it has any.

    Raises
    ------
    TaskRefusedError
        Naming the key, what was given and what was expected.

    Examples
    --------
    >>> read({"gpus": 1}, {"licence": 2}).need.amounts
    (('gpu', 1), ('licence', 2.0))
    """
    try:
        return _read(annotation, resources, default_class)
    except UsageError as error:
        raise TaskRefusedError(f"this task is refused: {error}") from None


def ask(
    key: Hashable,
    name: str,
    wishes: Wishes,
    *,
    now: float,
    wall_now: float,
    priority: float = 0.0,
    nested: bool = False,
    own: Own | None = None,
) -> Ask:
    """One task's ask.

    Parameters
    ----------
    name
        For tasks whose wishes name none.
    now, wall_now
        The engine's clock and that of the world when the task was submitted: a
        relative deadline counts from there.
    nested
        Whether a running task submitted it.
    own
        Instead of that of the wishes.

    Raises
    ------
    DeadlineError
        If its deadline has passed already, and it does not want to run all the same.
    """
    said, deadline, expected_s = wishes.own if own is None else own
    if isinstance(deadline, str):
        moment = datetime.datetime.fromisoformat(deadline)
        ahead = moment.timestamp() - wall_now
        if ahead <= 0 and wishes.on_late != "run":
            raise DeadlineError(
                f"this task is refused: its deadline, {deadline}, has passed"
            )
        deadline = now + ahead
    elif deadline is not None:
        deadline = now + deadline
    return Ask(
        key,
        said or name,
        wishes.need,
        wishes.priority_class,
        wishes.tenant,
        priority + NESTED_BONUS if nested else priority,
        deadline,
        wishes.on_late,
        wishes.timeout_s,
        wishes.after,
        wishes.gang,
        wishes.preemptible,
        expected_s=expected_s,
        guessed=wishes.guessed,
    )


def resource_name(name: object) -> str:
    """How one of Dask's resources is called in amounts: never as one of ours.

    Examples
    --------
    >>> resource_name("GPU"), resource_name("memory")
    ('GPU', 'dask.memory')
    """
    word = str(name)[:NAME_LENGTH_MAX]
    return f"dask.{word}" if word in _OWN_AMOUNTS else word


def _read(annotation: object, resources: object, default_class: str) -> Wishes:
    given = {} if annotation is None else annotation
    if not isinstance(given, Mapping):
        raise UsageError(
            f"the annotation dtf = {shown(given)}: expected a mapping such as "
            '{"hardware": "gpu.count >= 1"}'
        )
    plain = validate(given)
    amounts = _amounts_of(_named(plain.get("resources", {})), resources)
    for name, key in (
        ("cpu", "cpus"),
        ("memory", "memory"),
        ("gpu", "gpus"),
        ("gpu_memory", "gpu_memory"),
    ):
        if plain.get(key):
            amounts[name] = plain[key]
    need = Need(
        hardware=parse_demand(plain["hardware"]) if "hardware" in plain else None,
        prefer=parse_preference(plain["prefer"]) if "prefer" in plain else None,
        amounts=tuple(sorted(amounts.items())),
        tokens=tuple(sorted(_named(plain.get("tokens", {})).items())),
        exclusive=plain.get("exclusive", False),
    )
    return Wishes(
        need,
        priority_class=plain.get("priority_class", default_class),
        tenant=plain.get("tenant", "default"),
        on_late=plain.get("on_late", "run"),
        timeout_s=plain.get("timeout"),
        retries=plain.get("retries"),
        after=tuple(_key(key) for key in plain.get("after", ())),
        gang=Gang(**plain["gang"]) if "gang" in plain else None,
        preemptible=plain.get("preemptible", False),
        upstream=_on_failure(plain.get("on_upstream_failure")),
        own=Own(plain.get("name"), plain.get("deadline"), plain.get("expected")),
        guessed=plain.get("guessed", False),
    )


def _amounts_of(ours: dict[str, float], dasks: object) -> dict[str, float]:
    """Custom amounts, of which Dask's ``resources=`` are some."""
    if isinstance(dasks, Mapping):
        dasks = _named(dasks)
    for name, amount in validate({"resources": dasks or {}})["resources"].items():
        if ours.setdefault(name, amount) != amount:
            raise UsageError(
                f"resources: {name} is {ours[name]:g} in the annotation and "
                f"{amount:g} in Dask's resources=; give one of them"
            )
    return ours


def _on_failure(plain: Any) -> OnFailure:
    pairs: Any = [[UPSTREAM_ALL, plain]] if isinstance(plain, str) else plain or ()
    words: dict[Key, Upstream] = {_key(key): word for key, word in pairs}
    return OnFailure(words.pop(UPSTREAM_ALL, None), tuple(words.items()))


def _named(amounts: Mapping[Any, Any]) -> dict[str, Any]:
    return {resource_name(name): amount for name, amount in amounts.items()}


def _key(key: Any) -> Key:
    """A key as Dask has it: plain data has lists for tuples."""
    return tuple(key) if isinstance(key, list) else key

"""What a task or a case tells the scheduler, checked and made plain data. Pure.

The same keys serve ``dask.annotate(dtf={...})``, the keywords of `dtf_dask.Client`,
``@pytest.mark.dtf(...)`` and the cases of a ``dtf.toml``. What comes out of `validate`
is msgpack-able and goes through it again unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dtf_dask.annotation_values import AFTER_COUNT_MAX as AFTER_COUNT_MAX
from dtf_dask.annotation_values import NAME_LENGTH_MAX as NAME_LENGTH_MAX
from dtf_dask.annotation_values import READERS
from dtf_dask.demand_tokens import EXPRESSION_LENGTH_MAX as EXPRESSION_LENGTH_MAX
from dtf_dask.errors import DemandError, UsageError
from dtf_dask.hints import nearest as nearest
from dtf_dask.hints import shown


def validate(annotations: Mapping[Any, Any], *, where: str = "") -> dict[str, Any]:
    """Check annotations and return them as plain data, keys in a fixed order.

    Parameters
    ----------
    annotations
        ``name``: text, under which a task's durations are learned and its failures
        counted; without it the prefix of its key is.
        ``hardware``: an expression over a worker's facts (`dtf_dask.demand`).
        ``prefer``: expressions with weights.
        ``memory``, ``gpu_memory``: sizes; ``cpus``, ``gpus``: whole numbers;
        ``resources``, ``tokens``: amounts by name; ``exclusive``: a worker for itself.
        ``gang``: a name and a size, of tasks that start together.
        ``priority_class`` (or ``class``), ``tenant``: names.
        ``deadline``: seconds or ``"10 min"`` from submission, or a point in time (a
        `datetime` with a time zone, or ISO text); ``on_late``: "run", "refuse" or
        "cancel"; ``timeout``: seconds or text; ``lease``: the same, for how long it is
        left to a worker that is cut off while it runs.
        ``expected``: a duration, how long it is thought to take. A case's is believed
        until the case has run; a task's always, for tasks of one name may be unlike.
        ``guessed``: True if it is a guess, for which nothing is to be refused.
        ``retries``: a whole number. ``preemptible``: whether it may be interrupted.
        ``after``: keys or case names to wait for. ``on_upstream_failure``: "skip",
        "run" or "fail", or keys with one of these each, ``"*"`` for all others.
        A value of None means the key was not given.
    where
        Put before each message, so that it says what held the wrong value.

    Returns
    -------
    dict
        Durations are seconds (float); a point in time is ISO text in UTC.

    Raises
    ------
    UsageError
        For an unknown key (the nearest one is named) or a value out of bounds;
        `DemandError` for an expression that cannot be read, or never be met.

    Examples
    --------
    >>> validate({"class": "release", "deadline": "10 min"})
    {'priority_class': 'release', 'deadline': 600.0}
    """
    given: dict[str, Any] = {}
    for key, value in annotations.items():
        name = _ALIASES.get(key, key) if isinstance(key, str) else key
        if not isinstance(name, str) or name not in READERS:
            raise UsageError(f"{where}{_unknown(key)}")
        if value is None:
            continue
        if name in given and given[name] != value:
            raise UsageError(
                f"{where}'class' and 'priority_class' are one thing and were given "
                "two values; give one of them"
            )
        given[name] = value
    plain: dict[str, Any] = {}
    for name, read in READERS.items():
        if name in given:
            try:
                plain[name] = read(given[name])
            except ValueError as error:
                raise UsageError(
                    f"{where}{name} = {shown(given[name])}: {error}"
                ) from None
            except DemandError as error:
                raise DemandError(f"{where}{name}: {error}") from None
    return plain


def validate_marker(args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Check the arguments of one ``@pytest.mark.dtf(...)``.

    Raises
    ------
    UsageError
        For positional arguments, none at all, unknown names and wrong values.

    Examples
    --------
    >>> validate_marker((), {"hardware": "gpu.count >= 2", "timeout": "30 s"})
    {'hardware': 'gpu.count >= 2', 'timeout': 30.0}
    """
    example = '@pytest.mark.dtf(hardware="gpu.count >= 1")'
    if args:
        raise UsageError(
            f"@pytest.mark.dtf takes keywords only, not {shown(args[0])}; "
            f"write {example}"
        )
    if not kwargs:
        raise UsageError(f"@pytest.mark.dtf says nothing; write {example}")
    return validate(kwargs, where="@pytest.mark.dtf: ")


def _unknown(key: object) -> str:
    return f"unknown annotation {shown(key)}{nearest(key, tuple(READERS))}"


_ALIASES = {"class": "priority_class"}

KEYS = tuple(READERS)
"""Every annotation that dtf knows, in the order that `validate` returns them."""

"""What a task or a case tells the scheduler, checked and made plain data. Pure.

The same keys serve ``dask.annotate(dtf={...})``, the keywords of `dtf_dask.Client`,
``@pytest.mark.dtf(...)`` and the cases of a ``dtf.toml``. What comes out of `validate`
is msgpack-able and goes through it again unchanged.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dtf_dask.demand import parse_demand, parse_preference
from dtf_dask.demand_tokens import EXPRESSION_LENGTH_MAX as EXPRESSION_LENGTH_MAX
from dtf_dask.errors import DemandError, UsageError
from dtf_dask.hints import nearest as nearest
from dtf_dask.hints import shown
from dtf_dask.quantities import parse_duration

NAME_LENGTH_MAX = 100
KEY_LENGTH_MAX = 1000
AFTER_COUNT_MAX = 1000
DURATION_S_MAX = 366 * 86_400.0
RETRIES_MAX = 100

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def validate(annotations: Mapping[Any, Any], *, where: str = "") -> dict[str, Any]:
    """Check annotations and return them as plain data, keys in a fixed order.

    Parameters
    ----------
    annotations
        ``hardware``: an expression over a worker's facts (`dtf_dask.demand`).
        ``prefer``: expressions with weights.
        ``priority_class`` (or ``class``), ``tenant``: names.
        ``deadline``: seconds or ``"10 min"`` from submission, or a point in time (a
        `datetime` with a time zone, or ISO text); ``timeout``: seconds or text.
        ``retries``: a whole number. ``after``: keys or case names to wait for.
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
        if not isinstance(name, str) or name not in _READERS:
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
    for name, read in _READERS.items():
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
    return f"unknown annotation {shown(key)}{nearest(key, tuple(_READERS))}"


# The readers: each returns plain data or raises ValueError with what it expected.


def _expression(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("expected an expression such as \"gpu.memory >= '16 GiB'\"")
    return value.strip()


def _hardware(value: object) -> str:
    text = _expression(value)
    parse_demand(text)
    return text


def _prefer(value: object) -> str:
    text = _expression(value)
    parse_preference(text)
    return text


def _name(value: object) -> str:
    if (
        not isinstance(value, str)
        or len(value) > NAME_LENGTH_MAX
        or not _NAME.fullmatch(value)
    ):
        raise ValueError(
            "expected a name: a letter, then letters, digits, '.', '_' or '-', "
            f"at most {NAME_LENGTH_MAX} characters"
        )
    return value


def _duration(value: object) -> float:
    if isinstance(value, datetime.timedelta):
        value = value.total_seconds()
    seconds = parse_duration(value)
    if not 0 < seconds <= DURATION_S_MAX:
        raise ValueError("expected more than 0 seconds and at most 366 days")
    return seconds


def _deadline(value: object) -> float | str:
    moment = value
    if isinstance(value, str) and re.match(r"\d{4}-\d\d", value):
        try:
            moment = datetime.datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(
                'expected a point in time such as "2030-01-31T18:00:00+00:00"'
            ) from None
    if not isinstance(moment, datetime.datetime):
        return _duration(value)
    if moment.utcoffset() is None:
        # Client, scheduler and workers may live in different time zones.
        raise ValueError('a point in time needs its time zone, e.g. "...T18:00+00:00"')
    return moment.astimezone(datetime.UTC).isoformat()


def _retries(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("expected a whole number")
    if not 0 <= value <= RETRIES_MAX:
        raise ValueError(f"expected a whole number from 0 to {RETRIES_MAX}")
    return value


def _after(value: object) -> list[str]:
    keys = [value] if isinstance(value, str) else value
    if not isinstance(keys, list | tuple) or not all(isinstance(k, str) for k in keys):
        raise ValueError("expected a name or a list of names")
    if len(keys) > AFTER_COUNT_MAX:
        raise ValueError(f"{len(keys)} names are over the limit of {AFTER_COUNT_MAX}")
    if not all(0 < len(key) <= KEY_LENGTH_MAX for key in keys):
        raise ValueError(f"expected names of 1 to {KEY_LENGTH_MAX} characters")
    return list(dict.fromkeys(keys))


_ALIASES = {"class": "priority_class"}
_READERS: dict[str, Callable[[object], Any]] = {
    "hardware": _hardware,
    "prefer": _prefer,
    "priority_class": _name,
    "deadline": _deadline,
    "timeout": _duration,
    "tenant": _name,
    "retries": _retries,
    "after": _after,
}

KEYS = tuple(_READERS)
"""Every annotation that dtf knows, in the order that `validate` returns them."""

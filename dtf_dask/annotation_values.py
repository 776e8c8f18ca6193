"""How the value of each annotation is read: plain data, or what was expected. Pure.

Every reader raises ValueError with what it expected, or `DemandError`.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from dtf_dask.demand import parse_demand, parse_preference
from dtf_dask.hints import shown
from dtf_dask.quantities import parse_duration, parse_size

Late = Literal["run", "refuse", "cancel"]
"""What becomes of a task that cannot meet its deadline."""

Upstream = Literal["skip", "run", "fail"]
"""What becomes of a task when one that it depends on fails: it is skipped, it runs and
is given the error in place of the result, or it fails as in Dask."""

UPSTREAM_ALL = "*"
"""In place of a key: whatever it depends on that is not named."""

NAME_LENGTH_MAX = 100
TASK_NAME_LENGTH_MAX = 1000
KEY_LENGTH_MAX = 1000
KEY_PARTS_MAX = 8
AFTER_COUNT_MAX = 1000
DURATION_S_MAX = 366 * 86_400.0
RETRIES_MAX = 100
AMOUNT_MAX = 1e15
NAMES_MAX = 32
GANG_SIZE_MAX = 10_000
CPUS_MAX = 4096
GPUS_MAX = 1024

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


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


def _task_name(value: object) -> str:
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= TASK_NAME_LENGTH_MAX
        or not value.isprintable()
    ):
        raise ValueError(
            f"expected 1 to {TASK_NAME_LENGTH_MAX} printable characters, such as "
            '"train-resnet"'
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


def _count(most: int) -> Callable[[object], int]:
    def read_count(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("expected a whole number")
        if not 0 <= value <= most:
            raise ValueError(f"expected a whole number from 0 to {most}")
        return value

    return read_count


def _size(value: object) -> int:
    size = parse_size(value)
    if size > AMOUNT_MAX:
        raise ValueError("expected a size such as '4 GiB'")
    return size


def _amounts(value: object) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise ValueError('expected names with amounts, such as {"licence": 1}')
    if len(value) > NAMES_MAX:
        raise ValueError(f"{len(value)} names are over the limit of {NAMES_MAX}")
    amounts: dict[str, float] = {}
    for name, amount in value.items():
        if not isinstance(name, str) or not 0 < len(name) <= NAME_LENGTH_MAX:
            raise ValueError(f"expected names of 1 to {NAME_LENGTH_MAX} characters")
        if isinstance(amount, bool) or not isinstance(amount, int | float):
            raise ValueError(f"expected a number for {shown(name)}")
        if not 0 <= amount <= AMOUNT_MAX or math.isnan(amount):
            raise ValueError(f"expected 0 to {AMOUNT_MAX:g} for {shown(name)}")
        if amount:
            amounts[name] = float(amount)
    return amounts


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _gang(value: object) -> dict[str, Any]:
    if isinstance(value, Mapping) and set(value) == {"name", "size"}:
        name, size = value["name"], value["size"]
        if (
            isinstance(name, str)
            and 0 < len(name) <= NAME_LENGTH_MAX
            and isinstance(size, int)
            and not isinstance(size, bool)
            and 1 <= size <= GANG_SIZE_MAX
        ):
            return {"name": name, "size": size}
    raise ValueError(
        'expected a name and a size, such as {"name": "ring", "size": 4}, '
        f"of 1 to {GANG_SIZE_MAX}"
    )


def _word(words: tuple[str, ...]) -> Callable[[object], str]:
    def read_word(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        raise ValueError(f"expected one of {', '.join(words)}")

    return read_word


def _upstream(value: object) -> Any:
    """One word for all, or keys with a word each: as pairs, for keys may be lists."""
    words = get_args(Upstream)
    if isinstance(value, str) and value in words:
        return value
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    if not isinstance(pairs, list | tuple) or not pairs:
        raise ValueError(
            f"expected one of {', '.join(words)}, or keys with one each, such as "
            '{"load": "run", "*": "skip"}'
        )
    if len(pairs) > AFTER_COUNT_MAX:
        raise ValueError(f"{len(pairs)} names are over the limit of {AFTER_COUNT_MAX}")
    plain: dict[str, list[Any]] = {}
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ValueError('expected keys with words, such as {"load": "run"}')
        key, word = _key(pair[0]), pair[1]
        if not isinstance(word, str) or word not in words:
            raise ValueError(f"expected one of {', '.join(words)} for {shown(key)}")
        if plain.setdefault(repr(key), [key, word]) != [key, word]:
            raise ValueError(f"expected one word for {shown(key)}, not two")
    every = plain.get(repr(UPSTREAM_ALL))
    return every[1] if every and len(plain) == 1 else list(plain.values())


def _after(value: object) -> list[Any]:
    keys = [value] if isinstance(value, str) else value
    if not isinstance(keys, list | tuple):
        raise ValueError("expected a name or a list of names")
    if len(keys) > AFTER_COUNT_MAX:
        raise ValueError(f"{len(keys)} names are over the limit of {AFTER_COUNT_MAX}")
    plain = [_key(key) for key in keys]
    return list({repr(key): key for key in plain}.values())


def _key(value: object) -> Any:
    """One of Dask's keys. A tuple travels as a list, so it is one in plain data."""
    if not isinstance(value, list | tuple):
        return _part(value)
    if not 0 < len(value) <= KEY_PARTS_MAX or not isinstance(value[0], str):
        raise ValueError("expected a name or a list of names")
    return [_part(part, number=True) for part in value]


def _part(value: object, number: bool = False) -> Any:
    if number and isinstance(value, int) and abs(value) < 2**63:
        return value
    if not isinstance(value, str):
        raise ValueError("expected a name or a list of names")
    if not 0 < len(value) <= KEY_LENGTH_MAX:
        raise ValueError(f"expected names of 1 to {KEY_LENGTH_MAX} characters")
    return value


READERS: dict[str, Callable[[object], Any]] = {
    "name": _task_name,
    "hardware": _hardware,
    "prefer": _prefer,
    "memory": _size,
    "cpus": _count(CPUS_MAX),
    "gpus": _count(GPUS_MAX),
    "gpu_memory": _size,
    "resources": _amounts,
    "tokens": _amounts,
    "exclusive": _flag,
    "gang": _gang,
    "priority_class": _name,
    "tenant": _name,
    "deadline": _deadline,
    "on_late": _word(get_args(Late)),
    "expected": _duration,
    "guessed": _flag,
    "timeout": _duration,
    "lease": _duration,
    "retries": _count(RETRIES_MAX),
    "preemptible": _flag,
    "after": _after,
    "on_upstream_failure": _upstream,
}
"""By key, in the order that `annotations.validate` returns them."""

"""Durations and sizes as people write them: ``"5 min"``, ``"512 MiB"``. Pure.

They mean what they mean to Dask (`dask.utils.parse_timedelta`, `parse_bytes`), and
``min`` besides. Stricter in two places where Dask guesses: ``".5s"`` is half a second
(Dask reads 1.5), and a unit without a number is refused.
"""

from __future__ import annotations

import math
import re

_TEXT_LENGTH_MAX = 64
_QUANTITY = re.compile(r"(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+) *([a-z]*)", re.I | re.ASCII)

_SECONDS: dict[str, float] = {"": 1}
for _names, _size in (
    ("ns nanosecond nanoseconds", 1e-9),
    ("us microsecond microseconds", 1e-6),
    ("ms millisecond milliseconds", 1e-3),
    ("s sec second seconds", 1),
    ("m min minute minutes", 60),
    ("h hour hours", 3600),
    ("d day days", 86_400),
    ("w week weeks", 604_800),
):
    _SECONDS.update(dict.fromkeys(_names.split(), _size))

_BYTES: dict[str, float] = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgtp", start=1):
    _BYTES[_letter] = _BYTES[f"{_letter}b"] = 1000**_power
    _BYTES[f"{_letter}i"] = _BYTES[f"{_letter}ib"] = 1024**_power


def parse_duration(value: object) -> float:
    """Read a duration, in seconds.

    Parameters
    ----------
    value
        A number of seconds, or text such as ``"100ms"``, ``"5 min"``, ``"1.5 h"``.

    Raises
    ------
    ValueError
        If it is no duration, is negative, or is not finite.

    Examples
    --------
    >>> parse_duration("5 min")
    300.0
    >>> parse_duration(0.25)
    0.25
    """
    return _read(value, _SECONDS, 'a duration such as 30, "100ms" or "5 min"')


def parse_size(value: object) -> int:
    """Read a size, in bytes.

    Parameters
    ----------
    value
        A number of bytes, or text such as ``"64 KiB"``, ``"1.5GB"``.

    Raises
    ------
    ValueError
        If it is no size, is negative, or is not finite.

    Examples
    --------
    >>> parse_size("512 MiB")
    536870912
    """
    return int(_read(value, _BYTES, 'a size such as 4096, "64 KiB" or "1.5 GB"'))


def format_duration(seconds: float) -> str:
    """Write a duration in the largest unit that leaves a number of at least one.

    Examples
    --------
    >>> format_duration(0.1), format_duration(90), format_duration(7200)
    ('100 ms', '1.5 min', '2 h')
    """
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= size or (unit == "s" and seconds == 0):
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds * 1000:.4g} ms"


def format_size(size_bytes: int) -> str:
    """Write a size in the largest binary unit that leaves a number of at least one.

    Examples
    --------
    >>> format_size(512), format_size(65536), format_size(1610612736)
    ('512 B', '64 KiB', '1.5 GiB')
    """
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size_bytes >= 1024**power:
            return f"{size_bytes / 1024**power:.4g} {unit}"
    return f"{size_bytes} B"


def _read(value: object, units: dict[str, float], expected: str) -> float:
    """A number, or number and unit, as a finite non-negative float."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected {expected}")
    if isinstance(value, str):
        match = None
        if len(value) <= _TEXT_LENGTH_MAX:
            match = _QUANTITY.fullmatch(value.strip())
        if match is None:
            raise ValueError(f"expected {expected}")
        number, unit = match.groups()
        if unit.lower() not in units:
            known = ", ".join(name for name in units if 0 < len(name) <= 3)
            raise ValueError(f"unknown unit {unit!r} (known are {known})")
        result = float(number) * units[unit.lower()]
    else:
        try:
            result = float(value)
        except OverflowError:
            result = math.inf
    if not math.isfinite(result) or result < 0:
        raise ValueError(f"expected {expected}, not negative and finite")
    return result

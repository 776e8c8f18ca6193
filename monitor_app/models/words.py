"""Numbers, times and foreign texts as people read them."""

from __future__ import annotations

import re
import time

NOTHING = "–"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_ODD = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


_signs = {",": ",", ".": "."}


def write_numbers(thousands: str, point: str) -> None:
    """Write all numbers so from now on."""
    _signs.update({",": thousands, ".": point})


def number(n: float, places: int = 0) -> str:
    """As it is written in the language of who reads it."""
    return "".join(_signs.get(one, one) for one in f"{n:,.{places}f}")


def count(n: float | None) -> str:
    """How many.

    Examples
    --------
    >>> count(12345), count(None)
    ('12,345', '–')
    """
    return NOTHING if n is None else number(n)


def rate(per_s: float | None) -> str:
    """How many in a second.

    Examples
    --------
    >>> rate(1234.5), rate(12.3), rate(0.25), rate(0)
    ('1,234', '12', '0.2', '0')
    """
    if per_s is None:
        return NOTHING
    return number(per_s, 0 if per_s >= 10 or not per_s else 1)


def percent(share: float | None) -> str:
    """A share.

    Examples
    --------
    >>> percent(0.256), percent(0.9975)
    ('26 %', '99.8 %')
    """
    if share is None:
        return NOTHING
    # What is nearly all is not all.
    return f"{number(100 * share, 1 if 0.99 < share < 1 else 0)} %"


def duration(seconds: float | None) -> str:
    """How long.

    Examples
    --------
    >>> [duration(one) for one in (0.0123, 5, 75, 3000, 90000, -5)]
    ['12 ms', '5.0 s', '75 s', '50 min', '25 h', '-5.0 s']
    """
    if seconds is None:
        return NOTHING
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds == 0:
        return "0 s"
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 10:
        return f"{number(seconds, 1)} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6_000:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3_600
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} d"


def seconds(length: float | None) -> str:
    """How long, in whole seconds while they are few: to be told apart on an axis.

    Examples
    --------
    >>> seconds(150), seconds(0), seconds(3000)
    ('150 s', '0 s', '50 min')
    """
    few = length is not None and abs(length) < 600
    return f"{length:.0f} s" if few else duration(length)


def age(length: float) -> str:
    """How old something is, in whole seconds: more would only flicker."""
    whole = int(length)
    return f"{whole} s" if whole < 100 else duration(whole)


def size(n: float | None) -> str:
    """Bytes.

    Examples
    --------
    >>> size(1536), size(10 * 2**30)
    ('1.5 KiB', '10 GiB')
    """
    if n is None:
        return NOTHING
    unit = 0
    while n >= 1024 and unit < len(_UNITS) - 1:
        n, unit = n / 1024, unit + 1
    return f"{number(n, 1 if n < 10 and unit else 0)} {_UNITS[unit]}"


def clock(at: float | None) -> str:
    """A time of the day, here."""
    return _written("%H:%M:%S", at)


def moment(at: float | None) -> str:
    """A day and a time, here."""
    return _written("%Y-%m-%d %H:%M", at)


def _written(form: str, at: float | None) -> str:
    if not at:
        return NOTHING
    try:
        return time.strftime(form, time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return NOTHING


def plain(text: object) -> str:
    """A foreign text as one line; what would move it or hide in it is made visible.

    Examples
    --------
    >>> plain("a" + chr(10) + "b" + chr(0x202E) + "c")
    'a⏎b\\\\x202ec'
    """
    return _ODD.sub(_shown, str(text))


def _shown(odd: re.Match[str]) -> str:
    return "⏎" if odd.group() == "\n" else f"\\x{ord(odd.group()):x}"


def short(text: object, chars: int = 80) -> str:
    """Its beginning."""
    found = plain(str(text)[: 4 * chars])
    return found if len(found) <= chars else f"{found[: chars - 1]}…"

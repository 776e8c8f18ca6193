"""Versions as they are compared in demands: 3.9 < 3.12, 3.12 == 3.12.0. Pure.

The order is that of PEP 440 for what Python's packages use: ``1.0.dev1 < 1.0a1 <
1.0rc1 < 1.0 < 1.0.post1``. A local part (``2.5.1+cu121``) says how something was built,
not how new it is, and is left out.
"""

from __future__ import annotations

import re
from functools import lru_cache

VERSION_LENGTH_MAX = 64
_CACHED_MAX = 4096

Key = tuple[tuple[int, ...], tuple[tuple[int, int], ...]]
"""Numbers without zeros at the end, then suffixes; ``(0, 0)`` is where one ends."""

_NUMBERS = re.compile(r"\d+(?:\.\d+)*", re.ASCII)
_SUFFIX = re.compile(r"[-_.]?([a-z]+)[-_.]?(\d*)", re.ASCII)
_LOCAL = re.compile(r"\+[a-z0-9][a-z0-9._-]*", re.ASCII)
_BEFORE_ALL = (-5, 0)
_END = (0, 0)
_STAGES = {
    **dict.fromkeys(("dev",), -4),
    **dict.fromkeys(("a", "alpha"), -3),
    **dict.fromkeys(("b", "beta"), -2),
    **dict.fromkeys(("rc", "c", "pre", "preview"), -1),
    **dict.fromkeys(("post", "rev", "r"), 1),
}
_WRITTEN = {-4: ".dev", -3: "a", -2: "b", -1: "rc", 1: ".post"}


@lru_cache(_CACHED_MAX)
def version_key(text: str) -> Key | None:
    """What a version is compared by; None if the text is no version.

    Examples
    --------
    >>> version_key("3.12") == version_key("3.12.0") > version_key("3.9.18")
    True
    >>> version_key("3.13.0rc1") < version_key("3.13")
    True
    >>> version_key("rolling") is None
    True
    """
    lower = text.lower()
    numbers = _NUMBERS.match(lower) if len(text) <= VERSION_LENGTH_MAX else None
    if numbers is None:
        return None
    suffixes = []
    at = numbers.end()
    while suffix := _SUFFIX.match(lower, at):
        stage = _STAGES.get(suffix[1])
        if stage is None:
            return None
        suffixes.append((stage, int(suffix[2] or 0)))
        at = suffix.end()
    if at < len(lower) and not _LOCAL.fullmatch(lower, at):
        return None
    return _without_zeros(numbers[0]), (*suffixes, _END)


def family(text: str) -> tuple[Key, Key] | None:
    """The first version of a family such as ``3.12.*``, and the first beyond it.

    None if the text is no family.

    Examples
    --------
    >>> first, beyond = family("3.12.*")
    >>> first < version_key("3.12.0rc1") < version_key("3.12.7") < beyond
    True
    >>> beyond < version_key("3.13.0.dev1")
    True
    """
    stem = text.removesuffix(".*")
    if stem == text or len(text) > VERSION_LENGTH_MAX or not _NUMBERS.fullmatch(stem):
        return None
    *head, last = stem.split(".")
    beyond = ".".join((*head, str(int(last) + 1)))
    return (
        (_without_zeros(stem), (_BEFORE_ALL,)),
        (_without_zeros(beyond), (_BEFORE_ALL,)),
    )


def version_text(key: Key) -> str:
    """The shortest text with this key: equal versions are written alike.

    Examples
    --------
    >>> version_text(version_key("3.12.0")), version_text(version_key("2.0-RC-1"))
    ('3.12', '2rc1')
    """
    numbers, suffixes = key
    return ".".join(map(str, numbers or (0,))) + "".join(
        f"{_WRITTEN[stage]}{number}" for stage, number in suffixes[:-1]
    )


def _without_zeros(text: str) -> tuple[int, ...]:
    numbers = [int(number) for number in text.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)

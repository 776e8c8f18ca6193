"""What a worker says about itself, and a task to a worker: names, kinds, bounds. Pure.

Facts are a flat mapping of dotted names to plain values. Workers send them and demands
ask for them, so both read the names here. What a worker sends may be wrong or hostile:
`checked` keeps what can be true and says in words what it left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from dtf_dask.hints import nearest, shown
from dtf_dask.versions import version_key

FACTS_COUNT_MAX = 4000
PROBLEMS_COUNT_MAX = 20
NAME_LENGTH_MAX = 100
TEXT_LENGTH_MAX = 200
NAMES_COUNT_MAX = 1000
PROCESSORS_COUNT_MAX = 1 << 16
DEVICES_COUNT_MAX = 1024
RESOURCE_MAX = 10**15
SIZE_BYTES_MAX = 1 << 60
DURATION_S_MAX = 366 * 86_400

Value = str | int | float | bool | tuple[str, ...]


class Kind(StrEnum):
    """What a fact is, and with it how it is compared."""

    TEXT = "text"
    NUMBER = "number"
    SIZE = "size"
    DURATION = "duration"
    VERSION = "version"
    NAMES = "names"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Fact:
    """How one fact is read.

    Parameters
    ----------
    maximum
        The largest value that is believed.
    absent
        What who does not tell it has: no GPUs reported are none. None if that is
        not known.
    lower
        Whether it is written in lower case, whatever its source or a demand says.
    whole
        Whether a number counts things.
    """

    kind: Kind
    maximum: float = math.inf
    absent: int | None = None
    lower: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """Facts by name, and the facts of every name below some first words."""

    whose: str
    facts: Mapping[str, Fact]
    families: Mapping[str, Fact]

    def fact(self, name: str) -> Fact | None:
        """What a canonical name means; None if it means nothing."""
        found = self.facts.get(name)
        if found is None and len(name) <= NAME_LENGTH_MAX:
            first, _, rest = name.partition(".")
            if _REST.fullmatch(rest):
                found = self.families.get(first)
        return found

    def hint(self, name: str) -> str:
        """The end of a message about an unknown name: the nearest that is known."""
        first = name.partition(".")[0] + "."
        alike = [known for known in self.facts if known.startswith(first)]
        if first[:-1] in self.families:
            return f"; write {first} and a name after it"
        if alike:
            return nearest(name, alike)
        near = nearest(name, [*self.facts])
        if near.startswith("; did"):
            return near
        firsts = [known.partition(".")[0] for known in (*self.facts, *self.families)]
        return f"; they begin with {', '.join(dict.fromkeys(firsts))}"


_REST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
_PROJECT = re.compile(r"[-_.]+")

_TEXT = Fact(Kind.TEXT)
_LOWER = Fact(Kind.TEXT, lower=True)
_PROCESSORS = Fact(Kind.NUMBER, PROCESSORS_COUNT_MAX, whole=True)
_DEVICES = Fact(Kind.NUMBER, DEVICES_COUNT_MAX, absent=0, whole=True)
_BYTES = Fact(Kind.SIZE, SIZE_BYTES_MAX, whole=True)
_DEVICE_BYTES = Fact(Kind.SIZE, SIZE_BYTES_MAX, absent=0, whole=True)
_VERSION = Fact(Kind.VERSION)
_NAMES = Fact(Kind.NAMES, lower=True)

WORKER_FACTS = Vocabulary(
    "worker",
    {
        "os.name": _LOWER,
        "os.distribution": _LOWER,
        "os.version": _VERSION,
        "os.kernel": _VERSION,
        "host": _TEXT,
        "cpu.arch": _LOWER,
        "cpu.model": _TEXT,
        "cpu.cores": _PROCESSORS,
        "cpu.threads": _PROCESSORS,
        "cpu.features": _NAMES,
        "memory": _BYTES,
        "disk.total": _BYTES,
        "disk.free": _BYTES,
        "gpu.count": _DEVICES,
        "gpu.model": _TEXT,
        "gpu.arch": _LOWER,
        "gpu.memory": _DEVICE_BYTES,
        "gpu.memory_total": _DEVICE_BYTES,
        "gpu.driver": _VERSION,
        "gpu.cuda": _VERSION,
        "gpu.capability": _VERSION,
        "gpu.throttled": Fact(Kind.FLAG),
        "rocm.count": _DEVICES,
        "oneapi.count": _DEVICES,
        "metal.count": _DEVICES,
        "python.version": _VERSION,
        "python.implementation": _LOWER,
        "browsers": _NAMES,
    },
    {
        "package": _VERSION,
        "browser": _VERSION,
        "label": _TEXT,
        "resource": Fact(Kind.NUMBER, RESOURCE_MAX, absent=0),
    },
)
"""What a worker tells of itself, and demands of tasks ask for."""

TASK_FACTS = Vocabulary(
    "task",
    {
        "class": _TEXT,
        "tenant": _TEXT,
        "timeout": Fact(Kind.DURATION, DURATION_S_MAX),
        "prefix": _TEXT,
    },
    {},
)
"""What a task tells of itself, and a worker's ``--accept`` asks for."""


def canonical_name(name: str) -> str:
    """The one way to write a name: that of packages is PyPI's.

    Examples
    --------
    >>> canonical_name("package.Scikit_Learn"), canonical_name("label.Board")
    ('package.scikit-learn', 'label.Board')
    """
    first, _, rest = name.partition(".")
    if first in ("package", "browser"):
        return f"{first}.{_PROJECT.sub('-', rest).lower()}"
    return name


def kind_of(name: str, vocabulary: Vocabulary = WORKER_FACTS) -> Kind | None:
    """What kind of value a fact has; None if there is no such fact.

    Examples
    --------
    >>> kind_of("gpu.memory"), kind_of("label.board"), kind_of("gpu.colour")
    (<Kind.SIZE: 'size'>, <Kind.TEXT: 'text'>, None)
    """
    fact = vocabulary.fact(canonical_name(name))
    return None if fact is None else fact.kind


@dataclass(frozen=True, slots=True)
class Checked:
    """Facts in the order of their names, and what was left out, in words."""

    facts: dict[str, Value]
    problems: tuple[str, ...] = ()


def checked(raw: object, vocabulary: Vocabulary = WORKER_FACTS) -> Checked:
    """Keep what is a fact of a known name, of its kind, within its bounds.

    Never raises: what is wrong with a fact drops it and is told in a problem. A value
    of None means that a probe found nothing, and is no problem.

    Parameters
    ----------
    raw
        What a worker sent: a mapping of names to plain values.

    Returns
    -------
    Checked
        Values are text, whole numbers where they can be, booleans, or sorted tuples
        of names. They pass through `checked` again unchanged.

    Examples
    --------
    >>> told = checked({"gpu.count": 1.0, "cpu.arch": "x86_64", "memory": "much"})
    >>> told.facts
    {'cpu.arch': 'x86_64', 'gpu.count': 1}
    >>> told.problems
    ("memory = 'much': expected a size",)
    """
    if not isinstance(raw, dict):
        return Checked({}, (f"facts: expected a mapping, not {_named(raw)}",))
    facts: dict[str, Value] = {}
    problems: list[str] = []
    for given, value in _within_bounds(raw, vocabulary, problems):
        if value is None:
            continue
        try:
            name, fact = _known(given, vocabulary)
            if name in facts:
                raise ValueError(f"{name}: given more than once")
            facts[name] = _READERS[fact.kind](name, value, fact)
        except ValueError as error:
            problems.append(str(error))
    more = len(problems) - PROBLEMS_COUNT_MAX
    if more > 0:
        problems[PROBLEMS_COUNT_MAX:] = [f"and {more} more"]
    return Checked(dict(sorted(facts.items())), tuple(problems))


def _within_bounds(
    raw: dict[object, object], vocabulary: Vocabulary, problems: list[str]
) -> Iterator[tuple[object, object]]:
    """The facts to look at: those with a name of their own are never crowded out."""
    if len(raw) <= FACTS_COUNT_MAX:
        yield from raw.items()
        return
    problems.append(
        f"facts: {len(raw)} are over the limit of {FACTS_COUNT_MAX}; some were left out"
    )
    own = [name for name in vocabulary.facts if name in raw]
    yield from ((name, raw[name]) for name in own)
    others = ((name, value) for name, value in raw.items() if name not in own)
    yield from islice(others, FACTS_COUNT_MAX - len(own))


def _known(given: object, vocabulary: Vocabulary) -> tuple[str, Fact]:
    if not isinstance(given, str):
        raise ValueError(f"facts: expected a name, not {_named(given)}")
    if len(given) > NAME_LENGTH_MAX:
        raise ValueError(
            f"{shown(given)}: a name has at most {NAME_LENGTH_MAX} characters"
        )
    name = canonical_name(given)
    fact = vocabulary.fact(name)
    if fact is None:
        raise ValueError(f"{shown(given)}: no such fact{vocabulary.hint(name)}")
    return name, fact


def _wrong(name: str, value: object, expected: str) -> ValueError:
    plain = isinstance(value, str | int | float)
    return ValueError(
        f"{name} = {shown(value) if plain else _named(value)}: expected {expected}"
    )


def _named(value: object) -> str:
    return f"a value of type {type(value).__name__[:NAME_LENGTH_MAX]}"


# The readers: each returns a plain value or raises ValueError.


def _text(name: str, value: object, fact: Fact) -> str:
    if not isinstance(value, str):
        raise _wrong(name, value, "a text")
    if not is_text(value):
        raise _wrong(
            name, value, f"1 to {TEXT_LENGTH_MAX} printable characters, trimmed"
        )
    return value.lower() if fact.lower else value


def is_text(value: str) -> bool:
    """Whether text can be a fact: printable, not empty, not long, no outer blanks."""
    return (
        0 < len(value) <= TEXT_LENGTH_MAX
        and value.isprintable()
        and value == value.strip()
    )


def _number(name: str, value: object, fact: Fact) -> int | float:
    expected = f"a {fact.kind}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(name, value, expected)
    if not 0 <= value <= fact.maximum:  # nan is not either
        raise _wrong(name, value, f"{expected} from 0 to {fact.maximum}")
    if value == int(value):
        return int(value)
    if fact.whole:
        raise _wrong(name, value, "a whole number")
    return value


def _version(name: str, value: object, fact: Fact) -> str:
    if not isinstance(value, str) or version_key(value) is None:
        raise _wrong(name, value, "a version such as '3.12.1'")
    return value


def _names(name: str, value: object, fact: Fact) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong(name, value, "a list of names")
    if len(value) > NAMES_COUNT_MAX:
        raise ValueError(
            f"{name}: {len(value)} names are over the limit of {NAMES_COUNT_MAX}"
        )
    return tuple(sorted({_text(name, one, fact) for one in value}))


def _flag(name: str, value: object, fact: Fact) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, value, "true or false")
    return value


_READERS = {
    Kind.TEXT: _text,
    Kind.NUMBER: _number,
    Kind.SIZE: _number,
    Kind.DURATION: _number,
    Kind.VERSION: _version,
    Kind.NAMES: _names,
    Kind.FLAG: _flag,
}

"""What may be asked of a cluster from outside its programs: the words of it. Pure.

An action has an id, which who asks may choose: asked again with the same id, whatever
died meanwhile, it is done once and answered with its first outcome. What was asked, by
whom and what became of it is to be seen, as a record.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Protocol

from dtf_dask.hints import shown

ID_CHARS_MAX = 100
ID_PATTERN = r"[A-Za-z0-9._~-]{1,100}"
LINE_CHARS_MAX = 500
KEYS_MAX = 200

_ID = re.compile(ID_PATTERN)

State = Literal["begun", "done", "refused", "unknown"]
"""``refused``: nothing was done; ``unknown``: who led ended before it could say."""


class Field(Protocol):
    """What is said for an action."""

    @property
    def words(self) -> str:
        """What it is for."""

    @property
    def required(self) -> bool:
        """Whether nothing can be done without it."""

    def read(self, value: object) -> Any:
        """The value; ValueError says what it must be."""


@dataclass(frozen=True, slots=True)
class Line:
    """A text."""

    words: str
    required: bool = True
    chars_max: int = LINE_CHARS_MAX

    def read(self, value: object) -> str:
        """See `Field`."""
        if isinstance(value, str) and 0 < len(value) <= self.chars_max:
            try:
                value.encode()
            except UnicodeEncodeError:
                raise ValueError("text without lone surrogates") from None
            return value
        raise ValueError(f"a text of 1 to {self.chars_max} characters")


@dataclass(frozen=True, slots=True)
class Lines:
    """Some texts."""

    words: str
    required: bool = True
    count_max: int = KEYS_MAX
    line: Line = field(default_factory=lambda: Line("One of them."))

    def read(self, value: object) -> list[str]:
        """See `Field`."""
        # Dask makes tuples of lists on their way to who leads.
        if isinstance(value, list | tuple) and 0 < len(value) <= self.count_max:
            return [self.line.read(one) for one in value]
        raise ValueError(f"a list of 1 to {self.count_max} texts")


@dataclass(frozen=True, slots=True)
class Figure:
    """A number."""

    words: str
    required: bool = False
    high: float = 1e9

    def read(self, value: object) -> float:
        """See `Field`."""
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if good and math.isfinite(value) and abs(value) <= self.high:  # type: ignore[arg-type]
            return float(value)  # type: ignore[arg-type]
        raise ValueError(f"a number from {-self.high:g} to {self.high:g}")


@dataclass(frozen=True, slots=True)
class Action:
    """One kind of action.

    Parameters
    ----------
    words
        What it does.
    subject
        The field that says what it is about.
    fields
        What may be said for it.
    """

    words: str
    subject: str
    fields: Mapping[str, Field]


_KEYS = Lines("Keys of tasks, as they are shown.")
_WORKER = Line("The worker's name.")
_REASON = Line("Why, for those who see it.", required=False)

ACTIONS: Mapping[str, Action] = MappingProxyType(
    {
        "cancel": Action(
            "Cancel tasks, and those that need them, whoever wants them.",
            "keys",
            {"keys": _KEYS, "reason": _REASON},
        ),
        "rerun": Action(
            "Try tasks again that failed, and those that failed with them.",
            "keys",
            {"keys": _KEYS},
        ),
        "stop-run": Action(
            "End a run of tests, as Ctrl-C does: what has ended is kept.",
            "run",
            {"run": Line("The run's id.")},
        ),
        "retire-worker": Action(
            "Have a worker hand over what it holds, and end. What it runs then begins"
            " anew elsewhere.",
            "worker",
            {"worker": _WORKER},
        ),
        "quarantine": Action(
            "Send a worker nothing more, until it is released. What it runs goes on.",
            "worker",
            {"worker": _WORKER, "reason": _REASON},
        ),
        "release": Action(
            "End the quarantine of a worker.", "worker", {"worker": _WORKER}
        ),
        "reprioritize": Action(
            "Make tasks that wait more or less urgent.",
            "keys",
            {
                "keys": _KEYS,
                "priority_class": Line("Of the settings.", required=False),
                "priority": Figure("Within the class: the greater goes first."),
                "deadline": Line(
                    "When they are to be done: '10 min' from now on, or a time.",
                    required=False,
                ),
            },
        ),
        "transfer-leadership": Action(
            "Have another coordinator lead.",
            "node",
            {"node": Line("Its name, or its number.")},
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Asked:
    """An action that somebody asks for.

    Parameters
    ----------
    by
        Who, in words.
    """

    id: str
    action: str
    by: str
    fields: Mapping[str, Any]

    @property
    def subject(self) -> str:
        """What it is about, in a line."""
        told = self.fields[ACTIONS[self.action].subject]
        if isinstance(told, list):
            rest = len(told) - 1
            told = f"{told[0]} and {rest} more" if rest else told[0]
        return str(told)

    @property
    def digest(self) -> bytes:
        """The same for what asks the same, whoever asks."""
        plain = json.dumps([self.action, dict(self.fields)], sort_keys=True)
        return hashlib.blake2b(plain.encode(), digest_size=16).digest()

    def is_done(self, record: Mapping[str, Any]) -> bool:
        """Whether a record that is to be seen says that just this was done."""
        return bool(record["state"] == "done" and record["asked"] == self.digest.hex())

    def plain(self) -> dict[str, Any]:
        """As `read_asked` reads it."""
        return {
            "id": self.id,
            "action": self.action,
            "by": self.by,
            "fields": dict(self.fields),
        }


def read_fields(action: str, said: object) -> dict[str, Any]:
    """What is said for an action, within its bounds; ValueError says what is wrong.

    Examples
    --------
    >>> read_fields("release", {"worker": "w-1"})
    {'worker': 'w-1'}
    >>> read_fields("release", {"worker": ""})
    Traceback (most recent call last):
    ValueError: worker: say a text of 1 to 500 characters
    """
    if not isinstance(said, Mapping):
        raise ValueError("say an object")
    known = ACTIONS[action].fields
    for name in said:
        if name not in known:
            raise ValueError(f"no field {shown(name)}: there are {', '.join(known)}")
    found = {}
    for name, one in known.items():
        if name in said:
            try:
                found[name] = one.read(said[name])
            except ValueError as error:
                raise ValueError(f"{name}: say {error}") from None
        elif one.required:
            raise ValueError(f"{name} is missing: {one.words}")
    return found


def id_wrong(id: object) -> str:
    """Why that is no id of an action; empty if it is one."""
    if isinstance(id, str) and _ID.fullmatch(id):
        return ""
    return f"an id has 1 to {ID_CHARS_MAX} letters, digits and ._~-"


def read_asked(plain: object) -> Asked:
    """What `Asked.plain` made; ValueError for anything else."""
    if not isinstance(plain, Mapping) or plain.get("action") not in ACTIONS:
        raise ValueError("there is no such action")
    if wrong := id_wrong(plain.get("id")):
        raise ValueError(wrong)
    by = Line("", chars_max=200).read(plain.get("by"))
    action = str(plain["action"])
    return Asked(str(plain["id"]), action, by, read_fields(action, plain.get("fields")))

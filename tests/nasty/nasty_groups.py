"""Groups of nasty tests and what is expected of them, from ``expected/*.toml``.

A file of ``expected`` holds one group::

    files = ["test_crash.py"]       # of ``suite``; tests of the first are named short
    options = ["--timeout", "1s"]   # of `dtf run`
    arguments = ["-rA"]             # of pytest
    exit_code = 1
    seconds_max = 20                # on two cores, with room
    plain = "segfaults"             # why plain pytest does not get through, if so

    [outcomes]                      # words of pytest_report_teststatus
    test_first = "passed"
    test_torn = "passed, error"     # every word once
    "test_many[*]" = "20 passed"    # all that start so, counted together
    test_dies = "bad"               # failed or error
    test_mute = "any"               # any one word: what counts is that there is one

    [messages]                      # a regular expression in the failure's text
    test_dies = "SIGSEGV"
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
_PART = re.compile(r"(?:(\d+) )?(.+)")
_BAD = ("failed", "error")


@dataclass(frozen=True, slots=True)
class Group:
    """Some files of the suite, how to run them, and how each test shall end."""

    name: str
    files: tuple[str, ...]
    options: tuple[str, ...]
    arguments: tuple[str, ...]
    exit_code: int
    seconds_max: float
    plain: str
    outcomes: Mapping[str, Counter[str]]
    messages: Mapping[str, str]

    def short(self, nodeid: str) -> str:
        """The name of a test in the group's tables."""
        return nodeid.removeprefix(f"{self.files[0]}::")

    def differences(self, told: Mapping[str, Counter[str]]) -> list[str]:
        """What was told of which test and is not what is expected, in words."""
        summed: dict[str, Counter[str]] = {}
        for nodeid, words in told.items():
            key = self._key(self.short(nodeid))
            summed[key] = summed.get(key, Counter()) + words
        return [
            f"{name}: expected {_shown(expected)}, was {_shown(was)}"
            for name in sorted(summed.keys() | self.outcomes.keys())
            if not _fits(
                expected := self.outcomes.get(name, Counter()),
                was := summed.get(name, Counter()),
            )
        ]

    def _key(self, name: str) -> str:
        if name in self.outcomes:
            return name
        pattern = name.partition("[")[0] + "[*]"
        return pattern if pattern in self.outcomes else name


def groups() -> dict[str, Group]:
    """All groups by name."""
    found = [_read(path) for path in sorted((HERE / "expected").glob("*.toml"))]
    return {group.name: group for group in found}


def _read(path: Path) -> Group:
    table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    group = Group(
        name=path.stem,
        files=tuple(table.pop("files")),
        options=tuple(table.pop("options", ())),
        arguments=tuple(table.pop("arguments", ())),
        exit_code=table.pop("exit_code"),
        seconds_max=table.pop("seconds_max"),
        plain=table.pop("plain", ""),
        outcomes={name: _counted(t) for name, t in table.pop("outcomes").items()},
        messages=table.pop("messages", {}),
    )
    assert not table, f"{path.name}: unknown keys {sorted(table)}"
    return group


def _counted(text: str) -> Counter[str]:
    words: Counter[str] = Counter()
    for part in text.split(", "):
        match = _PART.fullmatch(part)
        assert match is not None
        words[match[2]] += int(match[1] or 1)
    return words


def _fits(expected: Counter[str], was: Counter[str]) -> bool:
    if expected["any"]:
        return was.total() == expected["any"]
    bad = expected["bad"]
    over = was - expected
    under = expected - was - Counter({"bad": bad})
    return not under and over.total() == bad and all(word in _BAD for word in over)


def _shown(words: Counter[str]) -> str:
    return ", ".join(f"{n} {w}" if n > 1 else w for w, n in sorted(words.items())) or (
        "nothing"
    )

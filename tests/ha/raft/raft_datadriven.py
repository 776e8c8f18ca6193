"""Reads data-driven test files: a command, its input, and what it must print.

The form is that of the Go package `datadriven`::

    # a comment
    command argument key=(1,2)
    lines of input
    ----
    lines that are expected, up to an empty line

Where the shared files are missing, tests that want them are skipped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

SHARED = Path(__file__).resolve().parents[4] / "shared" / "raft-conformance"
OWN = Path(__file__).resolve().parent / "conformance"
WHY_SKIPPED = f"the conformance files are not there: {SHARED}"

_LOG_LINE = re.compile(r"\s*(DEBUG|INFO|WARN|ERROR|FATAL)\b")
_ARGUMENT = re.compile(r"([\w-]+)(?:=(\([^)]*\)|\S+))?")


@dataclass(frozen=True)
class Directive:
    """A command with what it must print, and where it stands."""

    place: str
    command: str
    arguments: tuple[tuple[str, tuple[str, ...] | None], ...]
    input: tuple[str, ...]
    expected: tuple[str, ...]

    def value(self, key: str, default: str = "") -> str:
        """The one value of ``key``."""
        return ",".join(self.values(key)) or default

    def values(self, key: str) -> tuple[str, ...]:
        """All values of ``key``."""
        for name, values in self.arguments:
            if name == key and values is not None:
                return values
        return ()

    def flag(self, key: str) -> bool:
        """Whether ``key`` is true."""
        return self.value(key, "false") == "true"

    @property
    def bare(self) -> list[str]:
        """The arguments that have no value."""
        return [name for name, values in self.arguments if values is None]


def files(folder: str) -> list[Path]:
    """The shared files of a folder, and ours."""
    shared = sorted((SHARED / folder).glob("*.txt"))
    return shared + sorted((OWN / folder).glob("*.txt"))


def directives(path: Path) -> list[Directive]:
    """What a file holds."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = []
    at = 0
    while at < len(lines):
        line = lines[at]
        if not line.strip() or line.startswith("#"):
            at += 1
            continue
        place = f"{path.name}:{at + 1}"
        separator = lines.index("----", at)
        end = separator + 1
        while end < len(lines) and lines[end].strip():
            end += 1
        command, _, rest = line.partition(" ")
        found.append(
            Directive(
                place,
                command,
                _arguments(rest),
                tuple(lines[at + 1 : separator]),
                tuple(lines[separator + 1 : end]),
            )
        )
        at = end
    return found


def _arguments(text: str) -> tuple[tuple[str, tuple[str, ...] | None], ...]:
    found: list[tuple[str, tuple[str, ...] | None]] = []
    for key, value in _ARGUMENT.findall(text):
        if not value:
            found.append((key, None))
        else:
            parts = value.strip("()").replace(",", " ").split()
            found.append((key, tuple(parts)))
    return tuple(found)


def without_log(lines: list[str] | tuple[str, ...]) -> list[str]:
    """Without the lines that are the other library's own log."""
    return [line for line in lines if not _LOG_LINE.match(line)]

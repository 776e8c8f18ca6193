"""Fenced blocks of a Markdown document, and what the tests do with each. Pure.

The convention, in a comment right before a block (a blank line may stand between):

- A ``python`` block runs, unless ``<!-- not run: REASON -->`` says why it cannot.
- A ``console`` or ``bash`` block runs if ``<!-- run -->`` says so. In ``console``, a
  line after ``$ `` is a command and what follows it the output: ``...`` stands for
  anything, alone on a line for any lines; ``[exit code N]`` ends one that fails. A
  command without any output below it may print what it likes.
- Any block is written to a file by ``<!-- file: NAME -->``.

The blocks of one document run in their order, in one temporary folder that holds a copy
of ``examples``; each Python block in a process of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

_FENCE = re.compile(r"^ {0,3}(`{3,})([\w-]*)[^`]*$")
_COMMENT = re.compile(r"^<!-- *(run|not run|file)(?:: *(.*?))? *-->$")
_LOOKS_LIKE_ONE = re.compile(r"^<!-- *(not )?(run|file)\b")
_EXIT_CODE = re.compile(r"^\[exit code (\d+)\]$")

Action = Literal["python", "console", "bash", "file", "nothing"]


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: what to do with it, and the line it begins in (from 1)."""

    action: Action
    text: str
    line: int
    file: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a ``console`` block; ``output`` is None where none was written."""

    line: str
    output: str | None = None
    exit_code: int = 0


def blocks(document: str) -> list[Block]:
    """Return the fenced blocks of a document.

    Raises
    ------
    ValueError
        For a comment that says something unknown, or a fence that never closes.
    """
    found: list[Block] = []
    asked, argument = "", ""
    fence, language, start = "", "", 0
    body: list[str] = []
    for number, line in enumerate(document.splitlines(), start=1):
        if fence:
            if line.strip().startswith(fence) and not line.strip("` "):
                text = "\n".join(body) + "\n"
                action = _action(asked, argument, language, start)
                found.append(Block(action, text, start, argument))
                fence, asked, argument = "", "", ""
            else:
                body.append(line)
        elif match := _FENCE.match(line):
            fence, language, start, body = match[1], match[2], number, []
        elif match := _COMMENT.match(line.strip()):
            asked, argument = match[1], match[2] or ""
        elif _LOOKS_LIKE_ONE.match(line.strip()):
            raise ValueError(f"line {number}: not understood: {line.strip()}")
        elif line.strip():
            if asked:
                raise ValueError(f"line {number}: expected a fenced block here")
            asked, argument = "", ""
    if fence:
        raise ValueError(f"line {start}: the fence is never closed")
    return found


def _action(asked: str, argument: str, language: str, line: int) -> Action:
    if asked == "file":
        path = PurePosixPath(argument)
        if not argument or path.is_absolute() or ".." in path.parts:
            raise ValueError(f"line {line}: {argument!r} is no file of the folder")
        return "file"
    if asked == "not run":
        if not argument:
            raise ValueError(f"line {line}: why is it not run?")
        return "nothing"
    if language == "python":
        return "python"
    if asked == "run":
        if language == "console":
            return "console"
        if language == "bash":
            return "bash"
        raise ValueError(f"line {line}: a block of {language!r} cannot be run")
    return "nothing"


def commands(text: str) -> list[Command]:
    """Return the commands of a ``console`` block with what each is to print."""
    found: list[Command] = []
    output: list[str] = []
    exit_code = 0

    def finish() -> None:
        if found:
            shown = "\n".join(output) if output else None
            found[-1] = Command(found[-1].line, shown, exit_code)

    for line in text.splitlines():
        if line.startswith("$ "):
            finish()
            output, exit_code = [], 0
            found.append(Command(line[2:]))
        elif not found:
            raise ValueError(f"output before the first command: {line!r}")
        elif not output and found[-1].line.endswith("\\"):
            found[-1] = Command(found[-1].line + "\n" + line.removeprefix("> "))
        elif match := _EXIT_CODE.match(line):
            exit_code = int(match[1])
        else:
            output.append(line)
    finish()
    return found


def matches(expected: str, actual: str) -> bool:
    """Whether an output is what was written, ``...`` standing for anything."""
    pattern = ""
    for line in expected.rstrip().splitlines():
        if line.strip() == "...":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            parts = [re.escape(part) for part in line.rstrip().split("...")]
            pattern += r"[^\n]*".join(parts) + r"[ \t]*\n"
    return re.fullmatch(pattern, actual.rstrip() + "\n") is not None

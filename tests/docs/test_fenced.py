"""The convention for executed documentation is read as it is written down."""

from __future__ import annotations

import pytest
from fenced import Block, Command, blocks, commands, matches


def document(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def test_python_runs_unless_there_is_a_reason() -> None:
    """Nothing has to be said for a Python block to be run."""
    text = document(
        *("# Title", "```python", "x = 1", "```", "Words."),
        *("<!-- not run: needs a GPU -->", "", "```python", "y = 2", "```"),
    )
    assert [(b.action, b.text, b.line) for b in blocks(text)] == [
        ("python", "x = 1\n", 2),
        ("nothing", "y = 2\n", 8),
    ]


def test_commands_run_when_asked() -> None:
    """A console or bash block is run only behind the comment."""
    text = document(
        *("```console", "$ rm x", "```", "<!-- run -->", "```console", "$ ls", "```"),
        *("<!-- run -->", "```bash", "true", "```", "```yaml", "a: 1", "```"),
    )
    assert [b.action for b in blocks(text)] == ["nothing", "console", "bash", "nothing"]


def test_files_are_written_within_the_folder() -> None:
    """A block may be a file, but none outside."""
    text = document("<!-- file: tests/test_a.py -->", "````python", "```", "````")
    assert blocks(text) == [Block("file", "```\n", 2, "tests/test_a.py")]
    for name in ("/etc/x", "../x", ""):
        with pytest.raises(ValueError, match="no file of the folder"):
            blocks(document(f"<!-- file: {name} -->", "```", "```"))


@pytest.mark.parametrize(
    "lines",
    [
        ("<!-- run it -->", "```bash", "```"),
        ("<!-- run -->", "Words between.", "```bash", "```"),
        ("<!-- run -->", "```yaml", "```"),
        ("<!-- not run -->", "```python", "```"),
        ("```python", "x = 1"),
    ],
)
def test_slips_are_errors(lines: tuple[str, ...]) -> None:
    """A comment that does nothing would be a block that nobody runs."""
    with pytest.raises(ValueError, match="line"):
        blocks(document(*lines))


def test_commands_and_their_outputs() -> None:
    """Output belongs to the command above it; a code of its own may end it."""
    text = document(
        *("$ a \\", "> b", "$ c", "one", "two", "$ d", "[exit code 4]", "$ e", "x"),
        "[exit code 9]",
    )
    assert commands(text) == [
        Command("a \\\nb"),
        Command("c", "one\ntwo"),
        Command("d", None, 4),
        Command("e", "x", 9),
    ]


@pytest.mark.parametrize(
    ("expected", "actual", "fits"),
    [
        ("a\nb", "a\nb\n", True),
        ("a", "a\nb\n", False),
        ("a\n...\nd", "a\nb\nc\nd\n", True),
        ("...\nb", "b\n", True),
        ("... passed in ...s", "12 passed in 0.3s\n", True),
        ("... passed", "12 failed\n", False),
        ("a.c", "abc\n", False),
    ],
)
def test_dots_stand_for_anything(expected: str, actual: str, fits: bool) -> None:
    """``...`` within a line, or for whole lines; all else is literal."""
    assert matches(expected, actual) is fits

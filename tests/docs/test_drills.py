"""docs/deployment.md: what it says of failures is drilled, by tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "deployment.md").read_text("utf-8")
ASKED = (
    *("leader's process or machine dies", "leader hangs", "Minority partition"),
    *("Power cycle", "disk is full", "Crash loop", "coordinator is replaced"),
)
"""What was promised to be documented and drilled, in processes."""
STARTS = re.compile(r"subprocess\.(Popen|run)\(|create_subprocess_exec\(")
HERE = "in one process: "


def drills() -> dict[str, str]:
    """What happens, and the last cell of its row."""
    _, _, table = TEXT.partition("## When something fails")
    lines = [one for one in table.splitlines() if one.startswith("| **")]
    cells = [line.strip("| ").split(" | ") for line in lines]
    assert {len(row) for row in cells} == {4}
    return {row[0]: row[3] for row in cells}


def test_all_that_was_promised_is_drilled_in_processes() -> None:
    """Each has a row, whose test does it to processes."""
    for one in ASKED:
        (found,) = (drill for what, drill in drills().items() if one in what)
        assert not found.startswith(HERE), one


@pytest.mark.parametrize("what", drills())
def test_a_drill_exists_and_is_run(what: str) -> None:
    """The test that a row names is there, is not skipped, and starts processes, if the
    row does not say that it needs none."""
    drill = drills()[what]
    path, _, name = drill.removeprefix(HERE).strip("`").partition("::")
    file = ROOT / path
    (found,) = (
        one
        for one in ast.parse(file.read_text("utf-8")).body
        if isinstance(one, ast.FunctionDef) and one.name == name
    )
    marks = " ".join(ast.unparse(one) for one in found.decorator_list)
    assert "skip" not in marks
    assert bool(STARTS.search(_with_imports(file))) or drill.startswith(HERE)


def _with_imports(file: Path) -> str:
    """A test's text and that of what it imports of the tests and benchmarks."""
    texts, left = {}, [file]
    while left:
        one = left.pop()
        texts[one] = text = one.read_text("utf-8")
        for name in re.findall(r"^from ([\w.]+) import", text, re.MULTILINE):
            for folder in (file.parent, ROOT / "benchmarks"):
                path = folder.joinpath(*name.split(".")).with_suffix(".py")
                if path.exists() and path not in texts:
                    left.append(path)
    return "\n".join(texts.values())

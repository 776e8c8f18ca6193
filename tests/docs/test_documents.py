"""Documentation is executed: README, docs/, and the examples in docstrings."""

from __future__ import annotations

import doctest
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from importlib import import_module
from pathlib import Path

import pytest
from fenced import Block, blocks, commands, matches
from lean_pytest import LEAN

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    document
    for document in (*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md")))
    if any(block.action != "nothing" for block in blocks(document.read_text("utf-8")))
]
BLOCK_TIMEOUT_S = 200
# A worker of Dask may have a heartbeat on its way as its cluster closes, or takes long
# to end on a busy machine, and says so.
CLOSING = re.compile(
    r"^[^\n]* - distributed\.worker - ERROR - Failed to communicate with scheduler"
    r" during heartbeat\.\n.*?^distributed\.comm\.core\.CommClosedError: [^\n]*\n"
    r"|^[^\n]* - distributed\.nanny - WARNING - Worker process still alive [^\n]*\n",
    re.DOTALL | re.MULTILINE,
)


def modules_with_examples() -> list[str]:
    """Modules whose docstrings hold examples, by dotted name."""
    names = []
    for file in sorted((ROOT / "dtf_dask").rglob("*.py")):
        lines = file.read_text("utf-8").splitlines()
        if any(">>> " in line and "+SKIP" not in line for line in lines):
            parts = file.relative_to(ROOT).with_suffix("").parts
            names.append(".".join(p for p in parts if p != "__init__"))
    return names


def run(argv: list[str], folder: Path) -> tuple[int, str]:
    """Run a command in a folder; what is left of its group ends with it."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DASK_", "PYTEST_", "COV_", "DTF_"))
    }
    environment |= LEAN | {
        "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]),
        "HOME": str(folder / ".home"),
        "COLUMNS": "88",
        "NO_COLOR": "1",
    }
    process = subprocess.Popen(
        argv,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=BLOCK_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        output += f"\n(killed after {BLOCK_TIMEOUT_S} s)"
    return process.returncode, CLOSING.sub("", output)


def execute(block: Block, folder: Path) -> list[str]:
    """Do what a block says; what went wrong, in words."""
    if block.action == "file":
        target = folder / block.file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.text, encoding="utf-8")
    elif block.action == "python":
        code, output = run([sys.executable, "-W", "error", "-c", block.text], folder)
        if code != 0:
            return [f"line {block.line}: ended with {code}:\n{output}"]
    elif block.action == "bash":
        code, output = run(["bash", "-euo", "pipefail", "-c", block.text], folder)
        if code != 0:
            return [f"line {block.line}: ended with {code}:\n{output}"]
    elif block.action == "console":
        return [
            f"line {block.line}: $ {command.line}\nended with {code} and printed:\n"
            f"{output}\nbut this was written ([exit code {command.exit_code}]):\n"
            f"{command.output}"
            for command in commands(block.text)
            for code, output in [run(["bash", "-c", command.line], folder)]
            if code != command.exit_code
            or (command.output is not None and not matches(command.output, output))
        ]
    return []


@pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)
def test_documents_tell_the_truth(document: Path, tmp_path: Path) -> None:
    """Every block that can be tried does what the document says it does."""
    (tmp_path / ".home").mkdir()
    shutil.copytree(
        ROOT / "examples",
        tmp_path / "examples",
        ignore=shutil.ignore_patterns("__pycache__", ".dtf", ".pytest_cache"),
    )
    for block in blocks(document.read_text("utf-8")):
        problems = execute(block, tmp_path)
        assert not problems, "\n\n".join(problems)


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_in_docstrings(name: str) -> None:
    """Doctests of every module that has them pass."""
    results = doctest.testmod(
        import_module(name), optionflags=doctest.ELLIPSIS, raise_on_error=False
    )
    assert results.attempted > 0
    assert results.failed == 0

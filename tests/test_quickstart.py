"""The suite that a stranger runs first: green everywhere, and what it says it is."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dtf_dask.runs import cases
from dtf_dask.worker_plugins.runner.case_execution import execute

QUICKSTART = Path(__file__).parents[1] / "examples" / "quickstart"


@pytest.fixture
def quickstart(tmp_path: Path) -> Path:
    """A copy of the example, so that nothing is written into the project."""
    ignored = shutil.ignore_patterns("__pycache__", ".dtf", ".pytest_cache", "build")
    return shutil.copytree(QUICKSTART, tmp_path / "quickstart", ignore=ignored)


def test_the_suite_is_green_under_plain_pytest(quickstart: Path) -> None:
    """It shows every harmless outcome, needs no plugin, and warns of nothing."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=quickstart,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d{2} passed, 1 skipped, 1 xfailed in", done.stdout)


def test_dtf_run_takes_in_tests_and_cases(quickstart: Path) -> None:
    """Without a path: the tests that `testpaths` names, and the cases of dtf.toml."""
    done = subprocess.run(
        [sys.executable, "-m", "dtf_dask.runs.pytest_process", "--dtf=", "-q"],
        cwd=quickstart,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "84 passed, 1 skipped, 1 xfailed in" in done.stdout


def test_the_suite_needs_only_the_standard_library_and_pytest() -> None:
    """A stranger has installed nothing else."""
    allowed = sys.stdlib_module_names | {"household", "pytest", "__future__"}
    for file in QUICKSTART.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert str(node.module).partition(".")[0] in allowed, file
            elif isinstance(node, ast.Import):
                assert {alias.name for alias in node.names} <= allowed, file


def test_its_cases_pass(quickstart: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions and commands of dtf.toml, one of each matrix point."""
    bin_folder = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", bin_folder, prepend=":")
    found = cases.load(quickstart / "dtf.toml")
    assert [case.name for case in found][:1] == [
        "saving[tariff=day-and-night,capacity=40]"
    ]
    assert len(found) == 8
    for case in (found[0], found[-1]):
        result = execute(case, quickstart)
        assert result.outcome == "passed", result
    assert (quickstart / "build" / "evening-peak.csv").exists()

"""docs/exit-codes.md lists the errors that there are, with their codes."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from dtf_dask import errors

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (\d+) \| (?:`(\w+)`)? *\| (.+) \|$", re.MULTILINE)


def test_exit_codes_are_documented() -> None:
    """Every error of dtf has its row with its code, and no other is named."""
    rows = ROW.findall((ROOT / "docs" / "exit-codes.md").read_text("utf-8"))
    documented = {name: int(code) for code, name, _ in rows if name}
    defined = {
        name: error.exit_code
        for name, error in vars(errors).items()
        if inspect.isclass(error) and issubclass(error, errors.DtfError)
    }
    assert documented == defined


def test_pytest_s_own_codes_are_documented() -> None:
    """The rest of the table is pytest's, and the table is in order."""
    rows = ROW.findall((ROOT / "docs" / "exit-codes.md").read_text("utf-8"))
    codes = [int(code) for code, _, _ in rows]
    assert codes == sorted(set(codes))
    assert {code.value for code in pytest.ExitCode} <= set(codes)

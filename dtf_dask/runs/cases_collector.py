"""Cases of a file as pytest items: ``dtf.toml::bench[model=a,batch=1]``.

For the hook ``pytest_collect_file`` of dtf's plugin. Imports no Dask.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dtf_dask.errors import DtfError
from dtf_dask.model import Case, Outcome
from dtf_dask.runs import cases
from dtf_dask.worker_plugins.runner.case_execution import (
    CaseResult,
    execute,
    find_problem,
)

OUTPUT_LINES_SHOWN_MAX = 20
COMMAND_LENGTH_SHOWN_MAX = 500


def collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Return a collector for a file of cases; None for every other file.

    A ``dtf.toml`` is one, and a ``pyproject.toml`` whose ``[tool.dtf]`` holds cases.
    """
    if file_path.name == cases.FILE_NAME or (
        file_path.name == "pyproject.toml" and cases.holds_cases(file_path)
    ):
        collector: CaseFile = CaseFile.from_parent(parent, path=file_path)
        return collector
    return None


class CaseFailure(Exception):
    """A case that did not pass, for pytest; `CaseItem.repr_failure` shows it."""

    def __init__(self, result: CaseResult) -> None:
        super().__init__(result.exception)
        self.result = result


class CaseFile(pytest.File):
    """A file of cases; one item for every case and matrix point."""

    def collect(self) -> Iterator[CaseItem]:
        """Read the file; what is wrong with it is a collection error of one line."""
        try:
            found = cases.load(self.path)
        except DtfError as error:
            raise self.CollectError(str(error)) from None
        for case in found:
            item: CaseItem = CaseItem.from_parent(self, name=case.name, case=case)
            yield item


class CaseItem(pytest.Item):
    """One case.

    Attributes
    ----------
    case
        What is run; ``case.timeout_s`` is enforced here.
    case_result
        What came of it, with its artifacts, once the item has run; None before and
        after its teardown, which deletes the spool folder that artifacts may lie in.
    """

    def __init__(self, *, case: Case, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.case = case
        self.case_result: CaseResult | None = None
        for axis, value in case.labels.items():
            # `-k` knows no "=": `-k model:a`, or to the letter `-k "[model:a]"`.
            self.extra_keyword_matches.add(f"[{axis}:{value}]")
            self.user_properties.append((f"label.{axis}", value))
        for key, value in case.annotations.items():
            self.user_properties.append((f"dtf.{key}", value))
        if case.annotations:
            self.add_marker(pytest.mark.dtf(**case.annotations))

    def setup(self) -> None:
        """Refuse what cannot start, so that it counts as an error and no failure."""
        problem = find_problem(self.case, self.path.parent)
        if problem:
            # Here pytest does not ask `repr_failure`.
            text = describe(self.case, CaseResult(Outcome.ERROR, exception=problem))
            pytest.fail(text, pytrace=False)

    def runtest(self) -> None:
        """Execute the case in the folder of its file."""
        result = self.case_result = execute(self.case, self.path.parent)
        for name, text in (("stdout", result.stdout), ("stderr", result.stderr)):
            if text:
                self.add_report_section("call", name, text)
        self.user_properties.append(("dtf_outcome", result.outcome.value))
        if result.detail:
            self.user_properties.append(("dtf_detail", result.detail))
        if result.exit_code is not None:
            self.user_properties.append(("exit_code", result.exit_code))
        self.user_properties.extend(result.properties.items())
        if result.detail == "interrupted":
            raise KeyboardInterrupt(
                result.exception
            )  # as of any test: ends the session
        if result.outcome is Outcome.SKIPPED:
            pytest.skip(result.exception.partition(": ")[2] or "skipped")
        if not result.outcome.is_good:
            raise CaseFailure(result)

    def teardown(self) -> None:
        """Delete the output files that the result refers to."""
        result, self.case_result = self.case_result, None
        if result is not None and result.spool is not None:
            shutil.rmtree(result.spool, ignore_errors=True)

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], *_: Any
    ) -> Any:
        """What was run, how it ended, and where its words stop."""
        if isinstance(excinfo.value, CaseFailure):
            return describe(self.case, excinfo.value.result)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Tell pytest the file and name; a case has no line."""
        return self.path, None, self.name


def describe(case: Case, result: CaseResult) -> str:
    """Say in plain text how a case ended: command, exit code, tail of the output."""
    what = shlex.join(case.argv) if case.argv else f"{case.fn}"
    lines = [f"{result.outcome.upper()}: {result.exception}"]
    lines.append(f"  case: {what:.{COMMAND_LENGTH_SHOWN_MAX}}")
    if case.cwd:
        lines.append(f"  working directory: {case.cwd}")
    if result.exit_code is not None:
        lines.append(f"  exit code: {result.exit_code}")
    lines.append(f"  duration: {result.duration_s:.2f} s")
    for refusal in result.properties.get("artifacts_refused", ()):
        lines.append(f"  artifact left out: {refusal}")
    for name in result.properties.get("leaked_processes", ()):
        lines.append(f"  process left behind, killed: {name}")
    if result.traceback:
        lines += ["", result.traceback.rstrip()]
    for name, text in (("stdout", result.stdout), ("stderr", result.stderr)):
        tail = text.splitlines()[-OUTPUT_LINES_SHOWN_MAX:]
        if tail:
            lines += ["", f"  last lines of {name}:", *(f"    {line}" for line in tail)]
    return "\n".join(lines)

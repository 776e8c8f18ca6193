"""Tables as files, and a run as the report that `dtf results` makes of it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from dtf_dask.errors import UsageError
from dtf_dask.model import Attempt, CaseId, Outcome, Run, RunId
from dtf_dask.runs.reports import html
from monitor_app.feed.asked import PAGE, of_run
from monitor_app.feed.calls import Caller, StrangeError
from monitor_app.feed.questions import Call

TOLD_CASES_MAX = 300
"""Cases that did not pass are reported with what they wrote, up to so many."""
_TEXT_CHARS = 32_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_FAILING = frozenset({"failed", "error", "timeout", "lost"})
_TEXTS = ("exception", "traceback", "stdout", "stderr", "log")

Titles = Sequence[str]
Rows = Iterable[Sequence[Any]]


def write_table(path: Path, titles: Titles, rows: Rows) -> None:
    """A table as CSV, or as Parquet if the file is called so.

    Raises
    ------
    UsageError
        It cannot be written, and why.
    """
    try:
        if path.suffix.lower() == ".parquet":
            _write_parquet(path, titles, rows)
        else:
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(titles)
                writer.writerows(map(_safe, rows))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error


def _safe(row: Sequence[Any]) -> list[Any]:
    """No name of a test is to be run by a spreadsheet as a formula."""
    return [
        f"'{one}" if isinstance(one, str) and one.startswith(_FORMULA) else one
        for one in row
    ]


def _write_parquet(path: Path, titles: Titles, rows: Rows) -> None:
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise UsageError(
            "Parquet needs pyarrow: pip install pyarrow; or save it as .csv"
        ) from None
    columns = [*zip(*rows, strict=True)] or [()] * len(titles)
    parquet.write_table(
        arrow.table([arrow.array(list(one)) for one in columns], names=list(titles)),
        path,
    )


def run_report(run: str, path: Path) -> Call:
    """Has a run written as one HTML file; parts of the answer tell how far it is."""

    def call(caller: Caller) -> Iterator[Any]:
        told = caller.get(of_run(run))
        attempts: list[Attempt] = []
        left = TOLD_CASES_MAX
        for done, total, case in _cases(caller, run):
            failing = case["outcome"] in _FAILING or case["flaky"]
            if failing and left > 0:
                left -= 1
                attempts += _with_texts(caller, run, case["case_id"])
            else:
                attempts.append(_bare(case))
            if done % PAGE == 0 or failing:
                yield {"done": done, "of": total}
        part = path.with_name(f"{path.name}.part")
        try:
            with part.open("w", encoding="utf-8") as file:
                file.writelines(html.render(_run(told), attempts))
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise StrangeError(f"{path}: {error.strerror or error}") from error
        yield {"done": len(attempts), "of": len(attempts), "path": str(path)}

    return call


def _cases(caller: Caller, run: str) -> Iterator[tuple[int, int, Mapping[str, Any]]]:
    offset, total = 0, 1
    while offset < total:
        told = caller.get(of_run(run, "/cases"), {"limit": PAGE, "offset": offset})
        total = int(told["total"])
        for n, one in enumerate(told["items"], offset + 1):
            yield n, total, one
        offset += PAGE
        if not told["items"]:
            return


def _with_texts(caller: Caller, run: str, case_id: str) -> Iterator[Attempt]:
    listed = caller.get(of_run(run, "/attempts"), {"case": case_id, "limit": 20})
    for one in listed["items"]:
        query = {
            "case": case_id,
            "number": one["number"],
            "worker": one["worker"],
            "chars": _TEXT_CHARS,
        }
        told = caller.get(of_run(run, "/log"), query)
        left = {name: str(told[name]["text"]) for name in _TEXTS}
        yield Attempt(
            CaseId(case_id),
            int(one["number"]),
            Outcome(one["outcome"]),
            worker=str(one["worker"]),
            host=str(one["host"]),
            detail=str(one["detail"]),
            started_at=float(one["started_at"]),
            duration_s=float(one["duration_s"]),
            cpu_s=one["cpu_s"],
            memory=one["memory"],
            exception=left["exception"],
            traceback=left["traceback"],
            stdout=left["stdout"],
            stderr=left["stderr"],
            log=left["log"],
        )


def _bare(case: Mapping[str, Any]) -> Attempt:
    return Attempt(
        CaseId(str(case["case_id"])),
        int(case["attempts"]),
        Outcome(case["outcome"]),
        duration_s=float(case["duration_s"]),
    )


def _run(told: Mapping[str, Any]) -> Run:
    return Run(
        RunId(str(told["run"])),
        float(told["started_at"]),
        told["status"],
        told["finished_at"],
        told["exit_code"],
        command=tuple(map(str, told["command"])),
        suite=str(told["suite"]),
        rootdir=str(told["rootdir"]),
        snapshot=str(told["snapshot"]),
        cases_planned=int(told["planned"]),
        policy=told["policy"],
        environment=told["environment"],
    )

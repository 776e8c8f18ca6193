"""What ``dtf results`` prints for people: lines that survive 80 columns and a pipe.

Ids are never cut or folded, so that they can be copied: columns of known width come
first and the id last. Everything that comes from a test is made inert first.
"""

from __future__ import annotations

import datetime
import io
import sys
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.text import Text

from dtf_dask.model import Attempt, Outcome, Run
from dtf_dask.runs.reports.summary import (
    FLAKY_GLYPH,
    GLYPHS,
    URGENCY,
    CaseResult,
    Summary,
    failures,
    headline,
    why,
)
from dtf_dask.runs.reports.text import (
    bounded,
    one_line,
    output,
    property_text,
    seconds,
    size,
)
from dtf_dask.runs.results.verdicts import (
    CaseChange,
    Comparison,
    FlakyCase,
    HistoryEntry,
    SlowCase,
    TrendPoint,
)

FAILURES_SHOWN_MAX = 50
FLAKY_SHOWN_MAX = 20
CHANGES_SHOWN_MAX = 50
REASON_CHARS_MAX = 500
TEXT_CHARS_MAX = 200_000
PROPERTY_CHARS_MAX = 2_000

STYLES: dict[Outcome, str] = {
    Outcome.FAILED: "red",
    Outcome.ERROR: "magenta",
    Outcome.TIMEOUT: "yellow",
    Outcome.LOST: "blue",
    Outcome.PASSED: "green",
    Outcome.SKIPPED: "dim",
}


def console() -> Console:
    """A console of plain lines: nothing is wrapped, marked up or guessed at."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a glyph shows its escape, and nothing breaks.
        sys.stdout.reconfigure(errors="backslashreplace")
    return Console(markup=False, highlight=False, emoji=False, soft_wrap=True)


def columns(
    head: Sequence[str], rows: Sequence[Sequence[str | Text]]
) -> Iterator[Text]:
    """Align all columns but the last, which is as long as it must be."""
    table = [[_text(cell) for cell in row] for row in rows]
    titles = [Text(title, style="bold") for title in head]
    widths = [
        max(line[at].cell_len for line in (titles, *table))
        for at in range(len(head) - 1)
    ]
    for line in (titles, *table):
        yield Text("  ").join(
            [
                *(
                    _padded(cell, width)
                    for cell, width in zip(line, widths, strict=False)
                ),
                line[-1],
            ]
        )


def run_summary(
    run: Run, summary: Summary, cases: Sequence[CaseResult]
) -> Iterator[Text]:
    """One run: its verdict, its failures and its flaky cases."""
    yield Text.assemble(
        ("Run ", "bold"), (run.id, "bold"), f"  {moment(run.started_at)}"
    )
    if run.suite or run.command:
        command = one_line(" ".join(run.command))
        yield Text(f"{one_line(run.suite)}{': ' if command else ''}{command}")
    style = "red" if summary.not_good else "green"
    yield Text.assemble((run.status, f"bold {style}"), f": {headline(summary)}")
    failed = failures(cases)
    if failed:
        yield Text()
        for case in failed[:FAILURES_SHOWN_MAX]:
            yield Text.assemble(_badge(case.outcome), f"  {one_line(case.case_id)}")
            reason = one_line(bounded(why(case.last), REASON_CHARS_MAX))
            yield Text(f"           {reason}", style="dim")
        yield from _and_more(failed, FAILURES_SHOWN_MAX)
    flaky = [case for case in cases if case.flaky]
    if flaky:
        yield Text()
        for case in flaky[:FLAKY_SHOWN_MAX]:
            yield Text.assemble(
                (f"{FLAKY_GLYPH} flaky  ", "yellow"),
                f"  {one_line(case.case_id)} (passed at attempt {case.last.number})",
            )
        yield from _and_more(flaky, FLAKY_SHOWN_MAX)


def run_list(runs: Sequence[Run]) -> Iterator[Text]:
    """Runs, newest first."""
    rows = [
        (
            moment(run.started_at),
            Text(run.status, style=_STATUS_STYLES.get(run.status, "")),
            _took(run.started_at, run.finished_at),
            f"{run.cases_planned:,}",
            one_line(run.suite) or "-",
            run.id,
        )
        for run in runs
    ]
    yield from columns(("started", "status", "took", "cases", "suite", "run"), rows)


def case_attempts(
    run: Run, case: CaseResult, history: Sequence[HistoryEntry]
) -> Iterator[Text]:
    """All attempts of one case with everything they left."""
    flaky = f", {FLAKY_GLYPH} flaky" if case.flaky else ""
    yield Text.assemble(_badge(case.outcome), f"  {one_line(case.case_id)}{flaky}")
    yield Text(f"in run {run.id}, {moment(run.started_at)}")
    if len({entry.run_id for entry in history}) > 1:
        yield Text.assemble("lately (oldest first): ", *_marks(history))
    for attempt in case.attempts:
        yield Text()
        yield from _attempt(attempt)


def comparison(found: Comparison) -> Iterator[Text]:
    """What changed from one run to another, the worst first."""
    parts: tuple[tuple[str, str, tuple[CaseChange, ...]], ...] = (
        ("newly failing", "red", found.newly_failing),
        ("still failing", "red", found.still_failing),
        ("fixed", "green", found.fixed),
        ("slower", "yellow", found.slower),
        ("faster", "green", found.faster),
        ("added", "", found.added),
        ("removed", "", found.removed),
    )
    for word, run in (("from", found.before), ("to  ", found.after)):
        yield Text(f"{word} {run.id}  {moment(run.started_at)}  {run.status}")
    counts = [f"{len(changes):,} {title}" for title, _, changes in parts if changes]
    yield Text(", ".join(counts) or "nothing changed")
    for title, style, changes in parts:
        if not changes:
            continue
        yield Text()
        yield Text(f"{title} ({len(changes):,})", style=f"bold {style}".strip())
        said = [_change(title, change) for change in changes[:CHANGES_SHOWN_MAX]]
        width = max(map(len, said))
        for words, change in zip(said, changes, strict=False):
            yield Text(f"  {words:{width}}  {one_line(change.case_id)}")
        yield from _and_more(changes, CHANGES_SHOWN_MAX)


def flaky_cases(found: Sequence[FlakyCase]) -> Iterator[Text]:
    """Cases that passed and failed on the same code."""
    rows = [
        (
            f"{case.failed:,}",
            f"{case.passed:,}",
            f"{case.runs:,}",
            moment(case.last_seen_at),
            one_line(case.case_id),
        )
        for case in found
    ]
    yield from columns(("failed", "passed", "runs", "last seen", "case"), rows)


def slow_cases(found: Sequence[SlowCase]) -> Iterator[Text]:
    """Cases by their learned duration."""
    rows = [(seconds(case.duration_s), one_line(case.case_id)) for case in found]
    yield from columns(("takes", "case"), rows)


def trend(points: Sequence[TrendPoint]) -> Iterator[Text]:
    """Runs of a suite, oldest first, with the outcomes that occur at all."""
    occurring = [o for o in URGENCY if any(point.counts[o] for point in points)]
    rows: list[list[str | Text]] = [
        [
            moment(point.started_at),
            Text(point.status, style=_STATUS_STYLES.get(point.status, "")),
            "-" if point.duration_s is None else seconds(point.duration_s),
            *(_count(outcome, point.counts[outcome]) for outcome in occurring),
            point.run_id,
        ]
        for point in points
    ]
    names = [outcome.value for outcome in occurring]
    yield from columns(("started", "status", "took", *names, "run"), rows)


def moment(at: float) -> str:
    """A moment in the reader's time zone."""
    try:
        return datetime.datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, OSError, ValueError):  # a worker's clock may say anything
        return "-"


def _attempt(attempt: Attempt) -> Iterator[Text]:
    detail = f" ({one_line(attempt.detail)})" if attempt.detail else ""
    where = one_line(attempt.ran_on) or "an unnamed worker"
    if attempt.host:
        where += f" on {one_line(attempt.host)}"
    yield Text.assemble(
        (f"Attempt {attempt.number}: ", "bold"),
        (f"{GLYPHS[attempt.outcome]} {attempt.outcome.value}", STYLES[attempt.outcome]),
        f"{detail} after {seconds(attempt.duration_s)}, {where}",
    )
    if attempt.phases:
        said = [f"{p.name} {p.outcome} {seconds(p.duration_s)}" for p in attempt.phases]
        yield Text(f"  {', '.join(said)}", style="dim")
    taken = []
    if attempt.cpu_s is not None:
        taken.append(f"{seconds(attempt.cpu_s)} of CPU")
    if attempt.memory is not None:
        taken.append(f"{size(attempt.memory)} at most")
    if attempt.gpu_memory is not None:
        taken.append(f"{size(attempt.gpu_memory)} of GPU memory at most")
    if taken:
        yield Text(f"  {', '.join(taken)}", style="dim")
    if attempt.exception and attempt.exception.strip() not in attempt.traceback:
        yield Text(output(bounded(attempt.exception, TEXT_CHARS_MAX)), style="red")
    for title, text in (
        ("", attempt.traceback),
        ("stdout", attempt.stdout),
        ("stderr", attempt.stderr),
        ("log", attempt.log),
    ):
        if text.strip():
            if title:
                yield Text(f"-- captured {title} --", style="bold")
            yield Text(output(bounded(text, TEXT_CHARS_MAX)).rstrip("\n"))
    for name, value in attempt.properties.items():
        shown = one_line(bounded(property_text(value), PROPERTY_CHARS_MAX))
        yield Text(f"property {one_line(name)} = {shown}")
    for artifact in attempt.artifacts:
        yield Text(
            f"artifact {one_line(artifact.name)}  {size(artifact.size_bytes)}"
            f"  sha256 {one_line(artifact.digest)}"
        )


def _marks(history: Sequence[HistoryEntry]) -> Iterator[tuple[str, str]]:
    for entry in reversed(history):
        outcome = entry.attempt.outcome
        yield GLYPHS[outcome], STYLES[outcome]


def _change(title: str, change: CaseChange) -> str:
    if title in ("slower", "faster"):
        return f"{seconds(change.before_s)} -> {seconds(change.after_s)}"
    before, after = (o.value if o else "none" for o in (change.before, change.after))
    return after if title in ("added", "still failing") else f"{before} -> {after}"


def _count(outcome: Outcome, count: int) -> Text:
    return Text(f"{count:,}", style=STYLES[outcome] if count else "dim")


def _badge(outcome: Outcome) -> Text:
    return Text(f"{GLYPHS[outcome]} {outcome.value:7}", style=STYLES[outcome])


def _and_more(found: Sequence[object], shown: int) -> Iterator[Text]:
    if len(found) > shown:
        yield Text(f"  and {len(found) - shown:,} more (--json lists all)")


def _took(started_at: float, finished_at: float | None) -> str:
    return "-" if finished_at is None else seconds(finished_at - started_at)


def _text(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(cell)


def _padded(cell: Text, width: int) -> Text:
    padded = cell.copy()
    padded.append(" " * (width - cell.cell_len))
    return padded


def show(lines: Iterable[Text]) -> None:
    """Print lines as they come."""
    out = console()
    for line in lines:
        out.print(line)


_STATUS_STYLES = {
    "passed": "green",
    "failed": "red",
    "error": "red",
    "interrupted": "yellow",
    "running": "blue",
}

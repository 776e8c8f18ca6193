"""A summary in Markdown for a CI job: short, bounded, and inert whatever names hold.

GitHub cuts nothing: a step summary over 1 MiB is refused whole, so this stays below.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from html import escape

from dtf_dask.model import Attempt, Run
from dtf_dask.runs.reports.summary import (
    FLAKY_GLYPH,
    GLYPHS,
    URGENCY,
    CaseResult,
    Summary,
    failures,
    fold,
    headline,
    slowest,
    summarize,
    why,
    without_texts,
)
from dtf_dask.runs.reports.text import bounded, one_line, output, seconds

BYTES_MAX = 60_000
# Of which failures may use this much, so that the flaky and the slowest have a place.
FAILURES_BYTES_MAX = 48_000
FAILURES_TOLD_MAX = 50
FLAKY_TOLD_MAX = 30
SLOWEST_TOLD_MAX = 5
TRACEBACK_CHARS_MAX = 3_000
NAME_CHARS_MAX = 300


def render(run: Run, attempts: Iterable[Attempt], url: str = "") -> str:
    """Return the summary, at most `BYTES_MAX` bytes of UTF-8.

    Parameters
    ----------
    url
        Where the whole report is, linked from the last line.
    """
    cases = fold(without_texts(attempt) for attempt in attempts)
    summary = summarize(run, cases)
    parts = [_head(run, summary), _failed(failures(cases))]
    parts.append(_flaky([case for case in cases if case.flaky]))
    if len(cases) > 1:
        parts.append(_slowest(slowest(cases, SLOWEST_TOLD_MAX)))
    parts.append(_foot(run, url))
    text = "\n".join(part for part in parts if part)
    if len(text.encode()) <= BYTES_MAX:
        return text
    cut = text.encode()[: BYTES_MAX - 100].decode(errors="ignore")
    return cut[: cut.rfind("\n")] + "\n\n(cut here: the summary became too long)\n"


def code(text: str) -> str:
    """Any text as a code span: nothing in it is Markdown, HTML or a mention.

    Examples
    --------
    >>> code("a`b|<img>")
    '`` a`b|<img> ``'
    """
    shown = one_line(bounded_name(text))
    runs = [len(run) for run in re.findall("`+", shown)]
    fence = "`" * (1 + max(runs, default=0))
    pad = " " if "`" in shown or shown != shown.strip() or not shown else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def bounded_name(text: str) -> str:
    """A name short enough for one line, its end kept: that is where the test is."""
    if len(text) <= NAME_CHARS_MAX:
        return text
    return f"…{text[-NAME_CHARS_MAX:]}"


def _head(run: Run, summary: Summary) -> str:
    glyph = "✓" if not summary.not_good and run.status == "passed" else "✗"
    if run.status == "running":
        glyph = "…"
    title = code(run.suite) if run.suite else "Test run"
    columns = [(GLYPHS[o], o.value, summary.counts[o]) for o in URGENCY]
    columns.append((FLAKY_GLYPH, "flaky", summary.flaky))
    columns.append(("", "not run", summary.missing))
    columns = [column for column in columns if column[2]]
    if not columns:
        return f"## {glyph} {title}: no cases\n"
    names = " | ".join(f"{glyph} {name}".strip() for glyph, name, _ in columns)
    figures = " | ".join(f"{count:,}" for *_, count in columns)
    return (
        f"## {glyph} {title}: {headline(summary)}\n\n"
        f"| {names} |\n|{' ---: |' * len(columns)}\n| {figures} |\n"
    )


def _failed(failed: list[CaseResult]) -> str:
    if not failed:
        return ""
    lines = ["### Failures\n"]
    used = 0
    for told, case in enumerate(failed):
        piece = _failure(case)
        if told >= FAILURES_TOLD_MAX or used + len(piece.encode()) > FAILURES_BYTES_MAX:
            lines.append(f"\nand {len(failed) - told:,} more failures.\n")
            break
        used += len(piece.encode())
        lines.append(piece)
    return "\n".join(lines)


def _failure(case: CaseResult) -> str:
    last = case.last
    # Inside <summary> Markdown is not read (a raw HTML block ends at the blank line).
    name = escape(one_line(bounded_name(case.case_id)), quote=False)
    reason = escape(one_line(bounded_name(why(last))), quote=False)
    body = output(bounded(last.traceback or last.exception, TRACEBACK_CHARS_MAX))
    tries = f", {len(case.attempts)} attempts" if len(case.attempts) > 1 else ""
    told = f"{last.outcome.value}{f' ({last.detail})' if last.detail else ''}{tries}"
    head = (
        f"<details><summary>{GLYPHS[last.outcome]} <code>{name}</code> {escape(told)}"
        f"<br><code>{reason}</code></summary>\n"
    )
    if not body.strip():
        return f"{head}\n{code(told)}\n\n</details>\n"
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", body)), default=0))
    return f"{head}\n{fence}text\n{body.rstrip()}\n{fence}\n\n</details>\n"


def _flaky(found: list[CaseResult]) -> str:
    if not found:
        return ""
    lines = ["### Flaky\n"]
    for case in found[:FLAKY_TOLD_MAX]:
        first = code(why(case.earlier[0]))
        lines.append(
            f"- {code(case.case_id)} passed at attempt {case.last.number},"
            f" before: {first}"
        )
    if len(found) > FLAKY_TOLD_MAX:
        lines.append(f"- and {len(found) - FLAKY_TOLD_MAX:,} more")
    return "\n".join(lines) + "\n"


def _slowest(cases: list[CaseResult]) -> str:
    lines = ["### Slowest\n"]
    lines += [f"- {seconds(case.duration_s)} {code(case.case_id)}" for case in cases]
    return "\n".join(lines) + "\n"


def _foot(run: Run, url: str) -> str:
    started = datetime.datetime.fromtimestamp(run.started_at, datetime.UTC)
    line = f"Run {code(run.id)}, started {started:%Y-%m-%d %H:%M} UTC"
    if run.snapshot:
        line += f", code {code(run.snapshot[:12])}"
    if re.fullmatch(r"https?://[^\s<>()]+", url):
        line += f". [Full report]({url})"
    return f"{line}\n"

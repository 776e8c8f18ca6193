"""What a run came to: attempts folded into one verdict per case, and the counts.

Pure: every report and the command line read a run through this module, so that they
cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dtf_dask.model import Attempt, CaseId, Outcome, Run
from dtf_dask.runs.reports.text import seconds
from dtf_dask.runs.results.verdicts import FAILING, is_final

SLOWEST_CASES_MAX = 10


@dataclass(frozen=True, slots=True)
class CaseResult:
    """All attempts of one case in a run, by number; ``last`` decides."""

    case_id: CaseId
    attempts: tuple[Attempt, ...]
    last: Attempt

    @property
    def earlier(self) -> tuple[Attempt, ...]:
        """The attempts that do not decide."""
        return tuple(a for a in self.attempts if a is not self.last)

    @property
    def outcome(self) -> Outcome:
        """The outcome of the deciding attempt."""
        return self.last.outcome

    @property
    def detail(self) -> str:
        """What refines the outcome (``"xfailed"``, ``"crash"`` ...)."""
        return self.last.detail

    @property
    def flaky(self) -> bool:
        """Whether it passed only after it had failed.

        After a lost attempt it is not: that is the infrastructure's failure.
        """
        return self.outcome is Outcome.PASSED and any(
            attempt.outcome in FAILING for attempt in self.earlier
        )

    @property
    def duration_s(self) -> float:
        """Seconds of the deciding attempt."""
        return self.last.duration_s


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of a run; ``counts`` has a key for every outcome."""

    counts: dict[Outcome, int]
    cases: int
    attempts: int
    flaky: int
    xfailed: int
    xpassed: int
    missing: int
    wall_s: float
    test_s: float

    @property
    def not_good(self) -> int:
        """How many cases failed, in whatever way."""
        return sum(n for outcome, n in self.counts.items() if not outcome.is_good)


def without_texts(attempt: Attempt) -> Attempt:
    """The attempt without captured text, if it was good.

    Folding a large run through this keeps memory to what the failures said.
    """
    if not attempt.outcome.is_good:
        return attempt
    return replace(attempt, traceback="", stdout="", stderr="", log="")


def fold(attempts: Iterable[Attempt]) -> list[CaseResult]:
    """Group attempts by case, in the order in which the cases first appear.

    The last attempt by number decides. A case that ran on several workers at once
    (``--dist each``) is as good as the worst of their last attempts.
    """
    found: dict[CaseId, dict[tuple[int, str], Attempt]] = {}
    for attempt in attempts:
        # One attempt can arrive twice: a spool taken in again, a batch sent again.
        key = (attempt.number, attempt.worker)
        found.setdefault(attempt.case_id, {})[key] = attempt
    return [
        _result(case_id, [keyed[key] for key in sorted(keyed)])
        for case_id, keyed in found.items()
    ]


def summarize(run: Run, cases: Sequence[CaseResult]) -> Summary:
    """Count outcomes, time and what is missing."""
    counts = dict.fromkeys(Outcome, 0)
    for case in cases:
        counts[case.outcome] += 1
    return Summary(
        counts=counts,
        cases=len(cases),
        attempts=sum(len(case.attempts) for case in cases),
        flaky=sum(case.flaky for case in cases),
        xfailed=sum(case.detail == "xfailed" for case in cases),
        xpassed=sum(case.detail == "xpassed" for case in cases),
        missing=max(0, run.cases_planned - len(cases)),
        wall_s=_wall_s(run, cases),
        test_s=math.fsum(a.duration_s for case in cases for a in case.attempts),
    )


def failures(cases: Iterable[CaseResult]) -> list[CaseResult]:
    """The cases that are not good, in the order of the run."""
    return [case for case in cases if not case.outcome.is_good]


def slowest(
    cases: Iterable[CaseResult], limit: int = SLOWEST_CASES_MAX
) -> list[CaseResult]:
    """The cases whose deciding attempt took longest, ties by id."""
    return sorted(cases, key=lambda case: (-case.duration_s, case.case_id))[:limit]


def headline(summary: Summary) -> str:
    """One line: what became of how many cases, in how long.

    The order is that of urgency, and what did not occur is left out.
    """
    parts = [
        f"{summary.counts[outcome]:,} {WORDS[outcome]}"
        for outcome in URGENCY
        if summary.counts[outcome]
    ]
    if summary.flaky:
        parts.append(f"{summary.flaky:,} flaky")
    if summary.missing:
        parts.append(f"{summary.missing:,} not run")
    return f"{', '.join(parts) or 'no cases'} in {seconds(summary.wall_s)}"


def why(attempt: Attempt) -> str:
    """The line that says best why: the exception's first, or the traceback's last."""
    for text in (attempt.exception, attempt.traceback):
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if lines:
            return lines[0] if text is attempt.exception else lines[-1]
    return attempt.detail or attempt.outcome.value


URGENCY: tuple[Outcome, ...] = (
    Outcome.FAILED,
    Outcome.ERROR,
    Outcome.TIMEOUT,
    Outcome.LOST,
    Outcome.PASSED,
    Outcome.SKIPPED,
)
WORDS: dict[Outcome, str] = {
    Outcome.FAILED: "failed",
    Outcome.ERROR: "in error",
    Outcome.TIMEOUT: "timed out",
    Outcome.LOST: "lost",
    Outcome.PASSED: "passed",
    Outcome.SKIPPED: "skipped",
}
# Each outcome has a glyph beside its word and colour. None of them is an emoji: those
# render as boxes where no such font is installed.
GLYPHS: dict[Outcome, str] = {
    Outcome.FAILED: "✗",
    Outcome.ERROR: "!",
    Outcome.TIMEOUT: "◷",
    Outcome.LOST: "?",
    Outcome.PASSED: "✓",
    Outcome.SKIPPED: "–",
}
FLAKY_GLYPH = "↻"


def _result(case_id: CaseId, attempts: list[Attempt]) -> CaseResult:
    last = attempts[-1]
    if len(attempts) > 1 and attempts[1].number == attempts[0].number:
        ends = {attempt.worker: attempt for attempt in attempts}.values()
        final = [end for end in ends if is_final(end.outcome, end.detail)]
        last = min(final or ends, key=lambda end: URGENCY.index(end.outcome))
    return CaseResult(case_id, tuple(attempts), last)


def _wall_s(run: Run, cases: Sequence[CaseResult]) -> float:
    if run.finished_at is not None:
        return max(0.0, run.finished_at - run.started_at)
    # Still running or cut off: the last thing known. Workers' clocks may differ from
    # ours, so never less than nothing.
    ends = (a.started_at + a.duration_s for case in cases for a in case.attempts)
    return max(0.0, max(ends, default=run.started_at) - run.started_at)

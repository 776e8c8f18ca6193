"""What the attempts of a case add up to, and what changed between two runs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from dtf_dask.model import Attempt, CaseId, Outcome, Run, RunId

RETRIED = "retried"
FAILING = frozenset({Outcome.FAILED, Outcome.ERROR, Outcome.TIMEOUT})
SLOWER_RATIO = 1.5
SLOWER_S_MIN = 0.1

# From the mildest to the gravest: a case run on several workers is as bad as its worst.
GRAVITY = {
    Outcome.PASSED: 0,
    Outcome.SKIPPED: 1,
    Outcome.LOST: 2,
    Outcome.TIMEOUT: 3,
    Outcome.ERROR: 4,
    Outcome.FAILED: 5,
}


class AttemptRow(NamedTuple):
    """The narrow part of an attempt: all that a verdict needs."""

    case_key: int
    outcome: Outcome
    detail: str
    duration_s: float


class Verdict(NamedTuple):
    """What a case came to in one run; ``duration_s`` of the attempt that decided."""

    outcome: Outcome
    duration_s: float


@dataclass(frozen=True, slots=True)
class CaseChange:
    """A case in two runs; an outcome is None where the run did not have the case."""

    case_id: CaseId
    before: Outcome | None
    after: Outcome | None
    before_s: float = 0.0
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed from one run to another, each part in the order of case ids."""

    before: Run
    after: Run
    newly_failing: tuple[CaseChange, ...] = ()
    fixed: tuple[CaseChange, ...] = ()
    still_failing: tuple[CaseChange, ...] = ()
    added: tuple[CaseChange, ...] = ()
    removed: tuple[CaseChange, ...] = ()
    slower: tuple[CaseChange, ...] = ()
    faster: tuple[CaseChange, ...] = ()
    lost: tuple[CaseChange, ...] = ()


@dataclass(frozen=True, slots=True)
class FlakyCase:
    """A case that both passed and failed with the same code."""

    case_id: CaseId
    passed: int
    failed: int
    runs: int
    last_seen_at: float


@dataclass(frozen=True, slots=True)
class SlowCase:
    """A case and its learned duration."""

    case_id: CaseId
    duration_s: float


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One attempt of a case, and the run that it belongs to."""

    run_id: RunId
    run_started_at: float
    snapshot: str
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """One run in a trend: cases by outcome, and its wall-clock duration in seconds."""

    run_id: RunId
    started_at: float
    status: str
    duration_s: float | None
    counts: Mapping[Outcome, int]


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What a prune removed."""

    runs: int = 0
    attempts: int = 0
    artifacts: int = 0
    artifact_bytes: int = 0


@dataclass(frozen=True, slots=True)
class SpoolIngest:
    """What was taken in from spool files, and the lines that could not be."""

    files: int = 0
    attempts: int = 0
    rejected_lines: int = 0
    rejected_paths: tuple[str, ...] = ()


def is_final(outcome: Outcome, detail: str) -> bool:
    """Whether an attempt decides about its case: not lost, not replaced by another."""
    return outcome is not Outcome.LOST and detail != RETRIED


def verdicts(rows: Iterable[AttemptRow]) -> dict[int, Verdict]:
    """Return what each case came to: its gravest final attempt, if it has any.

    Examples
    --------
    >>> rows = [AttemptRow(7, Outcome.FAILED, "retried", 1.0),
    ...         AttemptRow(7, Outcome.PASSED, "", 2.0)]
    >>> verdicts(rows)[7].outcome.value
    'passed'
    """
    found: dict[int, tuple[bool, int, Verdict]] = {}
    for row in rows:
        rank = (is_final(row.outcome, row.detail), GRAVITY[row.outcome])
        known = found.get(row.case_key)
        if known is None or rank > known[:2]:
            found[row.case_key] = (*rank, Verdict(row.outcome, row.duration_s))
    return {case_key: entry[2] for case_key, entry in found.items()}


def count_outcomes(found: Mapping[int, Verdict]) -> dict[Outcome, int]:
    """Return the number of cases by outcome, every outcome named."""
    counts = dict.fromkeys(Outcome, 0)
    for verdict in found.values():
        counts[verdict.outcome] += 1
    return counts


def compare_verdicts(
    run_a: Run,
    run_b: Run,
    before: Mapping[CaseId, Verdict],
    after: Mapping[CaseId, Verdict],
) -> Comparison:
    """Return what changed from ``run_a`` to ``run_b``, given their cases' verdicts."""
    parts: dict[str, list[CaseChange]] = {}
    for case_id in sorted(before.keys() | after.keys()):
        change = _change(case_id, before.get(case_id), after.get(case_id))
        for part in _parts(change):
            parts.setdefault(part, []).append(change)
    return Comparison(run_a, run_b, **{name: tuple(v) for name, v in parts.items()})


def _change(case_id: CaseId, a: Verdict | None, b: Verdict | None) -> CaseChange:
    return CaseChange(
        case_id,
        a.outcome if a else None,
        b.outcome if b else None,
        a.duration_s if a else 0.0,
        b.duration_s if b else 0.0,
    )


def _parts(change: CaseChange) -> list[str]:
    """Return the parts of a comparison that a change belongs to."""
    a, b = change.before, change.after
    parts = []
    if a is None:
        parts.append("added")
    if b is None:
        return ["removed"]
    failed_before = a in FAILING
    if b in FAILING:
        parts.append("still_failing" if failed_before else "newly_failing")
    elif failed_before and b is Outcome.PASSED:
        parts.append("fixed")
    elif b is Outcome.LOST:
        parts.append("lost")
    if a is Outcome.PASSED and b is Outcome.PASSED:
        if _is_slower(change.before_s, change.after_s):
            parts.append("slower")
        elif _is_slower(change.after_s, change.before_s):
            parts.append("faster")
    return parts


def _is_slower(before_s: float, after_s: float) -> bool:
    return after_s > before_s * SLOWER_RATIO and after_s - before_s > SLOWER_S_MIN

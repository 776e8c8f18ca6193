"""JUnit XML that Jenkins and GitLab both read.

There is no standard. What is written here is the structure that both accept:

- Jenkins' xunit plugin validates against its own ``junit-10.xsd``: a ``testcase`` has
  name, classname, time and group only, and holds skipped, error, failure, system-out
  and system-err, but **no properties** (a ``testsuite`` does); times are plain digits.
- GitLab reads classname (shown as the suite), name and time of a ``testcase`` and the
  *content* of failure, error, skipped, system-out and system-err, takes two cases with
  one name for one, and wants a file below 30 MB ("Unit test reports" in its docs).

Surefire's ``flakyFailure`` and ``rerunFailure`` are in some releases of the schema only
and are ignored by GitLab, so earlier attempts, a case's properties and its artifacts
are told in system-out, and counted in the suite's properties.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable, Iterator
from xml.sax.saxutils import escape, quoteattr

from dtf_dask.model import Attempt, Outcome, Run
from dtf_dask.runs.reports.summary import (
    CaseResult,
    Summary,
    fold,
    summarize,
    why,
)
from dtf_dask.runs.reports.text import bounded, property_text, size

MESSAGE_CHARS_MAX = 500
FAILURE_CHARS_MAX = 64_000
OUTPUT_CHARS_MAX = 64_000
PASSING_OUTPUT_CHARS_MAX = 2_000
# Together with the bare cases this stays below GitLab's 30 MB for 50,000 cases.
OUTPUT_TOTAL_CHARS_MAX = 12_000_000

# XML 1.0 §2.2: what a document cannot hold, not even as a character reference. C1 and
# DEL are legal but discouraged, and act on terminals.
_ILLEGAL = re.compile(
    "[^\t\n\r\u0020-\u007e\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)


def render(run: Run, attempts: Iterable[Attempt]) -> Iterator[str]:
    """Yield the document piece by piece.

    The pieces are held until the counts of the root element are known: about the
    size of the report itself.
    """
    cases = fold(attempts)
    summary = summarize(run, cases)
    attributes = _counts(summary)
    name = run.suite or "dtf"
    yield '<?xml version="1.0" encoding="utf-8"?>\n'
    yield f"<testsuites name={_quoted(name)}{attributes}>\n"
    skipped = summary.counts[Outcome.SKIPPED]
    yield (
        f"<testsuite name={_quoted(name)}{attributes} skipped={_quoted(skipped)}"
        f" timestamp={_quoted(_timestamp(run.started_at))}>\n"
    )
    yield from _properties(run, summary)
    budget = OUTPUT_TOTAL_CHARS_MAX
    for case in cases:
        out, err = _outputs(case, budget)
        budget -= len(out) + len(err)
        yield from _testcase(run, case, out, err)
    yield "</testsuite>\n</testsuites>\n"


def address(case_id: str, suite: str) -> tuple[str, str]:
    """Split a case id into classname and name, a pytest node id as pytest does.

    Examples
    --------
    >>> address("tests/test_a.py::TestB::test_c[x::y/z]", "s")
    ('tests.test_a.TestB', 'test_c[x::y/z]')
    >>> address("addition", "s")
    ('s', 'addition')
    """
    # Parameters may hold "::" and "/": only what is before the bracket is an address.
    path, bracket, parameters = case_id.partition("[")
    names = path.split("::")
    if len(names) == 1:  # a callable or a command
        return suite or "dtf", case_id
    names[0] = names[0].replace("/", ".").removesuffix(".py")
    return ".".join(names[:-1]), names[-1] + bracket + parameters


def _testcase(run: Run, case: CaseResult, out: str, err: str) -> Iterator[str]:
    classname, name = address(case.case_id, run.suite)
    yield (
        f"<testcase classname={_quoted(classname)} name={_quoted(name)}"
        f" time={_quoted(_time(case.duration_s))}"
    )
    verdict = _verdict(case.last)
    if not (verdict or out or err):
        yield "/>\n"
        return
    yield f">{verdict}"
    if out:
        yield f"<system-out>{_text(out)}</system-out>"
    if err:
        yield f"<system-err>{_text(err)}</system-err>"
    yield "</testcase>\n"


def _verdict(attempt: Attempt) -> str:
    if attempt.outcome is Outcome.PASSED:
        return ""
    if attempt.outcome is Outcome.SKIPPED:
        kind = "xfail" if attempt.detail == "xfailed" else "skip"
        reason = why(attempt).removeprefix("Skipped: ")
        return (
            f"<skipped type={_quoted(f'pytest.{kind}')}"
            f" message={_quoted(reason[:MESSAGE_CHARS_MAX])}>{_text(reason)}</skipped>"
        )
    # An assertion that failed is a failure; what kept the test from that, an error.
    tag = "failure" if attempt.outcome is Outcome.FAILED else "error"
    message = why(attempt)[:MESSAGE_CHARS_MAX]
    if attempt.outcome is not Outcome.FAILED:
        message = f"{attempt.outcome.value}: {message}"
    # GitLab shows the content only, so it must stand alone.
    body = attempt.traceback or attempt.exception or message
    return (
        f"<{tag} type={_quoted(_exception_type(attempt))} message={_quoted(message)}>"
        f"{_text(bounded(body, FAILURE_CHARS_MAX))}</{tag}>"
    )


def _outputs(case: CaseResult, budget: int) -> tuple[str, str]:
    """What goes to system-out and system-err, within what is left of the budget."""
    last = case.last
    each = PASSING_OUTPUT_CHARS_MAX if last.outcome.is_good else OUTPUT_CHARS_MAX
    each = max(0, min(each, budget // 3))
    notes = "".join(f"{line}\n" for line in _notes(case))
    out = notes + (bounded(last.stdout, each) if each else "")
    err = bounded(last.stderr, each) if each else ""
    if last.log and each:
        err += ("\n" if err else "") + "captured log:\n" + bounded(last.log, each)
    return out, err


def _notes(case: CaseResult) -> Iterator[str]:
    if case.flaky:
        yield f"[dtf] flaky: passed at attempt {case.last.number}"
    for attempt in case.earlier:
        yield (
            f"[dtf] attempt {attempt.number}: {attempt.outcome.value} on"
            f" {attempt.ran_on or 'a worker'}: {why(attempt)[:MESSAGE_CHARS_MAX]}"
        )
    if case.detail == "xpassed":
        yield "[dtf] passed although it was expected to fail"
    for name, value in case.last.properties.items():
        yield f"[dtf] property {name} = {property_text(value)}"
    for artifact in case.last.artifacts:
        yield (
            f"[dtf] artifact {artifact.name} ({size(artifact.size_bytes)},"
            f" sha256 {artifact.digest})"
        )


def _properties(run: Run, summary: Summary) -> Iterator[str]:
    facts: dict[str, object] = {
        "dtf.run": run.id,
        "dtf.status": run.status,
        "dtf.command": " ".join(run.command),
        "dtf.snapshot": run.snapshot,
        "dtf.attempts": summary.attempts,
        "dtf.flaky": summary.flaky,
        "dtf.lost": summary.counts[Outcome.LOST],
        "dtf.timeout": summary.counts[Outcome.TIMEOUT],
        "dtf.not_run": summary.missing,
    }
    facts |= {f"environment.{name}": value for name, value in run.environment.items()}
    yield "<properties>\n"
    for name, value in facts.items():
        shown = bounded(property_text(value), FAILURE_CHARS_MAX)
        yield f"<property name={_quoted(name)} value={_quoted(shown)}/>\n"
    yield "</properties>\n"


def _counts(summary: Summary) -> str:
    failed = summary.counts[Outcome.FAILED]
    return (
        f" tests={_quoted(summary.cases)} failures={_quoted(failed)}"
        f" errors={_quoted(summary.not_good - failed)}"
        f" time={_quoted(_time(summary.wall_s))}"
    )


def _exception_type(attempt: Attempt) -> str:
    match = re.match(r"[A-Za-z_][\w.]*(?=:|$)", attempt.exception.strip())
    return match.group() if match else attempt.detail or attempt.outcome.value


def _time(duration_s: float) -> str:
    return f"{duration_s if 0 < duration_s < math.inf else 0.0:.3f}"


def _timestamp(at: float) -> str:
    moment = datetime.datetime.fromtimestamp(at, datetime.UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="seconds")


def _legal(text: object) -> str:
    return _ILLEGAL.sub(lambda match: f"#x{ord(match.group()):02X}", str(text))


def _text(text: str) -> str:
    return escape(_legal(text))


def _quoted(value: object) -> str:
    # As references, or a parser turns them into spaces (XML 1.0 §3.3.3).
    entities = {"\n": "&#10;", "\t": "&#9;", "\r": "&#13;"}
    return quoteattr(_legal(value), entities)

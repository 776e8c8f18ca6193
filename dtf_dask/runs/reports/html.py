"""One self-contained HTML file: search, filter and sort over every case of a run.

The cases are embedded as JSON and drawn by ``page.js`` as they are scrolled to. Names
and outputs are hostile: they reach the document as ``textContent`` only, and a policy
in the page lets nothing run but that one script and nothing load at all.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from dtf_dask.model import Attempt, Outcome, Run
from dtf_dask.runs.reports.summary import (
    FLAKY_GLYPH,
    GLYPHS,
    URGENCY,
    CaseResult,
    Summary,
    fold,
    headline,
    summarize,
    why,
)
from dtf_dask.runs.reports.text import (
    bounded,
    json_text,
    one_line,
    output,
    property_text,
    seconds,
    size,
    visible,
)

TEXT_CHARS_MAX = 32_000
PASSING_TEXT_CHARS_MAX = 2_000
# Together, of all cases; past it texts are cut short. What passed has a share of its
# own, so that many chatty tests leave room for what failed after them.
TEXT_TOTAL_CHARS_MAX = 20_000_000
PASSING_TEXT_TOTAL_CHARS_MAX = 4_000_000
TEXT_CHARS_PAST_TOTAL = 400
ARTIFACTS_MAX = 100
PROPERTIES_MAX = 100

_TEXTS = ("why", "traceback", "stdout", "stderr", "log")
_Links = Callable[[str], str]


def render(
    run: Run,
    attempts: Iterable[Attempt],
    artifact_url: Callable[[str], str] | None = None,
) -> Iterator[str]:
    """Yield the page piece by piece.

    Parameters
    ----------
    artifact_url
        From an artifact's digest to where it can be fetched, ``""`` for nowhere;
        without it artifacts are named, not linked.
    """
    cases = fold(attempts)
    summary = summarize(run, cases)
    script = _asset("page.js")
    title = f"{one_line(run.suite) or 'Test run'}: {headline(summary)}"
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\';'
        f" style-src 'unsafe-inline'; script-src '{_hash(script)}';"
        " base-uri 'none'; form-action 'none'\">\n"
        f"<title>{escape(title)}</title>\n<style>\n{_asset('page.css')}</style>\n"
        "</head>\n<body>\n"
    )
    yield _header(run, summary)
    yield _tools(summary)
    yield '<script type="application/json" id="run">'
    yield from _embedded(cases, artifact_url or (lambda digest: ""))
    yield f"</script>\n<script>{script}</script>\n</body>\n</html>\n"


def _header(run: Run, summary: Summary) -> str:
    good = not summary.not_good and run.status in ("passed", "running")
    hue = "passed" if good else "failed"
    glyph = GLYPHS[Outcome.PASSED if good else Outcome.FAILED]
    if run.status == "running":
        hue, glyph = "lost", "…"
    facts = [
        ("started", _moment(run.started_at)),
        ("took", seconds(summary.wall_s)),
        ("tests took", seconds(summary.test_s)),
        ("attempts", f"{summary.attempts:,}"),
        ("Python", str(run.environment.get("python", ""))),
        ("platform", str(run.environment.get("platform", ""))),
        ("snapshot", run.snapshot[:12]),
        ("run", run.id),
        ("command", " ".join(run.command)),
    ]
    shown = "".join(
        f"<div class={'wide' if name == 'command' else 'fact'}><dt>{name}</dt>"
        f"<dd>{escape(one_line(bounded(value, 1000)))}</dd></div>"
        for name, value in facts
        if value
    )
    segments = "".join(
        f'<i class="{outcome}" style="flex:{summary.counts[outcome]}"></i>'
        for outcome in URGENCY
        if summary.counts[outcome]
    )
    return (
        f"<header>\n<h1>{escape(one_line(run.suite)) or 'Test run'}</h1>\n"
        f'<p class="verdict {hue}"><b><span aria-hidden="true">{glyph}</span>'
        f" {run.status}</b>: {escape(headline(summary))}</p>\n"
        f'<dl class="facts">{shown}</dl>\n'
        f'<div class="bar" aria-hidden="true">{segments}</div>\n</header>\n'
    )


def _tools(summary: Summary) -> str:
    chips = [
        (outcome.value, GLYPHS[outcome], summary.counts[outcome]) for outcome in URGENCY
    ]
    chips.insert(4, ("flaky", FLAKY_GLYPH, summary.flaky))
    buttons = "".join(
        f'<button type="button" class="{name}" data-outcome="{name}"'
        f' aria-pressed="false"><span class="glyph" aria-hidden="true">{glyph}</span>'
        f'{name} <span class="n">{count:,}</span></button>'
        for name, glyph, count in chips
        if count
    )
    orders = {
        "worst": "Worst first",
        "slow": "Slowest first",
        "fast": "Fastest first",
        "name": "By name",
        "run": "As run",
    }
    options = "".join(f'<option value="{k}">{v}</option>' for k, v in orders.items())
    return (
        '<div class="tools">\n<div class="row">'
        '<input id="search" type="search" placeholder="Search names, errors, workers"'
        ' aria-label="Search names, errors and workers" autocomplete="off"'
        ' spellcheck="false"><select id="sort" aria-label="Order">'
        f"{options}</select></div>\n"
        f'<div class="chips" role="group" aria-label="Outcomes to show">{buttons}</div>'
        '\n</div>\n<p id="shown" role="status"></p>\n'
        '<ul id="list" aria-label="Cases"></ul>\n'
        '<div id="none" hidden>No case matches. <button id="clear" type="button">'
        "Clear search and filters</button></div>\n"
        "<noscript><p>The list of cases needs JavaScript.</p></noscript>\n"
        '<footer><span class="keys"><kbd>/</kbd> search · <kbd>↑</kbd> <kbd>↓</kbd>'
        " move · <kbd>Enter</kbd> details</span></footer>\n"
    )


def _embedded(cases: list[CaseResult], artifact_url: _Links) -> Iterator[str]:
    outcomes = {outcome.value: {"glyph": GLYPHS[outcome]} for outcome in URGENCY}
    outcomes["flaky"] = {"glyph": FLAKY_GLYPH}
    urgency = [outcome.value for outcome in URGENCY]
    yield f'{{"outcomes":{_json(outcomes)},"urgency":{_json(urgency)},"cases":['
    left = {True: PASSING_TEXT_TOTAL_CHARS_MAX, False: TEXT_TOTAL_CHARS_MAX}
    for at, case in enumerate(cases):
        good = case.outcome.is_good
        shown = _case(case, artifact_url, left[good] > 0)
        left[good] -= sum(len(a[t]) for a in shown["attempts"] for t in _TEXTS)
        piece = _json(shown)
        yield f",\n{piece}" if at else piece
    yield "]}"


def _case(case: CaseResult, artifact_url: _Links, room: bool) -> dict[str, Any]:
    last = case.last
    return {
        "id": one_line(case.case_id),
        "outcome": case.outcome.value,
        "detail": one_line(case.detail),
        "flaky": case.flaky,
        "s": max(0.0, case.duration_s),
        "time": seconds(case.duration_s),
        "worker": one_line(last.worker),
        "why": "" if last.outcome is Outcome.PASSED else one_line(why(last)),
        "attempts": [_attempt(a, artifact_url, room) for a in case.attempts],
    }


def _attempt(attempt: Attempt, artifact_url: _Links, room: bool) -> dict[str, Any]:
    each = PASSING_TEXT_CHARS_MAX if attempt.outcome.is_good else TEXT_CHARS_MAX
    each = each if room else TEXT_CHARS_PAST_TOTAL

    def shown(text: str) -> str:
        return output(bounded(text, each))

    facts = [
        ("outcome", ", ".join(filter(None, (attempt.outcome.value, attempt.detail)))),
        ("duration", seconds(attempt.duration_s)),
        ("phases", ", ".join(_phases(attempt))),
        ("worker", attempt.ran_on),
        ("host", attempt.host),
        ("started", _moment(attempt.started_at) if attempt.started_at else ""),
    ]
    return {
        "n": attempt.number,
        "outcome": attempt.outcome.value,
        "why": shown(attempt.exception),
        "facts": [(name, one_line(value)) for name, value in facts if value],
        "traceback": shown(attempt.traceback),
        "stdout": shown(attempt.stdout),
        "stderr": shown(attempt.stderr),
        "log": shown(attempt.log),
        "properties": [
            (one_line(str(name)), visible(bounded(property_text(value), each)))
            for name, value in list(attempt.properties.items())[:PROPERTIES_MAX]
        ],
        "artifacts": [
            {
                "name": one_line(artifact.name),
                "size": size(artifact.size_bytes),
                "digest": one_line(artifact.digest),
                "href": _href(artifact_url, artifact.digest),
            }
            for artifact in attempt.artifacts[:ARTIFACTS_MAX]
        ],
    }


def _phases(attempt: Attempt) -> Iterator[str]:
    for phase in attempt.phases:
        said = "" if phase.outcome == "passed" else f" ({phase.outcome})"
        yield f"{phase.name} {seconds(phase.duration_s)}{said}"


def _href(artifact_url: _Links, digest: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        return ""
    href = artifact_url(digest)
    # Relative, or fetched: nothing that runs ("javascript:").
    return href if re.match(r"(https?://|file:|[^:]*$)", href) else ""


def _moment(at: float) -> str:
    moment = datetime.datetime.fromtimestamp(at, datetime.UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _json(value: Any) -> str:
    """JSON that no HTML parser ends early: ``</script>`` needs a ``<``."""
    text = json_text(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


@cache
def _asset(name: str) -> str:
    return files("dtf_dask.runs.reports").joinpath(name).read_text(encoding="utf-8")

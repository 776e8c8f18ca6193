"""From what a runner tells of one test to the attempt that is kept. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from dtf_dask.model import Attempt, CaseId, Outcome, Phase, PhaseName

_TEXT_MAX = 256 * 1024
_STREAMS = {"stdout": "stdout", "stderr": "stderr", "log": "log"}


def attempt_of_case(
    frame: Mapping[str, Any], case_id: CaseId, number: int, slot: str, host: str
) -> Attempt:
    """The attempt that a ``case`` frame tells of.

    ``duration_s`` leaves out the set-up of fixtures that outlive the test, so that it
    says how long this test takes wherever it stands in a batch; ``phases`` keep all.
    """
    if "result" in frame:
        return _attempt_of_result(frame, case_id, number, slot, host)
    reports = frame["reports"]
    outcome, detail = _verdict(reports)
    properties = _properties(reports) | _context(frame)
    if outcome is Outcome.FAILED and properties.get("dtf_outcome") == "timeout":
        outcome = Outcome.TIMEOUT  # a command of a dtf.toml, which knows better
    shared_s = sum(seconds for _, seconds in frame.get("setups", ()))
    texts = _sections(reports)
    return Attempt(
        case_id=case_id,
        number=number,
        outcome=outcome,
        worker=slot,
        host=host,
        detail=detail,
        started_at=float(frame.get("start", 0.0)),
        duration_s=max(0.0, float(frame.get("wall", 0.0)) - shared_s),
        phases=tuple(
            Phase(
                cast(PhaseName, report["when"]),
                report["outcome"],
                float(report.get("duration", 0.0)),
            )
            for report in reports
            if report.get("when") in ("setup", "call", "teardown")
            and report.get("$report_type") == "TestReport"
        ),
        exception=frame.get("exception", "") if not outcome.is_good or detail else "",
        traceback=frame.get("text", ""),
        stdout=texts["stdout"],
        stderr=texts["stderr"],
        log=texts["log"],
        properties=properties,
        **_usage(frame),
    )


def _attempt_of_result(
    frame: Mapping[str, Any], case_id: CaseId, number: int, slot: str, host: str
) -> Attempt:
    """The attempt of a case that was run as a value, without pytest."""
    result = frame["result"]
    return Attempt(
        case_id=case_id,
        number=number,
        outcome=Outcome(result["outcome"]),
        worker=slot,
        host=host,
        detail=result["detail"],
        started_at=float(frame["start"]),
        duration_s=float(frame["wall"]),
        exception=result["exception"],
        traceback=result["traceback"],
        stdout=result["stdout"],
        stderr=result["stderr"],
        properties=result["properties"] | _context(frame),
        **_usage(frame),
    )


def _context(frame: Mapping[str, Any]) -> dict[str, Any]:
    """The context of tracing that the test had, as a property of it."""
    told = frame.get("traceparent")
    return {"traceparent": str(told)} if told else {}


def _usage(frame: Mapping[str, Any]) -> dict[str, Any]:
    """What it took of the machine, if that was measured."""
    told = frame.get("usage") or {}
    cpu_s, memory = told.get("cpu_s"), told.get("memory")
    on_gpus = frame.get("gpu_memory")  # of its worker
    return {
        "cpu_s": None if cpu_s is None else max(0.0, float(cpu_s)),
        "memory": None if memory is None else max(0, int(memory)),
        "gpu_memory": None if on_gpus is None else max(0, int(on_gpus)),
    }


def attempt_of_crash(
    frame: Mapping[str, Any], case_id: CaseId, number: int, slot: str, host: str
) -> Attempt:
    """The attempt that a ``crash`` frame tells of: a death, a hang, a lost runner."""
    timed_out = frame["cause"] == "timeout"
    lost = bool(frame.get("lost"))
    outcome = Outcome.FAILED
    if lost:
        outcome = Outcome.LOST
    elif timed_out:
        outcome = Outcome.TIMEOUT
    return Attempt(
        case_id=case_id,
        number=number,
        outcome=outcome,
        worker=slot,
        host=host,
        detail="" if timed_out or lost else "crash",
        started_at=float(frame.get("start", 0.0)),
        duration_s=float(frame.get("after_s", 0.0)),
        exception=crash_message(frame),
        traceback=crash_text(frame),
        stdout=frame.get("out", "")[-_TEXT_MAX:],
        stderr=frame.get("err", "")[-_TEXT_MAX:],
        properties=_context(frame),
        **_usage(frame),
    )


def crash_message(frame: Mapping[str, Any]) -> str:
    """One line: what ended the process of a test.

    Examples
    --------
    >>> crash_message({"cause": "signal SIGSEGV"})
    'the test process died: killed by SIGSEGV'
    >>> crash_message({"cause": "timeout", "timeout_s": 5.0})
    'Timeout: still running after 5 s; its process group was killed'
    """
    cause = str(frame["cause"])
    if cause == "timeout":
        seconds = frame.get("timeout_s", 0.0)
        return (
            f"Timeout: still running after {seconds:g} s; its process group was killed"
        )
    if frame.get("lost"):
        return f"lost: {cause}"
    if cause == "signal SIGKILL":
        return (
            "the test process died: killed by SIGKILL"
            " (by the kernel for want of memory, perhaps)"
        )
    if cause.startswith("signal "):
        return f"the test process died: killed by {cause.removeprefix('signal ')}"
    return f"the test process died: it left with {cause}"


def crash_text(frame: Mapping[str, Any]) -> str:
    """What a person reads in place of a traceback."""
    lines = [crash_message(frame)]
    if frame.get("between"):
        lines.append("It happened after the test had ended, while cleaning up.")
    elif frame.get("teardown"):
        lines.append(
            "The test itself had run: it happened in its teardown, or in that of a"
            " fixture of wider scope that ended with it."
        )
    if frame["cause"] == "timeout" and frame.get("stacks"):
        lines += ["", "Stacks of all threads when the time was over:", frame["stacks"]]
    return "\n".join(lines)


def _verdict(reports: list[Mapping[str, Any]]) -> tuple[Outcome, str]:
    """The outcome of a test, from the reports of its phases, as pytest counts them."""
    last_try = _last_try(reports)
    by_phase = {report.get("when"): report for report in last_try}
    for when in ("setup", "teardown"):
        if by_phase.get(when, {}).get("outcome") == "failed":
            call = by_phase.get("call", {})
            if when == "setup" or call.get("outcome") != "failed":
                return Outcome.ERROR, ""
    if any(report["outcome"] == "failed" for report in last_try):
        return Outcome.FAILED, ""
    for when in ("setup", "call"):
        report = by_phase.get(when, {})
        if report.get("outcome") == "skipped":
            return Outcome.SKIPPED, "xfailed" if "wasxfail" in report else ""
        if when == "call" and "wasxfail" in report:
            return Outcome.PASSED, "xpassed"
    if not last_try:
        return Outcome.ERROR, "unreported"
    return Outcome.PASSED, ""


def _last_try(reports: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Reports after the last one that a rerun plugin discarded."""
    for position in range(len(reports) - 1, -1, -1):
        if reports[position].get("outcome") == "rerun":
            return reports[position + 1 :]
    return reports


def _sections(reports: list[Mapping[str, Any]]) -> dict[str, str]:
    """stdout, stderr and log of all phases, each once (reports repeat them)."""
    texts: dict[str, list[str]] = {"stdout": [], "stderr": [], "log": []}
    seen = set()
    for report in reports:
        for title, text in report.get("sections", ()):
            kind = next(
                (k for w, k in _STREAMS.items() if f"Captured {w}" in title), ""
            )
            if kind and (title, text) not in seen:
                seen.add((title, text))
                texts[kind].append(text)
    return {kind: "".join(parts)[:_TEXT_MAX] for kind, parts in texts.items()}


def _properties(reports: list[Mapping[str, Any]]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for report in reports:
        for pair in report.get("user_properties", ()):
            if len(pair) == 2:
                properties[str(pair[0])] = pair[1]
    return properties

"""Runs and attempts as plain JSON values and back. Pure; bounded when reading."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, get_args

from dtf_dask.errors import ProtocolError
from dtf_dask.model import (
    ArtifactRef,
    Attempt,
    CaseId,
    Outcome,
    Phase,
    PhaseName,
    Run,
    RunId,
    RunStatus,
)

LINE_BYTES_MAX = 64 * 2**20
CASE_ID_CHARS_MAX = 1_000_000
TEXT_CHARS_MAX = 16_000_000
ITEMS_MAX = 100_000
DEPTH_MAX = 20
INTEGER_BITS_MAX = 256
SECONDS_MAX = 1e15

RUN_STATUSES: tuple[str, ...] = get_args(RunStatus)
_PHASE_NAMES = get_args(PhaseName)
_PHASE_OUTCOMES = ("passed", "failed", "skipped")
_SIZES = ("memory", "gpu_memory")
_TEXT_FIELDS = ("exception", "traceback", "stdout", "stderr", "log")

# Neither PostgreSQL (NUL, surrogates) nor UTF-8 (surrogates) nor JSON (two adjacent
# lone surrogates come back as one character) keeps every Python string. SUBSTITUTE
# plus four hex digits stands for each character that one of them would lose.
_ESCAPE = "\x1a"
_ODD = re.compile("[\x00\x1a\ud800-\udfff]")
_ESCAPED = re.compile("\x1a([0-9a-f]{4})")


def escape_text(text: str) -> str:
    r"""Return a string that every database stores, and one only for each ``text``.

    Examples
    --------
    >>> escape_text("test_a.py::test[é]")
    'test_a.py::test[é]'
    >>> unescape_text(escape_text("a\x00\ud800")) == "a\x00\ud800"
    True
    """
    if text.isascii():
        if "\x00" not in text and _ESCAPE not in text:
            return text
    elif not _ODD.search(text):
        return text
    return _ODD.sub(lambda found: f"{_ESCAPE}{ord(found[0]):04x}", text)


def unescape_text(text: str) -> str:
    """Undo `escape_text`."""
    if _ESCAPE not in text:
        return text
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)


def plain_value(value: Any, depth: int = 0) -> Any:
    """Return ``value`` as JSON can hold it, or the ``repr`` of what it cannot."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        # json and int() refuse huge numbers; nobody reads them in decimal either.
        return int(value) if value.bit_length() <= INTEGER_BITS_MAX else hex(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else repr(float(value))
    if depth < DEPTH_MAX:
        if isinstance(value, Mapping):
            return {str(k): plain_value(v, depth + 1) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [plain_value(item, depth + 1) for item in value]
    try:
        return repr(value)[:1000]
    except Exception:
        return f"<{type(value).__name__}>"


def json_line(value: Any) -> str:
    """Return one line of strict ASCII JSON, without the newline."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def attempt_to_json(attempt: Attempt) -> dict[str, Any]:
    """Return ``attempt`` as a plain JSON object; empty fields are left out.

    Examples
    --------
    >>> attempt_to_json(Attempt(CaseId("t"), 1, Outcome.PASSED, duration_s=0.5))
    {'case_id': 't', 'number': 1, 'outcome': 'passed', 'duration_s': 0.5}
    """
    found: dict[str, Any] = {
        "case_id": escape_text(attempt.case_id),
        "number": attempt.number,
        "outcome": attempt.outcome.value,
    }
    for name in ("worker", "dask_worker", "host", "detail"):
        if text := getattr(attempt, name):
            found[name] = text
    for name in ("started_at", "duration_s"):
        if seconds := _finite(getattr(attempt, name)):
            found[name] = seconds
    if attempt.cpu_s is not None:
        found["cpu_s"] = _finite(attempt.cpu_s)
    for name in _SIZES:
        if (size := getattr(attempt, name)) is not None:
            found[name] = size
    if attempt.phases:
        found["phases"] = phases_to_json(attempt.phases)
    for name in _TEXT_FIELDS:
        if text := getattr(attempt, name):
            found[name] = text
    if attempt.properties:
        found["properties"] = plain_value(attempt.properties)
    if attempt.artifacts:
        found["artifacts"] = [
            {"name": ref.name, "digest": ref.digest, "size_bytes": ref.size_bytes}
            for ref in attempt.artifacts
        ]
    return found


def attempt_from_json(value: Any) -> Attempt:
    """Return the attempt that `attempt_to_json` made ``value`` from.

    Raises
    ------
    ProtocolError
        If ``value`` is not such an object, or one of its fields is over its limit.
    """
    fields = _object(value, "an attempt")
    outcome = _text(fields, "outcome", 20)
    if outcome not in Outcome._value2member_map_:
        raise ProtocolError(f"an attempt's outcome cannot be {outcome!r}")
    number = fields.get("number")
    if type(number) is not int or not 1 <= number < 2**31:
        raise ProtocolError(f"an attempt's number cannot be {number!r:.50}")
    return Attempt(
        case_id=CaseId(case_id_from_json(fields.get("case_id"))),
        number=number,
        outcome=Outcome(outcome),
        worker=_text(fields, "worker", CASE_ID_CHARS_MAX),
        dask_worker=_text(fields, "dask_worker", CASE_ID_CHARS_MAX),
        host=_text(fields, "host", CASE_ID_CHARS_MAX),
        detail=_text(fields, "detail", CASE_ID_CHARS_MAX),
        started_at=_seconds(fields, "started_at"),
        duration_s=_seconds(fields, "duration_s"),
        cpu_s=_seconds(fields, "cpu_s") if "cpu_s" in fields else None,
        memory=_size(fields, "memory"),
        gpu_memory=_size(fields, "gpu_memory"),
        phases=phases_from_json(fields.get("phases", [])),
        properties=_object(fields.get("properties", {}), "properties"),
        artifacts=tuple(
            _artifact(item) for item in _list(fields.get("artifacts", []), "artifacts")
        ),
        **{name: _text(fields, name, TEXT_CHARS_MAX) for name in _TEXT_FIELDS},
    )


def run_to_json(run: Run) -> dict[str, Any]:
    """Return ``run`` as a plain JSON object."""
    return {
        "id": run.id,
        "started_at": _finite(run.started_at),
        "status": run.status,
        "finished_at": None if run.finished_at is None else _finite(run.finished_at),
        "exit_code": run.exit_code,
        "command": list(run.command),
        "suite": run.suite,
        "rootdir": run.rootdir,
        "snapshot": run.snapshot,
        "cases_planned": run.cases_planned,
        "policy": plain_value(run.policy),
        "environment": plain_value(run.environment),
    }


def run_from_json(value: Any) -> Run:
    """Return the run that `run_to_json` made ``value`` from.

    Raises
    ------
    ProtocolError
        If ``value`` is not such an object, or one of its fields is over its limit.
    """
    fields = _object(value, "a run")
    run_id = _text(fields, "id", CASE_ID_CHARS_MAX)
    status = _text(fields, "status", 20)
    planned = fields.get("cases_planned", 0)
    exit_code = fields.get("exit_code")
    if not run_id or status not in RUN_STATUSES:
        raise ProtocolError(f"a run needs an id and a status, not {status!r}")
    if type(planned) is not int or not (exit_code is None or type(exit_code) is int):
        raise ProtocolError("a run's cases_planned and exit_code are integers")
    finished = None
    if fields.get("finished_at") is not None:
        finished = _seconds(fields, "finished_at")
    command = _list(fields.get("command", []), "command")
    if not all(isinstance(word, str) for word in command):
        raise ProtocolError("a run's command is a list of strings")
    return Run(
        id=RunId(run_id),
        started_at=_seconds(fields, "started_at"),
        status=status,  # type: ignore[arg-type]  # checked above
        finished_at=finished,
        exit_code=exit_code,
        command=tuple(command),
        suite=_text(fields, "suite", CASE_ID_CHARS_MAX),
        rootdir=_text(fields, "rootdir", CASE_ID_CHARS_MAX),
        snapshot=_text(fields, "snapshot", CASE_ID_CHARS_MAX),
        cases_planned=planned,
        policy=_object(fields.get("policy", {}), "policy"),
        environment=_object(fields.get("environment", {}), "environment"),
    )


def phases_to_json(phases: tuple[Phase, ...]) -> list[list[Any]]:
    """Return phases as ``[name, outcome, seconds]`` triples."""
    return [[p.name, p.outcome, _finite(p.duration_s)] for p in phases]


def phases_from_json(value: Any) -> tuple[Phase, ...]:
    """Undo `phases_to_json`."""
    found = []
    for item in _list(value, "phases"):
        name, outcome, seconds = [*_list(item, "a phase"), None, None, None][:3]
        if name not in _PHASE_NAMES or outcome not in _PHASE_OUTCOMES:
            raise ProtocolError(f"no phase is {name!r:.50} with {outcome!r:.50}")
        found.append(Phase(name, outcome, _seconds({"phase": seconds}, "phase")))
    return tuple(found)


def case_id_from_json(value: Any) -> CaseId:
    """Return the case id that `escape_text` wrote as ``value``."""
    text = _text({"case_id": value}, "case_id", CASE_ID_CHARS_MAX)
    return CaseId(unescape_text(text))


def _artifact(value: Any) -> ArtifactRef:
    fields = _object(value, "an artifact")
    size = fields.get("size_bytes")
    if type(size) is not int or size < 0:
        raise ProtocolError(f"an artifact's size cannot be {size!r:.50}")
    return ArtifactRef(
        _text(fields, "name", CASE_ID_CHARS_MAX), _text(fields, "digest", 200), size
    )


def _finite(seconds: float) -> float:
    return float(seconds) if math.isfinite(seconds) else 0.0


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > ITEMS_MAX:
        raise ProtocolError(f"{what} must be a JSON object of at most {ITEMS_MAX} keys")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > ITEMS_MAX:
        raise ProtocolError(f"{what} must be a list of at most {ITEMS_MAX} items")
    return value


def _text(fields: Mapping[str, Any], name: str, chars_max: int) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str) or len(value) > chars_max:
        raise ProtocolError(f"{name} must be a text of at most {chars_max} characters")
    return value


def _seconds(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name, 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProtocolError(f"{name} must be a number of seconds")
    if not -SECONDS_MAX <= value <= SECONDS_MAX:  # false for not-a-number too
        raise ProtocolError(f"{name} must be a finite number of seconds")
    return float(value)


def _size(fields: Mapping[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is not None and (type(value) is not int or not 0 <= value < 2**63):
        raise ProtocolError(f"an attempt's {name} cannot be {value!r:.50}")
    return value

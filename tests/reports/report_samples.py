"""Runs and attempts that the tests of the reports share, hostile ones among them."""

from __future__ import annotations

from typing import Any

from dtf_dask.model import (
    ArtifactRef,
    Attempt,
    CaseId,
    Outcome,
    Phase,
    Run,
    RunId,
)

STARTED_AT = 1_795_300_000.0

HOSTILE_ID = (
    "tests/test_evil.py::test_x[</script><script>document.title='OWNED'</script>"
    "<img src=x onerror=alert(1)>`|*_@all]\n\x1b[31m\x00\u202e\ud800]]>"
)
HOSTILE_TEXT = "</script><!--<b>\x1b[31mred\x1b[0m\x00\x07\ud800\ufffe]]>```\n# x\u2028"

RUN = Run(
    RunId("20261123-154012-7f3a9c"),
    STARTED_AT,
    "failed",
    STARTED_AT + 12.5,
    1,
    ("dtf", "run", "tests/"),
    "demo",
    snapshot="9f" * 32,
    cases_planned=9,
    environment={"python": "3.11.9", "pytest": "9.2"},
)

_PASSED = (
    Phase("setup", "passed", 0.1),
    Phase("call", "passed", 0.8),
    Phase("teardown", "passed", 0.1),
)


def attempt(case_id: str, outcome: Outcome, number: int = 1, **more: Any) -> Attempt:
    """An attempt with the fields that most tests do not care about filled in."""
    fields: dict[str, Any] = {
        "worker": "w0",
        "host": "node-a",
        "started_at": STARTED_AT + 1,
        "duration_s": 1.0,
    }
    return Attempt(CaseId(case_id), number, outcome, **(fields | more))


def attempts() -> list[Attempt]:
    """One case of every kind: 8 of the 9 that the run planned."""
    failed_call = (Phase("setup", "passed", 0.1), Phase("call", "failed", 0.9))
    return [
        attempt(
            "tests/test_a.py::test_ok[1]",
            Outcome.PASSED,
            phases=_PASSED,
            stdout="fine\n",
            properties={"loss": float("nan"), "seed": 7},
        ),
        attempt(
            "tests/test_a.py::TestB::test_bad",
            Outcome.FAILED,
            phases=(*failed_call, Phase("teardown", "passed", 0.0)),
            exception="AssertionError: assert 1 == 2",
            traceback=">  assert 1 == 2\nE  assert 1 == 2\n\ntests/test_a.py:3: Error",
            stdout="out\n",
            stderr="err\n",
            log="WARNING log\n",
            artifacts=(ArtifactRef("core.dump", "ab" * 32, 2048),),
        ),
        attempt(
            "tests/test_a.py::test_set_up",
            Outcome.ERROR,
            phases=(Phase("setup", "failed", 0.2),),
            exception="RuntimeError: no database",
        ),
        attempt(
            "tests/test_a.py::test_hang",
            Outcome.TIMEOUT,
            duration_s=30.0,
            exception="Timeout: still running after 30 s",
        ),
        attempt(
            "tests/test_a.py::test_gone", Outcome.LOST, exception="lost: worker left"
        ),
        attempt(
            "tests/test_a.py::test_skip",
            Outcome.SKIPPED,
            phases=(Phase("setup", "skipped", 0.0),),
            traceback="Skipped: needs a GPU",
        ),
        attempt(
            "tests/test_a.py::test_flaky",
            Outcome.FAILED,
            worker="gw0",
            dask_worker="bench-1",
            detail="retried",
            phases=failed_call,
            exception="OSError: no answer",
        ),
        attempt("tests/test_a.py::test_flaky", Outcome.PASSED, 2, phases=_PASSED),
        attempt(
            HOSTILE_ID,
            Outcome.FAILED,
            worker=HOSTILE_TEXT,
            dask_worker=HOSTILE_TEXT,
            host=HOSTILE_TEXT,
            exception=HOSTILE_TEXT,
            traceback=HOSTILE_TEXT,
            stdout=HOSTILE_TEXT,
            stderr=HOSTILE_TEXT,
            log=HOSTILE_TEXT,
            properties={HOSTILE_TEXT: HOSTILE_TEXT},
            artifacts=(ArtifactRef(HOSTILE_TEXT, "../../etc/passwd", 1),),
        ),
    ]

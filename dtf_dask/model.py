"""The values that all of dtf speaks in: run > case > attempt. No I/O, clock or Dask."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NewType

RunId = NewType("RunId", str)
CaseId = NewType("CaseId", str)
"""A pytest node id, or the name of a callable or command case."""

PhaseName = Literal["setup", "call", "teardown"]
RunStatus = Literal["running", "passed", "failed", "interrupted", "error"]

_EMPTY: Mapping[str, Any] = MappingProxyType({})


class Outcome(enum.StrEnum):
    """What became of one attempt.

    ``FAILED`` is the test's own failure, ``ERROR`` one of its set-up or teardown,
    ``LOST`` one of the infrastructure. An expected failure is ``SKIPPED`` and an
    unexpected pass ``PASSED``, told apart by `Attempt.detail`.
    """

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    TIMEOUT = "timeout"
    SKIPPED = "skipped"
    LOST = "lost"

    @property
    def is_good(self) -> bool:
        """Whether a run with only such outcomes succeeds."""
        return self in (Outcome.PASSED, Outcome.SKIPPED)


@dataclass(frozen=True, slots=True)
class Phase:
    """One of the three phases of a test; ``duration_s`` in seconds."""

    name: PhaseName
    outcome: Literal["passed", "failed", "skipped"]
    duration_s: float


@dataclass(frozen=True, slots=True)
class ArtifactRef:
    """A file that an attempt left, by the SHA-256 of its content (hex)."""

    name: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution of one case on one worker.

    ``number`` counts from 1 within (run, case). ``started_at`` is seconds since the
    epoch by the worker's clock, ``duration_s`` by its monotonic clock. Text fields
    are bounded by whoever makes the attempt; what did not fit is an artifact.
    ``detail`` refines the outcome: ``"xfailed"``, ``"xpassed"``, ``"crash"``,
    ``"retried"`` (a failure that a later attempt replaces) or ``""``. ``cpu_s`` is the
    CPU time that it took, with its child processes; ``memory`` the most bytes that its
    process had while it ran, and ``gpu_memory`` those that its processes had of GPUs;
    None where nobody measured it. ``worker`` is the slot as the suite knows it
    (``"gw0"``), ``dask_worker`` the worker as schedulers and pages know it; empty where
    there is no other name, as in a run on this machine alone.
    """

    case_id: CaseId
    number: int
    outcome: Outcome
    worker: str = ""
    host: str = ""
    detail: str = ""
    started_at: float = 0.0
    duration_s: float = 0.0
    phases: tuple[Phase, ...] = ()
    exception: str = ""
    traceback: str = ""
    stdout: str = ""
    stderr: str = ""
    log: str = ""
    properties: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    artifacts: tuple[ArtifactRef, ...] = ()
    cpu_s: float | None = None
    memory: int | None = None
    gpu_memory: int | None = None
    dask_worker: str = ""

    @property
    def ran_on(self) -> str:
        """Its slot and the worker of that, as people read it; "" if it has neither."""
        return " of ".join(filter(None, (self.worker, self.dask_worker)))


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a suite: what was asked, over which code, with what end.

    ``suite`` names what is tested (by default the root folder's name): histories and
    learned durations are kept by (suite, case id). ``policy`` holds the choices that
    shaped it (dist, isolate, retries ...), ``environment`` the client's facts
    (Python, platform, packages).
    """

    id: RunId
    started_at: float
    status: RunStatus = "running"
    finished_at: float | None = None
    exit_code: int | None = None
    command: tuple[str, ...] = ()
    suite: str = ""
    rootdir: str = ""
    snapshot: str = ""
    cases_planned: int = 0
    policy: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    environment: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)


@dataclass(frozen=True, slots=True)
class Case:
    """A callable or a command to be run as a test.

    Parameters
    ----------
    name
        Its id within the run; unique, printable, at most 1,000 characters.
    fn
        A callable; it fails by raising. Its return value, if JSON can hold it, is
        kept as the property ``"result"``.
    argv
        A command, run without a shell; it fails by an exit code not in ``exit_codes``.
    args, kwargs
        Arguments for ``fn``.
    timeout_s
        Seconds after which its whole process group is killed.
    artifacts
        Glob patterns, relative to its working directory, of files to keep.
    env, cwd
        Extra environment and working directory of the case.
    labels
        Free text shown with its results, e.g. the matrix point it came from.
    annotations
        What the scheduler is told: ``hardware``, ``deadline``, ``priority_class`` ...

    Examples
    --------
    >>> Case("addition", fn=max, args=(1, 2)).name
    'addition'
    >>> Case("listing", argv=("ls", "-l"), timeout_s=5).exit_codes
    (0,)
    """

    name: str
    fn: Callable[..., Any] | None = None
    argv: tuple[str, ...] = ()
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    timeout_s: float | None = None
    exit_codes: tuple[int, ...] = (0,)
    artifacts: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    cwd: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    annotations: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)

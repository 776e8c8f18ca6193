"""Executes one case: a command, or a callable, in this process's name.

It runs in a child process that its supervisor may kill at any time. Whatever a case
does ends in a `CaseResult`; only what is wrong with the caller raises.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dtf_dask.model import Case, Outcome
from dtf_dask.quantities import format_duration
from dtf_dask.worker_plugins.runner import case_call
from dtf_dask.worker_plugins.runner.case_call import Returned
from dtf_dask.worker_plugins.runner.case_files import excerpt, find_artifacts
from dtf_dask.worker_plugins.runner.process_group import End, ProcessGroup


@dataclass(frozen=True, slots=True)
class CaseLimits:
    """The bounds of one execution; sizes in bytes, times in seconds."""

    inline_bytes_max: int = 64 * 2**10
    output_kept_bytes_max: int = 64 * 2**20
    output_bytes_max: int = 2**30
    artifacts_count_max: int = 100
    artifact_bytes_max: int = 64 * 2**20
    artifacts_bytes_max: int = 512 * 2**20
    term_grace_s: float = 1.0


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What came of one execution; the caller makes an `Attempt` of it.

    ``detail`` is ``""``, ``"crash"``, ``"interrupted"`` or ``"output"`` (too much of
    it). ``exit_code`` is a command's; negative after a signal. ``artifacts`` are names
    and paths of files; the outputs are among them when ``stdout`` or ``stderr`` were
    cut. ``spool`` is the folder of those, for the caller to delete; None when it is
    the caller's own or gone already.
    """

    outcome: Outcome
    detail: str = ""
    exception: str = ""
    traceback: str = ""
    stdout: str = ""
    stderr: str = ""
    exit_code: int | None = None
    duration_s: float = 0.0
    artifacts: tuple[tuple[str, Path], ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)
    spool: Path | None = None


def execute(
    case: Case,
    workdir: Path,
    *,
    spool: Path | None = None,
    limits: CaseLimits | None = None,
) -> CaseResult:
    """Run a case to its end.

    A command, and a callable with a timeout, gets a process group of its own; a
    callable without one runs right here, and whoever started this process guards it.

    Parameters
    ----------
    case
        What to run.
    workdir
        The folder of the code: the case's ``cwd`` is relative to it, and callables
        are imported from it.
    spool
        An empty folder for the output; by default a temporary one.
    limits
        The bounds.

    Examples
    --------
    >>> result = execute(Case("greeting", argv=("echo", "hello")), Path("."))
    >>> result.outcome.value, result.stdout
    ('passed', 'hello\\n')
    """
    limits = limits or CaseLimits()
    problem = find_problem(case, workdir)
    if problem:
        return CaseResult(Outcome.ERROR, exception=problem)
    if spool is not None:
        return _execute_in(spool, case, workdir, limits)
    try:
        own = Path(tempfile.mkdtemp(prefix="dtf-case-"))
    except OSError as error:
        return _no_resources(error)
    keep = False
    try:
        result = _execute_in(own, case, workdir, limits)
        keep = any(path.is_relative_to(own) for _, path in result.artifacts)
    finally:
        if not keep:
            shutil.rmtree(own, ignore_errors=True)
    return replace(result, spool=own) if keep else result


def _execute_in(
    spool: Path, case: Case, workdir: Path, limits: CaseLimits
) -> CaseResult:
    started = time.monotonic()
    try:
        with _Outputs(spool) as outputs:
            result = _run(case, workdir, outputs, limits)
        result = replace(result, duration_s=time.monotonic() - started)
        return _with_files(result, case, workdir, outputs, limits)
    except OSError as error:
        return _no_resources(error)


def _no_resources(error: OSError) -> CaseResult:
    """No process, file or space left for the case: not its own failure."""
    return CaseResult(Outcome.ERROR, exception=f"could not be executed: {error}")


def find_problem(case: Case, workdir: Path) -> str:
    """Say why a case cannot start: no such folder, no such program; else ``""``."""
    folder = workdir / case.cwd
    if not folder.is_dir():
        return f"the working directory {folder} is no folder"
    if case.fn is not None:
        return ""
    if not case.argv:
        return "the case has neither a function nor a command"
    program = case.argv[0]
    if "/" not in program:
        search = _environment(case).get("PATH", os.defpath)
        if shutil.which(program, path=search) is None:
            return f"no program {program!r} on the PATH; PATH is {search:.500}"
        return ""
    path = folder / program
    if not path.exists():
        return f"no program {program!r} in {folder}"
    if path.is_dir() or not os.access(path, os.X_OK):
        return f"{program!r} in {folder} is not executable; chmod +x helps a script"
    return ""


class _Outputs:
    """The two files that output streams to, so that its size costs no memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stdout_path = folder / "stdout.txt"
        self.stderr_path = folder / "stderr.txt"

    def __enter__(self) -> _Outputs:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        self.stdout = os.open(self.stdout_path, flags, 0o600)
        try:
            self.stderr = os.open(self.stderr_path, flags, 0o600)
        except BaseException:
            os.close(self.stdout)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.stdout)
        os.close(self.stderr)

    def size(self) -> int:
        return os.fstat(self.stdout).st_size + os.fstat(self.stderr).st_size


def _run(
    case: Case, workdir: Path, outputs: _Outputs, limits: CaseLimits
) -> CaseResult:
    if case.fn is None:
        return _run_command(case, workdir, outputs, limits)
    if case.timeout_s is None:
        with case_call.surroundings(case, workdir, outputs.stdout, outputs.stderr):
            return _from_returned(case_call.call(case))
    return _run_forked(case, workdir, outputs, limits)


def _run_command(
    case: Case, workdir: Path, outputs: _Outputs, limits: CaseLimits
) -> CaseResult:
    with ProcessGroup(limits.term_grace_s) as group:
        try:
            end = group.run(
                lambda: group.command(
                    case.argv,
                    cwd=workdir / case.cwd,
                    env=_environment(case),
                    stdout=outputs.stdout,
                    stderr=outputs.stderr,
                ),
                timeout_s=case.timeout_s,
                is_over_limit=lambda: outputs.size() > limits.output_bytes_max,
            )
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            text = f"{case.argv[0]!r:.200} could not be started: {why}"
            return CaseResult(Outcome.ERROR, exception=text)
    result = _from_end(end, case, limits)
    if result is None:
        code = end.exit_code
        if code in case.exit_codes:
            result = CaseResult(Outcome.PASSED)
        elif code < 0:
            text = f"the command was ended by {_signal_name(-code)}"
            result = CaseResult(Outcome.FAILED, "crash", text)
        else:
            expected = " or ".join(str(one) for one in case.exit_codes[:20])
            text = f"the command ended with exit code {code}, not {expected}"
            result = CaseResult(Outcome.FAILED, exception=text)
    return replace(result, exit_code=end.exit_code, properties=_leaked(end))


def _run_forked(
    case: Case, workdir: Path, outputs: _Outputs, limits: CaseLimits
) -> CaseResult:
    answer = outputs.folder / "returned.json"

    def body() -> None:
        case_call.dump_stacks(outputs.stderr)
        with case_call.surroundings(case, workdir, outputs.stdout, outputs.stderr):
            returned = case_call.call(case)
        part = answer.with_suffix(".part")
        part.write_text(json.dumps(asdict(returned)), encoding="utf-8")
        part.replace(answer)

    sys.stdout.flush()  # or the child would hold a copy of what is buffered
    sys.stderr.flush()
    with ProcessGroup(limits.term_grace_s) as group:
        end = group.run(
            lambda: group.fork(body),
            timeout_s=case.timeout_s,
            is_over_limit=lambda: outputs.size() > limits.output_bytes_max,
        )
    result = _from_end(end, case, limits)
    if result is None and answer.exists():
        fields = json.loads(answer.read_text(encoding="utf-8"))
        result = _from_returned(Returned(**fields))
    if result is None:
        how = f"exit code {end.exit_code}"
        if end.exit_code < 0:
            how = _signal_name(-end.exit_code)
        text = f"the callable's process ended before it returned: {how}"
        result = CaseResult(Outcome.FAILED, "crash", text)
    answer.unlink(missing_ok=True)
    return replace(result, properties={**result.properties, **_leaked(end)})


def _from_returned(returned: Returned) -> CaseResult:
    return CaseResult(
        Outcome(returned.outcome),
        returned.detail,
        returned.exception,
        returned.traceback,
        properties=dict(returned.properties),
    )


def _from_end(end: End, case: Case, limits: CaseLimits) -> CaseResult | None:
    """The result where the group was killed; None where the main process ended."""
    if end.reason == "timeout":
        assert case.timeout_s is not None
        allowed = format_duration(case.timeout_s)
        text = f"still running after {allowed}; its process group was killed"
        return CaseResult(Outcome.TIMEOUT, exception=text)
    if end.reason == "output":
        text = (
            f"wrote more than {limits.output_bytes_max:,} bytes of output; "
            "its process group was killed"
        )
        return CaseResult(Outcome.FAILED, "output", text)
    return None


def _with_files(
    result: CaseResult,
    case: Case,
    workdir: Path,
    outputs: _Outputs,
    limits: CaseLimits,
) -> CaseResult:
    """Add the outputs, shortened, and the artifacts."""
    texts = [
        excerpt(
            path,
            inline_bytes_max=limits.inline_bytes_max,
            kept_bytes_max=limits.output_kept_bytes_max,
        )
        for path in (outputs.stdout_path, outputs.stderr_path)
    ]
    found = find_artifacts(
        case.artifacts,
        workdir / case.cwd,
        count_max=limits.artifacts_count_max,
        file_bytes_max=limits.artifact_bytes_max,
        total_bytes_max=limits.artifacts_bytes_max,
    )
    kept = [text.kept for text in texts if text.kept is not None]
    properties = dict(result.properties)
    if found.refused:
        properties["artifacts_refused"] = list(found.refused)
    return replace(
        result,
        stdout=texts[0].text,
        stderr=texts[1].text,
        artifacts=(*((path.name, path) for path in kept), *found.files),
        properties=properties,
    )


def _environment(case: Case) -> dict[str, str]:
    """This process's variables and the case's; ``python`` means this Python."""
    environment = dict(os.environ)
    folder = os.path.dirname(sys.executable)
    environment["PATH"] = os.pathsep.join(
        part for part in (folder, environment.get("PATH", os.defpath)) if part
    )
    return {**environment, **case.env}


def _leaked(end: End) -> dict[str, Any]:
    return {"leaked_processes": list(end.leaked)} if end.leaked else {}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

"""Execution of one case, with real processes: worker_plugins.runner.case_execution."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
import unittest
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from dtf_dask.imported_function import ImportedFunction
from dtf_dask.model import Case, Outcome
from dtf_dask.worker_plugins.runner.case_execution import (
    CaseLimits,
    CaseResult,
    execute,
)
from dtf_dask.worker_plugins.runner.case_files import excerpt, find_artifacts

MIB = 2**20


def python(code: str, **kwargs) -> Case:
    return Case("it", argv=(sys.executable, "-c", textwrap.dedent(code)), **kwargs)


def shell(line: str, **kwargs) -> Case:
    return Case("it", argv=("sh", "-c", line), **kwargs)


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition, what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"not within 60 s: {what}"
        time.sleep(0.01)


# Commands


def test_a_command_passes_by_its_exit_code(tmp_path):
    """Any of the expected codes will do, and the output is kept apart."""
    result = execute(shell("echo out; echo err >&2"), tmp_path)
    assert (result.outcome, result.exit_code) == (Outcome.PASSED, 0)
    assert (result.stdout, result.stderr) == ("out\n", "err\n")
    assert (result.artifacts, result.spool) == ((), None)
    assert execute(shell("exit 5", exit_codes=(0, 5)), tmp_path).outcome.is_good
    failed = execute(shell("exit 5", exit_codes=(0, 1)), tmp_path)
    assert failed.outcome is Outcome.FAILED
    assert failed.exception == "the command ended with exit code 5, not 0 or 1"


def test_a_command_has_its_directory_variables_and_no_input(tmp_path):
    """cwd is below the working directory, env is added, reading input ends at once."""
    (tmp_path / "sub").mkdir()
    case = shell('pwd; echo "$X"; cat', cwd="sub", env={"X": "é"})
    assert execute(case, tmp_path).stdout == f"{tmp_path / 'sub'}\né\n"


def test_python_is_this_python(tmp_path):
    """A worker whose environment is not activated runs its own Python all the same."""
    case = Case("it", argv=("python", "-c", "import sys; print(sys.prefix)"))
    assert execute(case, tmp_path).stdout.strip() == sys.prefix


def test_a_crash_is_told_from_an_exit_code(tmp_path):
    """A command that a signal ended says which."""
    result = execute(shell("kill -SEGV $$"), tmp_path)
    assert (result.outcome, result.detail) == (Outcome.FAILED, "crash")
    assert result.exception == "the command was ended by SIGSEGV"
    assert result.exit_code == -signal.SIGSEGV


def script(folder: Path, name: str, text: str, mode: int) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(mode)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (Case("it", argv=("no-such-program-of-dtf",)), "no program 'no-such-program"),
        (Case("it", argv=("./absent",)), "no program './absent' in"),
        (Case("it", argv=("./plain",)), "not executable"),
        (Case("it", argv=("./folder/",)), "not executable"),
        (Case("it", argv=("./nonsense",)), "could not be started: Exec format error"),
        (Case("it", argv=("./orphan",)), "could not be started: No such file"),
        (Case("it", argv=("echo", "a\0b")), "could not be started: embedded null"),
        (Case("it", argv=("echo", "x" * 4_000_000)), "Argument list too long"),
        (Case("it", argv=("true",), cwd="none"), "none is no folder"),
        (Case("it", argv=("true",), cwd="plain"), "plain is no folder"),
        (Case("it"), "neither a function nor a command"),
        (Case("it", fn=ImportedFunction("no_such_module_of_dtf", "f")), "No module"),
        (Case("it", fn=ImportedFunction("os", "pathh")), "did you mean 'path'"),
    ],
)
def test_what_cannot_start_is_an_error_in_clear_words(tmp_path, case, words):
    """Not the test's failure: the outcome is error, and the text says what is wrong."""
    script(tmp_path, "plain", "echo", 0o644)
    script(tmp_path, "nonsense", "\1\2", 0o755)
    script(tmp_path, "orphan", "#!/no/such/interpreter\n", 0o755)
    (tmp_path / "folder").mkdir()
    result = execute(case, tmp_path)
    assert result.outcome is Outcome.ERROR
    assert words in result.exception


def test_a_timeout_kills_the_whole_group_and_keeps_the_output(tmp_path):
    """Children that ignore SIGTERM go too, and what was written before is there."""
    case = shell(
        "trap '' TERM; (trap '' TERM; sleep 600) & echo $! $$; wait", timeout_s=0.3
    )
    result = execute(case, tmp_path, limits=CaseLimits(term_grace_s=0.1))
    assert result.outcome is Outcome.TIMEOUT
    assert result.exception.startswith("still running after 300 ms")
    assert result.exit_code == -signal.SIGKILL
    assert 0.3 < result.duration_s < 50
    pids = [int(word) for word in result.stdout.split()]
    assert len(pids) == 2
    wait_until(lambda: not any(map(is_running, pids)), "the group is gone")


def test_sigterm_comes_first(tmp_path):
    """A command may clean up within the grace."""
    case = shell(
        "trap 'echo cleaned up >&2; exit 1' TERM; sleep 600 & wait", timeout_s=0.5
    )
    result = execute(case, tmp_path, limits=CaseLimits(term_grace_s=100))
    assert result.outcome is Outcome.TIMEOUT
    assert result.stderr == "cleaned up\n"
    assert result.duration_s < 50


def test_without_pidfd_the_same_holds(tmp_path, monkeypatch):
    """Other systems than Linux have no pidfd: an end and a timeout are seen as well."""
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    assert execute(shell("sleep 0.05; exit 3"), tmp_path).exit_code == 3
    result = execute(shell("sleep 60", timeout_s=0.2), tmp_path)
    assert result.outcome is Outcome.TIMEOUT


def test_a_machine_without_resources_is_an_error(tmp_path):
    """No room for a file, no process to be had: not the failure of the case."""
    full = execute(shell("true"), tmp_path, spool=tmp_path / "none")
    assert full.outcome is Outcome.ERROR
    assert "could not be executed" in full.exception
    code = f"""
        import resource
        from pathlib import Path
        from dtf_dask.model import Case
        from dtf_dask.worker_plugins.runner.case_execution import execute

        resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5))
        for case in (
            Case("it", argv=("true",)),
            Case("it", fn=len, args=((),), timeout_s=9),
        ):
            print(execute(case, Path("."), spool=Path({str(tmp_path)!r})).outcome)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    assert done.stdout.split() == ["error", "error"], done.stderr


def test_processes_left_behind_are_killed_and_named(tmp_path):
    """A passing command that leaks a child still passes, and says so."""
    become = 'while [ "$(cat /proc/$!/comm)" != sleep ]; do :; done'
    result = execute(shell(f"sleep 60 & {become}; echo $!"), tmp_path)
    pid = int(result.stdout)
    assert result.outcome is Outcome.PASSED
    assert result.properties["leaked_processes"] == [f"sleep ({pid})"]
    wait_until(lambda: not is_running(pid), "the leaked process is gone")


def test_the_group_dies_with_a_killed_maker(tmp_path):
    """SIGKILL of the executing process leaves no process of the case behind."""
    code = f"""
        import sys, time
        from pathlib import Path
        from dtf_dask.model import Case
        from dtf_dask.worker_plugins.runner.case_execution import execute

        def body():
            import os, subprocess
            child = subprocess.Popen(["sleep", "60"])
            Path("fn").write_text(f"{{os.getpid()}} {{child.pid}}")
            Path("fn").rename("fn.pids")
            time.sleep(60)

        here = Path({str(tmp_path)!r})
        if sys.argv[1] == "fn":
            execute(Case("it", fn=body, timeout_s=60), here)
        line = "sleep 60 & echo $$ $! > argv; mv argv argv.pids; wait"
        execute(Case("it", argv=("sh", "-c", line)), here)
    """
    for kind in ("fn", "argv"):
        maker = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), kind])
        noted = tmp_path / f"{kind}.pids"
        wait_until(noted.exists, "the case runs")
        pids = [int(word) for word in noted.read_text().split()]
        assert all(map(is_running, pids))
        maker.kill()
        maker.wait()
        wait_until(
            lambda pids=pids: not any(map(is_running, pids)), "the group is gone"
        )


# Output


def test_a_hundred_megabytes_of_output_cost_no_memory(tmp_path):
    """Inline there is head and tail and a word; the file is cut to its own limit."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    case = python(
        """
        import sys
        sys.stdout.write("first\\n")
        for _ in range(100):
            sys.stdout.write("x" * (2**20 - 1) + "\\n")
        sys.stdout.write("last\\n")
        """
    )
    spool = tmp_path / "spool"
    spool.mkdir()
    limits = CaseLimits(inline_bytes_max=1000, output_kept_bytes_max=MIB)
    result = execute(case, tmp_path, spool=spool, limits=limits)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) * 1024 < 20 * MIB
    assert result.outcome is Outcome.PASSED
    assert result.stdout.startswith("first\nxxx")
    assert result.stdout.endswith("xxx\nlast\n")
    assert "bytes were cut here" in result.stdout
    assert len(result.stdout) < 1200
    assert result.artifacts == (("stdout.txt", spool / "stdout.txt"),)
    assert MIB <= (spool / "stdout.txt").stat().st_size < MIB + 100


def test_output_without_end_is_stopped(tmp_path):
    """Past the limit the group is killed, so that no disk fills."""
    limits = CaseLimits(output_bytes_max=10 * MIB)
    result = execute(Case("it", argv=("yes",)), tmp_path, limits=limits)
    assert (result.outcome, result.detail) == (Outcome.FAILED, "output")
    assert "wrote more than 10,485,760 bytes" in result.exception
    assert result.spool is not None
    assert dict(result.artifacts)["stdout.txt"].parent == result.spool


def test_an_excerpt_cuts_no_character_in_two(tmp_path):
    """Multi-byte text stays readable at both edges of the cut."""
    path = tmp_path / "stdout.txt"
    path.write_text("é" * 1000)
    cut = excerpt(path, inline_bytes_max=102, kept_bytes_max=10_000)
    head, note, tail = cut.text.split("\n")
    assert (set(head), set(tail)) == ({"é"}, {"é"})
    assert note == (
        "[... 1,898 of 2,000 bytes were cut here; the whole is the artifact stdout.txt"
        " ...]"
    )
    path.write_bytes(b"\xff\x80")
    small = excerpt(path, inline_bytes_max=2, kept_bytes_max=9)
    assert small == type(small)("\ufffd\ufffd", None)


# Artifacts


def test_artifacts_are_files_inside_the_working_directory(tmp_path):
    """Each refusal is a property that names it; what is good is kept all the same."""
    (tmp_path / "secret").write_text("s")
    case = shell(
        "mkdir -p out/deep; echo 1 > out/a.json; echo 2 > out/deep/b.json;"
        "ln -s ../../secret out/c.json; ln -s a.json out/d.json; mkfifo out/e.json;"
        "ln -s absent out/f.json; head -c 100 /dev/zero > out/g.json",
        cwd="work",
        artifacts=("out/**/*.json", "../secret", "/etc/passwd", "none*", "out"),
    )
    (tmp_path / "work").mkdir()
    limits = CaseLimits(artifact_bytes_max=50)
    result = execute(case, tmp_path, limits=limits)
    assert result.outcome is Outcome.PASSED
    assert [name for name, _ in result.artifacts] == [
        "out/a.json",
        "out/d.json",
        "out/deep/b.json",
    ]
    assert result.properties["artifacts_refused"] == [
        "out/c.json: is a link that leads out of the working directory",
        "out/e.json: is no regular file",
        "out/f.json: cannot be read: No such file or directory",
        "out/g.json: 100 bytes are over the limit of 50",
        "../secret: leads out of the working directory",
        "/etc/passwd: leads out of the working directory",
        "none*: no such file",
    ]


def test_artifacts_are_bounded_in_number_and_size(tmp_path):
    """What is over a limit is said, and the list of refusals is bounded too."""
    for number in range(40):
        (tmp_path / f"{number:02}").write_bytes(b"x" * 10)
    found = find_artifacts(
        ["*"], tmp_path, count_max=5, file_bytes_max=10, total_bytes_max=1000
    )
    assert len(found.files) == 5
    assert found.refused[0] == "05: more than 5 files"
    assert (len(found.refused), found.refused[-1]) == (21, "15 more")
    found = find_artifacts(
        ["*"], tmp_path, count_max=50, file_bytes_max=10, total_bytes_max=25
    )
    assert len(found.files) == 2
    assert "all together over the limit of 25 bytes" in found.refused[0]


def test_artifacts_of_a_failed_and_a_killed_case_are_kept(tmp_path):
    """They are wanted most where something went wrong."""
    case = shell("echo 1 > a; sleep 60", artifacts=("a",), timeout_s=0.3)
    result = execute(case, tmp_path, limits=CaseLimits(term_grace_s=0.1))
    assert result.outcome is Outcome.TIMEOUT
    assert result.artifacts == (("a", tmp_path / "a"),)


# Callables; each both right here and, with a timeout, in a forked process


def both(case: Case, workdir: Path) -> CaseResult:
    """The result, which must not depend on whether the callable has a timeout."""
    here = execute(case, workdir)
    forked = execute(replace(case, timeout_s=30.0), workdir)
    for name in ("outcome", "detail", "exception", "traceback", "stdout", "stderr"):
        assert getattr(here, name) == getattr(forked, name)
    assert here.properties == forked.properties
    return here


def test_a_callable_passes_by_returning(tmp_path):
    """Its value is a property where JSON can hold it, and its words are the output."""

    def talk(who, *, loud):
        print("hello", who)
        os.write(1, b"from below\n")
        print("é\udc80", file=sys.stderr)
        return {"loud": loud}

    case = Case("it", fn=talk, args=("you",), kwargs={"loud": True})
    result = both(case, tmp_path)
    assert result.outcome is Outcome.PASSED
    assert result.stdout == "hello you\nfrom below\n"
    assert result.stderr == "é\\udc80\n"
    assert result.properties == {"result": {"loud": True}}


def test_a_coroutine_is_awaited(tmp_path):
    """An async function fails by raising, not by never having run."""

    async def late():
        raise ValueError("late")

    assert both(Case("it", fn=late), tmp_path).exception == "ValueError: late"


def test_a_value_that_json_cannot_hold_is_said_to_be_left_out(tmp_path):
    """Objects, NaN and what is too long."""
    for value, words in (
        (object(), "object is nothing for JSON"),
        (float("nan"), "float is nothing for JSON"),
        ("x" * 100_000, "over the limit"),
    ):
        result = both(Case("it", fn=lambda value=value: value), tmp_path)
        assert result.outcome is Outcome.PASSED
        assert words.partition(" ")[2] in result.properties["result_omitted"]


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "outcome", "detail", "exception"),
    [
        (AssertionError("no"), Outcome.FAILED, "", "AssertionError: no"),
        (SystemExit(0), Outcome.FAILED, "", "SystemExit: 0"),
        (KeyboardInterrupt(), Outcome.FAILED, "interrupted", "KeyboardInterrupt: "),
        (GeneratorExit(), Outcome.FAILED, "", "GeneratorExit: "),
        (unittest.SkipTest("why"), Outcome.SKIPPED, "", "SkipTest: why"),
        (pytest.skip.Exception("why"), Outcome.SKIPPED, "", "Skipped: why"),
        (pytest.fail.Exception("why"), Outcome.FAILED, "", "Failed: why"),
        (
            Unspeakable(),
            Outcome.FAILED,
            "",
            "Unspeakable: (its text raised RuntimeError)",
        ),
    ],
)
def test_whatever_a_callable_raises_is_a_result(
    tmp_path, error, outcome, detail, exception
):
    """Not even KeyboardInterrupt comes out, and the trace is the user's alone."""

    def body():
        raise error.with_traceback(None)

    result = both(Case("it", fn=body), tmp_path)
    assert (result.outcome, result.detail) == (outcome, detail)
    assert result.exception == exception
    assert "test_case_execution.py" in result.traceback
    assert "case_call.py" not in result.traceback


def test_surroundings_are_undone(tmp_path):
    """Directory, variables, import path and streams are as before, come what may."""
    (tmp_path / "sub").mkdir()
    os.environ["DTF_TEST_KEPT"] = "before"
    before = (os.getcwd(), dict(os.environ), list(sys.path), sys.stdout, sys.stderr)

    def vandal():
        assert Path.cwd() == tmp_path / "sub"
        assert os.environ["DTF_TEST_GIVEN"] == "1"
        assert sys.path[0] == str(tmp_path)
        os.environ["DTF_TEST_LEFT"] = "x"
        del os.environ["DTF_TEST_KEPT"]
        os.chdir("/")
        sys.path.clear()
        sys.stdout.close()
        raise SystemExit

    case = Case("it", fn=vandal, cwd="sub", env={"DTF_TEST_GIVEN": "1"})
    try:
        assert execute(case, tmp_path).exception == "SystemExit: "
        after = (os.getcwd(), dict(os.environ), list(sys.path), sys.stdout, sys.stderr)
        assert after == before
    finally:
        os.environ.pop("DTF_TEST_KEPT", None)


def test_a_function_by_name_is_imported_from_the_working_directory(tmp_path):
    """So cases of a dtf.toml find the code beside it."""
    (tmp_path / "dtf_test_module_beside.py").write_text("def f(): return 7")
    case = Case("it", fn=ImportedFunction("dtf_test_module_beside", "f"))
    assert execute(case, tmp_path).properties == {"result": 7}


def test_a_callable_over_its_time_is_killed_with_its_children(tmp_path):
    """Its stack tells where it hung, and what it printed is kept."""

    def hang():
        child = subprocess.Popen(["sleep", "60"])
        print(child.pid, flush=True)
        time.sleep(60)

    result = execute(Case("it", fn=hang, timeout_s=0.5), tmp_path)
    assert result.outcome is Outcome.TIMEOUT
    assert "in hang" in result.stderr
    pid = int(result.stdout)
    wait_until(lambda: not is_running(pid), "the child is gone")


def test_a_callable_with_a_timeout_may_crash(tmp_path):
    """Its process dies, this one does not."""
    kill = Case("it", fn=lambda: os.kill(os.getpid(), signal.SIGSEGV), timeout_s=30)
    result = execute(kill, tmp_path)
    assert (result.outcome, result.detail) == (Outcome.FAILED, "crash")
    assert result.exception.endswith("before it returned: SIGSEGV")
    assert "Segmentation fault" in result.stderr
    leave = Case("it", fn=lambda: os._exit(3), timeout_s=30)
    assert execute(leave, tmp_path).exception.endswith("returned: exit code 3")

"""``client.run_cases`` on a real cluster: callables and commands, kept and reported."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from xml.etree import ElementTree

import psutil
import pytest

from dtf_dask import Case, Client, LocalCluster, Outcome
from dtf_dask.errors import ClusterUnreachableError, DuplicateCaseError, UsageError
from dtf_dask.runs.results.store import ResultsStore


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with LocalCluster(n_workers=2, threads_per_worker=1) as cluster:
        client = cluster.get_client()
        yield client
        client.close()


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_kind_of_end(client: Client) -> None:
    """Each case ends with its own outcome, whatever it does to its process."""

    def segfault() -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    def fail() -> None:
        print("before the end")
        raise ValueError("wrong")

    handle = client.run_cases(
        [
            Case("sum", fn=sum, args=([1, 2],)),
            Case("command", argv=("sh", "-c", "echo hello; exit 3"), exit_codes=(3,)),
            Case("wrong code", argv=("sh", "-c", "exit 1")),
            Case("no program", argv=("no-such-program-at-all",)),
            Case("raises", fn=fail),
            Case("dies", fn=segfault),
            Case("hangs", argv=("sleep", "60"), timeout_s=0.3),
            Case("hangs too", fn=time.sleep, args=(60,), timeout_s=0.3),
        ]
    )
    ended = {attempt.case_id: attempt for attempt in handle}
    outcomes = {name: attempt.outcome.value for name, attempt in ended.items()}
    assert outcomes == {
        "sum": "passed",
        "command": "passed",
        "wrong code": "failed",
        "no program": "error",
        "raises": "failed",
        "dies": "failed",
        "hangs": "timeout",
        "hangs too": "timeout",
    }
    assert ended["sum"].properties["result"] == 3
    assert ended["command"].stdout == "hello\n"
    assert ended["raises"].stdout == "before the end\n"
    assert "ValueError: wrong" in ended["raises"].traceback
    assert "SIGSEGV" in ended["dies"].exception
    assert handle.done
    assert handle.wait()["passed"] == 2


def test_results_are_kept_and_reported(client: Client, tmp_path: Path) -> None:
    """What ran is in the store with its files, and in every kind of report."""
    write = "import pathlib; pathlib.Path('out.txt').write_text('kept')"
    handle = client.run_cases(
        [Case("writes", argv=("python", "-c", write), artifacts=("*.txt",))],
        suite="demo",
    )
    assert handle.wait() == {"passed": 1}
    store = ResultsStore.open(str(tmp_path / ".dtf/results.sqlite"), create=False)
    (attempt,) = store.attempts(handle.run.id)
    assert store.run("last").suite == "demo"
    store.close()
    (artifact,) = attempt.artifacts
    kept = list((tmp_path / ".dtf/artifacts").rglob(artifact.digest))
    assert [path.read_text() for path in kept] == ["kept"]
    suite = ElementTree.fromstring(handle.report("junit"))
    assert [case.get("name") for case in suite.iter("testcase")] == ["writes"]
    assert "1 passed" in handle.report()
    with pytest.raises(UsageError, match="no report format 'pdf'"):
        handle.report("pdf")


def test_code_travels(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``code=`` makes a folder the working directory of the cases, elsewhere too; a
    case may be a function of a module in it."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "words.txt").write_text("here\n")
    (code / "travels_4711.py").write_text(
        "from pathlib import Path\ndef read(): print(Path('words.txt').read_text())\n"
    )
    monkeypatch.syspath_prepend(code)
    read = importlib.import_module("travels_4711").read
    cases = [Case("reads", argv=("cat", "words.txt")), Case("is in it", fn=read)]
    for attempt in client.run_cases(cases, code=code):
        assert (attempt.outcome, attempt.stdout[:5]) == (Outcome.PASSED, "here\n")


def test_flaky_cases_are_told(client: Client, tmp_path: Path) -> None:
    """A case that passes on its second try passes, with both attempts kept."""
    mark = tmp_path / "tried"
    script = f"test -e {mark} || {{ touch {mark}; exit 1; }}"
    handle = client.run_cases([Case("flaky", argv=("sh", "-c", script))], retries=1)
    found = [(a.number, a.outcome.value, a.detail) for a in handle]
    assert found == [(1, "failed", "retried"), (2, "passed", "")]
    assert handle.wait() == {"passed": 1}


def test_cancel_kills_what_runs(client: Client, tmp_path: Path) -> None:
    """A cancelled run is over at once, and leaves no process of its cases."""
    mark = "dtf-test-cancel-0123456789"
    begun = tmp_path / "begun"
    script = f"touch {begun}; sleep 600; : {mark}"
    handle = client.run_cases([Case("sleeps", argv=("sh", "-c", script))])
    deadline = time.monotonic() + 60
    while not begun.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    handle.cancel()
    handle.wait(timeout=60)
    left = [p for p in psutil.process_iter(["cmdline"]) if _says(p, mark)]
    assert left == []
    store = ResultsStore.open(str(tmp_path / ".dtf/results.sqlite"), create=False)
    assert store.run(handle.run.id).status == "interrupted"
    assert store.missing(handle.run.id) == ["sleeps"]
    store.close()


def _says(process: psutil.Process, mark: str) -> bool:
    return any(mark in word for word in process.info["cmdline"] or ())


@pytest.mark.parametrize(
    ("cases", "error", "words"),
    [
        ([], UsageError, "no cases"),
        ([Case("a", argv=("ls",))] * 2, DuplicateCaseError, "one name: 'a'"),
        ([Case("a")], UsageError, "a function or a command"),
        ([Case("", argv=("ls",))], UsageError, "name is printable"),
        ([Case("a\x1b[31m", argv=("ls",))], UsageError, "name is printable"),
        ([Case("a", argv=("ls",), timeout_s=-1)], UsageError, "timeout_s is -1"),
    ],
)
def test_cases_that_make_no_sense(
    client: Client, cases: list[Case], error: type[Exception], words: str
) -> None:
    """They are refused before anything is started or stored."""
    with pytest.raises(error, match=words):
        client.run_cases(cases)
    assert not Path(".dtf").exists()


def test_a_case_that_cannot_be_sent(client: Client, tmp_path: Path) -> None:
    """It is named, and the run is not kept as one that passed."""
    cases = [Case("fine", fn=sum, args=([1],)), Case("l", fn=id, args=(Lock(),))]
    handle = client.run_cases(cases)
    with pytest.raises(UsageError, match="case 'l' cannot be sent"):
        handle.wait(60)
    with ResultsStore.open(tmp_path / ".dtf" / "results.sqlite") as store:
        run = store.run(handle.run.id)
    assert (run.status, run.exit_code) == ("error", UsageError.exit_code)


def test_hardware_of_cases(client: Client) -> None:
    """A case runs where it fits; one that fits nowhere waits, and can be cancelled."""
    asks = {"hardware": "cpu.threads >= 1", "memory": "1 MiB", "class": "interactive"}
    handle = client.run_cases([Case("fits", fn=sum, args=([1],), annotations=asks)])
    assert handle.wait(60) == {"passed": 1}
    never = Case("never", fn=id, annotations={"hardware": "resource.FPGA >= 1"})
    handle = client.run_cases([never])
    deadline = time.monotonic() + 60
    while not handle.notices and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "needs resource.FPGA >= 1, has 0 (2 workers)" in handle.notices[0]
    handle.cancel()
    assert handle.wait(60) == {}


def test_a_case_that_cannot_be_loaded(client: Client, tmp_path: Path) -> None:
    """A function of a module that the worker lacks is an error that says so."""
    import sys

    (tmp_path / "only_here_4711.py").write_text("def f(): pass\n")
    sys.path.insert(0, str(tmp_path))
    try:
        module = importlib.import_module("only_here_4711")
    finally:
        sys.path.remove(str(tmp_path))
    (attempt,) = client.run_cases([Case("absent", fn=module.f)])
    assert attempt.outcome is Outcome.ERROR
    assert "only_here_4711" in attempt.exception
    assert "code=" in attempt.exception


def test_a_client_that_is_closed_ends_its_run(
    client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who waits for it is told so, what had ended is kept, and nothing is logged."""
    own = Client(client.scheduler.address, set_as_default=False)  # type: ignore[union-attr]
    slow = [Case(f"slow-{n}", argv=("sleep", "30")) for n in range(3)]
    handle = own.run_cases([Case("quick", argv=("true",)), *slow])
    assert next(iter(handle)).case_id == "quick"
    own.close()
    with pytest.raises(ClusterUnreachableError, match="client was closed"):
        list(handle)
    gc.collect()
    logged = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    assert not [text for text in logged if "exception" in text], logged
    assert handle.outcomes["passed"] == 1
    store = ResultsStore.open(str(tmp_path / ".dtf/results.sqlite"), create=False)
    while "quick" not in {one.case_id for one in store.attempts(handle.run.id)}:
        time.sleep(0.05)  # a thread of the run writes it
    store.close()


def test_ordinary_dask_goes_on(client: Client) -> None:
    """A run and plain tasks share a cluster."""
    handle = client.run_cases([Case("ls", argv=("ls",))])
    assert client.submit(sum, [1, 2]).result(timeout=60) == 3
    assert handle.wait(timeout=60) == {"passed": 1}


def test_nothing_is_left_of_a_run_that_is_over(client: Client) -> None:
    """A client that has hundreds of runs keeps none of them."""
    handle = client.run_cases([Case("sum", fn=sum, args=([1, 2],))])
    assert handle.wait()["passed"] == 1
    left = weakref.ref(handle)
    del handle
    deadline = time.monotonic() + 30
    while left() is not None:  # its threads and tasks are about to end
        gc.collect()
        assert time.monotonic() < deadline
        time.sleep(0.05)

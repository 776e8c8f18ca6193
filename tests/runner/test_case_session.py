"""Cases that came as values: callables and commands in a runner."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import cloudpickle
import pytest
from dask_cluster import pytest_spec
from served import Started, crashes, gone

from dtf_dask.model import Case


@pytest.fixture
def runner(tmp_path):
    """One for all cases, without code: they come whole."""
    (tmp_path / "spill").mkdir()
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    spec = pytest_spec("", kind="cases", slot="gw0", home=str(tmp_path))
    with Started(spec, str(tmp_path / "spill")) as started:
        yield started
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def run(runner, *cases):
    entries = [[n, case.name, cloudpickle.dumps(case)] for n, case in enumerate(cases)]
    runner.send(op="batch", entries=entries, spill=runner._spill)
    frames = runner.until("batch_end")
    return frames, {f["i"]: f["result"] for f in frames if f["op"] == "case"}


def _shout(word):
    print(word)
    return {"said": word}


def _fail():
    raise ValueError("as it must")


def test_callables_and_commands(runner, tmp_path):
    """Outcome, output and result of each; in an empty folder that goes with the run."""
    _, results = run(
        runner,
        Case("says", fn=_shout, args=("hello",)),
        Case("fails", fn=_fail),
        Case("lists", argv=("sh", "-c", "echo out; echo err >&2; exit 3")),
        Case("where", fn=os.getcwd),
    )
    outcomes = [results[n]["outcome"] for n in range(4)]
    assert outcomes == ["passed", "failed", "failed", "passed"]
    assert results[0]["stdout"] == "hello\n"
    assert results[0]["properties"]["result"] == {"said": "hello"}
    assert "as it must" in results[1]["exception"]
    assert (results[2]["stdout"], results[2]["stderr"]) == ("out\n", "err\n")
    assert results[2]["properties"]["exit_code"] == 3
    assert results[3]["properties"]["result"] == str(tmp_path / "gw0")


def test_a_payload_that_cannot_be_loaded_is_its_error(runner):
    """And no other case's: it is loaded in the child, one at a time."""
    good = cloudpickle.dumps(Case("good", argv=("true",)))
    unknown = b"cno_such_module\nCase\n."
    entries = [[0, "torn", good[:-9]], [1, "unknown", unknown], [2, "good", good]]
    runner.send(op="batch", entries=entries, spill=runner._spill)
    frames = runner.until("batch_end")
    outcomes = [f["result"]["outcome"] for f in frames if f["op"] == "case"]
    assert outcomes == ["error", "error", "passed"]
    assert "no_such_module" in frames[1]["result"]["exception"]


def test_a_timeout_is_the_cases(runner):
    """The group of a command is killed; what it wrote is there."""
    began = time.monotonic()
    script = "echo begun; sleep 600 & echo $! > pid; wait"
    frames, results = run(
        runner,
        Case("hangs", argv=("sh", "-c", script), timeout_s=0.3, artifacts=("pid",)),
        Case("sleeps", fn=time.sleep, args=(600,), timeout_s=0.2),
        Case("after", argv=("true",)),
    )
    assert [results[n]["outcome"] for n in range(3)] == ["timeout", "timeout", "passed"]
    assert results[0]["stdout"] == "begun\n"
    assert time.monotonic() - began < 60
    [artifact] = frames[0]["artifacts"]
    pid = int(Path(runner._spill, artifact["file"]).read_text())
    assert gone(pid)


def test_a_crash_costs_one_case(runner):
    """A callable without a timeout runs in the child itself."""
    frames, results = run(
        runner, Case("dies", fn=os._exit, args=(4,)), Case("after", argv=("true",))
    )
    assert crashes(frames) == {0: "exit 4"}
    assert results[1]["outcome"] == "passed"


def test_artifacts_are_kept_and_nothing_else(runner, tmp_path):
    """A copy of each under a name of ours; the folders of the cases are gone."""
    frames, results = run(
        runner,
        Case("writes", argv=("sh", "-c", "echo 1 > a.log"), artifacts=("*.log",)),
        Case("long", argv=("sh", "-c", "yes | head -c 100000")),
        Case("dies", fn=os.abort),
    )
    [artifact] = frames[0]["artifacts"]
    assert (artifact["name"], artifact["size"]) == ("a.log", 2)
    [output] = frames[1]["artifacts"]
    assert output["size"] == 100_000
    assert len(results[1]["stdout"]) < 2000
    kept = {artifact["file"], output["file"]}
    left = {name for name in os.listdir(tmp_path / "spill") if name not in kept}
    assert len(left) == 1  # of the case that died; it goes with the run
    assert not [name for name in left if not name.startswith("case-")]

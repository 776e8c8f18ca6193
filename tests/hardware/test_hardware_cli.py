"""``dtf hardware``, and what ``dtf worker`` is told to say of its workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dask.config
import distributed
import pytest
from click.testing import CliRunner

from dtf_dask.cli.cluster import worker
from dtf_dask.cli.main import dtf
from dtf_dask.errors import DemandError, UsageError

DTF = [sys.executable, "-c", "from dtf_dask.cli.main import main; main()"]


def said(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(dtf, ["hardware", *arguments], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.stdout


def test_the_facts_are_shown_by_the_names_that_demands_use() -> None:
    """One line a fact, sizes for people, the many packages in one line."""
    configured = {
        "dtf.hardware.labels": {"board": "rpi4"},
        "dtf.hardware.accept": "class == 'nightly'",
        "dtf.hardware.tokens": {"simulator": 2},
    }
    with dask.config.set(configured):
        text = said()
    first = {line.split()[0]: line for line in text.splitlines() if line}
    assert {"os.name", "cpu.arch", "memory", "gpu.count", "label.board"} <= first.keys()
    assert first["memory"].endswith("iB")
    assert "installed; `dtf hardware package` lists them" in first["package.NAME"]
    assert "accepts only   class == 'nightly'" in text
    assert "brings tokens  simulator x 2" in text
    assert max(map(len, text.splitlines())) <= 100


def test_one_fact_or_the_beginning_of_several() -> None:
    """What is asked for, and nothing besides."""
    assert said("cpu.arch").split()[0] == "cpu.arch"
    assert set(json.loads(said("memory", "--json"))) == {"memory"}
    assert "package.pytest" in said("package")
    with pytest.raises(UsageError, match=r"this machine has no rocm$"):
        said("rocm")
    with pytest.raises(UsageError, match=r"no fact is called 'cpu.archh'.*'cpu.arch'"):
        said("cpu.archh")


def test_the_advert_as_json() -> None:
    """It is what a worker sends."""
    advert = json.loads(said("--json"))
    keys = {"version", "facts", "gpus", "accept", "tokens", "problems"}
    assert advert.keys() == keys
    assert advert["facts"]["python.implementation"] == "cpython"


def test_whether_this_machine_meets_a_demand() -> None:
    """Yes, or what it lacks and exit code 1; what is no demand is an error."""
    assert said("--meets", "memory >= '1 MiB'") == "This machine meets it.\n"
    assert "needs gpu.count >= 99" in said("--meets", "gpu.count >= 99", code=1)
    with pytest.raises(DemandError, match=r"did you mean 'gpu\.count'"):
        said("--meets", "gpu.cont >= 1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--label", "board"], "'board': write NAME=TEXT"),
        (["--label", "a b=c"], "is no name"),
        (["--label", "a=1", "--label", "a=2"], "a was given two values"),
        (["--label", f"a={'x' * 300}"], "1 to 200 letters"),
        (["--token", "a=0"], "whole number from 1"),
        (["--token", "a=x"], "whole number from 1"),
        (["--accept", "clas == 'x'"], "did you mean 'class'?"),
    ],
)
def test_what_cannot_be_said_is_refused_at_the_start(
    arguments: list[str], message: str
) -> None:
    """No worker starts that would say less than it was told to."""
    with dask.config.set({}):
        result = CliRunner().invoke(worker, ["tcp://127.0.0.1:1", *arguments])
    assert result.exit_code == 2
    assert message in result.output


def test_workers_of_nannies_say_what_the_command_was_told(tmp_path: Path) -> None:
    """Labels of the command come to those of the configuration."""
    environment: dict[str, Any] = {
        **os.environ,
        "DASK_DTF__HARDWARE__LABELS": '{"board": "x", "room": "12"}',
    }
    file = tmp_path / "scheduler.json"
    processes = []
    with (tmp_path / "log").open("wb") as log:

        def start(*arguments: str) -> None:
            processes.append(
                subprocess.Popen(
                    [*DTF, *arguments],
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    env=environment,
                    cwd=tmp_path,
                )
            )

        try:
            start(
                *("scheduler", "--port", "0", "--scheduler-file", str(file)),
                *("--dashboard-address", "127.0.0.1:0"),
            )
            start(
                *("worker", "--scheduler-file", str(file), "--nworkers", "1"),
                *("--label", "board=rpi4", "--token", "simulator=2"),
                *("--accept", "class == 'nightly'"),
            )
            for _ in range(400):
                if file.exists():
                    break
                time.sleep(0.05)
            with distributed.Client(scheduler_file=str(file)) as client:
                client.wait_for_workers(1, timeout=60)
                (address,) = client.scheduler_info(n_workers=-1)["workers"]
                advert = client.sync(
                    client.scheduler.proxy, msg={"op": "dtf_probe"}, worker=address
                )
        finally:
            for process in reversed(processes):
                process.send_signal(signal.SIGINT)
            for process in processes:
                try:
                    process.wait(60)
                finally:
                    process.kill()
    assert advert["facts"]["label.board"] == "rpi4"
    assert advert["facts"]["label.room"] == "12"
    assert advert["accept"] == "class == 'nightly'"
    assert advert["tokens"] == {"simulator": 2}
    assert not advert["problems"]

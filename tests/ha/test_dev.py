"""`dtf dev` as a person uses it: a cluster whose scheduler is killed, and its end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest
from click.testing import CliRunner

from dtf_dask.cli import scheduler_ports
from dtf_dask.cli.free_ports import free_ports
from dtf_dask.cli.ha_prepare import make_coordinators
from dtf_dask.cli.main import dtf
from dtf_dask.errors import ConfigurationError, DtfError
from dtf_dask.ha.coordinators import numbered
from dtf_dask.web.paths import api_url

WAIT_S = 120.0
DTF = (sys.executable, "-c", "from dtf_dask.cli.main import main; main()")


def status(where: object) -> dict[str, Any]:
    """What `dtf status` says; nothing of use if nobody answers."""
    done = CliRunner().invoke(dtf, ["status", str(where), "--json"])
    if isinstance(done.exception, DtfError):
        return {"leader": None, "said": str(done.exception)}
    found: dict[str, Any] = json.loads(done.stdout)
    assert (done.exit_code == 0) == (found["leader"] is not None)
    return found


def until(where: object, term: int = 0, workers: int = 0) -> dict[str, Any]:
    """Wait until somebody leads, in that term or later, with all workers."""
    ends = time.monotonic() + WAIT_S
    while True:
        found = status(where)
        led = found["leader"] is not None and found["term"] >= term
        if led and (found["workers"] or 0) >= workers:
            return found
        assert time.monotonic() < ends, found
        time.sleep(0.2)


@contextmanager
def dev(*words: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A cluster of this machine and its address; nothing of it is left."""
    process = subprocess.Popen(
        [*DTF, "dev", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    family: list[psutil.Process] = []
    try:
        yield process.stdout.readline().strip(), process
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGINT)
            assert process.wait(WAIT_S) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    _, left = psutil.wait_procs(family, WAIT_S)
    assert left == []


def test_a_scheduler_alone_has_pages_too() -> None:
    """The first line is its address, others may watch it; Ctrl-C ends all of it."""
    (port,) = free_ports(1)
    with dev("--coordinators", 0, "--workers", 0, "--web", port) as (address, process):
        assert address.startswith("tcp://127.0.0.1:")
        ends = time.monotonic() + WAIT_S
        while True:
            assert process.poll() is None
            assert time.monotonic() < ends
            with suppress(OSError), urlopen(f"{api_url(f'127.0.0.1:{port}')}cluster"):
                break
            time.sleep(0.1)


def test_a_cluster_of_this_machine_outlives_its_scheduler(tmp_path: Path) -> None:
    """The first line is its address; another leads when the leader's scheduler is
    killed, and where `dtf ha transfer` says; each serves what it sees; Ctrl-C ends all
    of it."""
    words = ("--coordinators", 3, "--workers", 1, "--folder", tmp_path / "dev")
    words += ("--web", 0)
    with dev(*words) as (address, _):
        assert address.startswith("dtf://127.0.0.1:")
        assert address.endswith("/dev")
        folder = tmp_path / "dev" / "a"
        first = until(folder, workers=1)
        assert first["address"] == address
        scheduler = first["coordinators"][first["leader"]]["scheduler"]
        os.kill(scheduler["pid"], signal.SIGKILL)
        second = until(address, term=first["term"] + 1, workers=1)
        assert second["takeover"]["leading_after_s"] > 0
        assert scheduler["crashes"] == 0
        told = status(folder)["coordinators"][first["leader"]]["scheduler"]
        assert told["crashes"] == 1
        # One whose scheduler is not there yet would not take over.
        target = next(
            one for one in "abc" if one not in (first["leader"], second["leader"])
        )
        done = CliRunner().invoke(dtf, ["ha", "transfer", str(folder), target])
        assert done.exit_code == 0, done.output
        third = until(folder, term=second["term"] + 1, workers=1)
        assert third["alarms"] == []
        for one in "abc":
            web = status(tmp_path / "dev" / one)["coordinators"][one]["web"]
            assert web["role"] == "serves"
            seen = told_by(
                web["listens_at"],
                "coordinators",
                lambda seen: (
                    (seen["term"], seen["leader"] is not None) == (third["term"], True)
                ),
            )
            assert seen["contact"] == address
        (tmp_path / "test_one.py").write_text("def test_one(): pass")
        words = ("run", "--address", address, "--class", "release", "--tenant", "team")
        code = subprocess.run((*DTF, *words), cwd=tmp_path, stdout=subprocess.DEVNULL)
        assert code.returncode == 0
        seen = told_by(
            web["listens_at"],
            "live-runs?class=release&tenant=team",
            lambda seen: [one["status"] for one in seen["items"]] == ["passed"],
        )
        [run] = seen["items"]
        assert (run["class"], run["tenant"], run["planned"]) == ("release", "team", 1)


def told_by(
    place: str, path: str, enough: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """What the API of a coordinator says, once that is enough."""
    ends = time.monotonic() + WAIT_S
    while True:
        with urlopen(f"http://{place}/dtf/api/v1/{path}") as answer:
            seen: dict[str, Any] = json.load(answer)
        if enough(seen):
            return seen
        assert time.monotonic() < ends, seen
        time.sleep(0.2)


def said_no(*words: object) -> str:
    """Why a command does not begin."""
    done = CliRunner().invoke(dtf, [str(word) for word in words])
    assert isinstance(done.exception, ConfigurationError), done.output
    return str(done.exception)


def test_a_folder_that_is_not_whole_is_not_begun(tmp_path: Path) -> None:
    """As Ctrl-C leaves it in the middle of the making; and what is there is named."""
    places = {name: ("127.0.0.1", 20_000 + 10 * n) for n, name in enumerate("abc")}
    make_coordinators(tmp_path, "dev", numbered(places), {"tls": False})
    assert "says 5: leave it out" in said_no(
        "dev", "--folder", tmp_path, "--coordinators", 5
    )
    shutil.rmtree(tmp_path / "b")
    why = said_no("dev", "--folder", tmp_path)
    assert "of the coordinators a, b, c it has a, c; remove it" in why
    shutil.rmtree(tmp_path / "a")
    shutil.rmtree(tmp_path / "c")
    assert "it has none; remove it" in said_no("dev", "--folder", tmp_path)


def test_the_status_of_a_folder_that_is_no_coordinators(tmp_path: Path) -> None:
    """It is not taken for an address."""
    assert "it has no node.json" in said_no("status", tmp_path)


def test_nothing_outlives_a_cluster_that_is_killed(tmp_path: Path) -> None:
    """By kill -9 of the command: coordinators, schedulers and workers end. Options of
    a start are for that start: the folder does not have them."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        where = "127.0.0.1:{1}".format(*free.getsockname())
    words = ("--folder", tmp_path / "dev", "--dashboard", where)
    with dev("--coordinators", 1, "--workers", 1, *words) as (address, process):
        until(address, workers=1)
        with urllib.request.urlopen(f"http://{where}/health") as answer:
            assert answer.read() == b"ok"
        assert where not in (tmp_path / "dev" / "a" / "node.json").read_text()
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 4
        process.kill()
        process.wait()
        _, left = psutil.wait_procs(family, WAIT_S)
        assert left == []


def test_a_port_that_is_taken_is_said_before_anything_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its scheduler would listen there only once it leads, which may be days later."""
    monkeypatch.setattr(scheduler_ports, "_ENDS_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        made = make_coordinators(
            tmp_path, "dev", numbered({"a": ("127.0.0.1", port)}), {"tls": False}
        )
        said = f"something listens at 127.0.0.1:{port} already"
        assert said in said_no("dev", "--folder", tmp_path)
        assert said in said_no("coordinator", "--data", made[0].folder)

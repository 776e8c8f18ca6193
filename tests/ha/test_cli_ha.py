"""``dtf ha``: nodes made, started, looked at, changed, as a person does it."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from dtf_dask.cli.main import main

WAIT_S = 60.0
DTF = (sys.executable, "-c", "from dtf_dask.cli.main import main; main()")


def dtf(*words: object) -> subprocess.CompletedProcess[str]:
    """What a command says."""
    return subprocess.run(
        [*DTF, "ha", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


@contextmanager
def running(*words: object) -> Iterator[list[str]]:
    """A command that runs until Ctrl-C; what it has said when it was ready."""
    process = subprocess.Popen(
        [*DTF, "ha", *map(str, words)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        lines: list[str] = []
        while not lines or "Ctrl-C" not in lines[-1]:
            line = process.stdout.readline()
            assert line, lines
            lines.append(line)
        yield lines
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def free_pair() -> int:
    """A port of this machine that is free, as is the next one."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as one:
            port: int = one.getsockname()[1]
            try:
                socket.create_server(("127.0.0.1", port + 1)).close()
            except OSError:
                continue
            return port


def told(folder: Path, leader_of: int) -> dict[str, dict[str, object] | str]:
    """What ``status`` says once some nodes follow one leader."""
    deadline = time.monotonic() + WAIT_S
    while True:
        done = dtf("status", folder, "--json")
        found: dict[str, dict[str, object] | str] = json.loads(done.stdout)
        up = [one for one in found.values() if not isinstance(one, str)]
        if len(up) == leader_of and len({one["leader"] for one in up}) == 1:
            return found
        assert time.monotonic() < deadline, found


def _line(text: str) -> str:
    """Wrapped lines as one."""
    return " ".join(text.split())


@pytest.mark.drill
def test_a_cluster_from_its_making_to_its_growth(tmp_path: Path) -> None:
    """Made, started, looked at; a node is added, made to lead, and another removed."""
    ports = [free_pair(), free_pair()]
    figures = f"127.0.0.1:{free_pair()}"
    node = ("--node", f"127.0.0.1:{ports[0]}")
    made = dtf("init", tmp_path, "--cluster", "lab", *node, "--metrics", figures)
    assert made.returncode == 0, made.stderr
    assert f"figures on {figures}" in made.stdout
    first = tmp_path / "node-1"
    away = dtf("status", first)
    assert away.returncode == 1
    assert "no leader" in away.stdout
    assert "Connection refused" in away.stdout
    unheard = dtf("transfer", first, 1, "--timeout", 0.2)
    assert unheard.returncode == 49
    assert "nothing was done: not in 0.2 s: node 1 at" in unheard.stderr
    with running("start", first):
        assert told(first, 1)["1"]["role"] == "leader"  # type: ignore[index]
        where = f"127.0.0.1:{ports[1]}"
        joined = dtf("join", tmp_path, 2, where, "--like", first)
        assert joined.returncode == 0, joined.stderr
        second = tmp_path / "node-2"
        with running("start", second):
            added = dtf("add", first, 2, where)
            assert added.stdout == "Node 2 votes.\n", added.stderr
            assert dtf("transfer", second, 2).stdout == "Node 2 leads.\n"
            shown = dtf("status", second)
            assert f"node 1 at http://{figures}/metrics" in _line(shown.stdout)
            assert re.search(r"^2 +leader", shown.stdout, re.MULTILINE), shown.stdout
            assert "node 2 leads; 0 more nodes may fail" in shown.stdout
            gone = dtf("remove", first, 1)  # which was made before there was a second
            assert gone.returncode == 0, gone.stderr
            again = dtf("remove", second, 1)
            assert again.returncode == 4
            assert "no member" in again.stderr


def test_dev_runs_a_whole_cluster(tmp_path: Path) -> None:
    """Of as many nodes as are asked for; nothing of it is left running."""
    with running("dev", "--nodes", 3, "--folder", tmp_path / "dev"):
        found = told(tmp_path / "dev" / "node-1", 3)
        assert all(not isinstance(one, str) for one in found.values())
        served = {one["metrics"] for one in found.values()}  # type: ignore[index]
        assert len(served) == 3
        for one in served:
            with urlopen(f"http://{one}/metrics", timeout=WAIT_S) as answer:
                assert b"dtf_ledger_term " in answer.read()
    assert dtf("status", tmp_path / "dev" / "node-1").returncode == 1


def test_a_node_is_backed_up_checked_and_restored(tmp_path: Path) -> None:
    """While it runs, and when it does not."""
    where = f"127.0.0.1:{free_pair()}"
    assert dtf("init", tmp_path, "--node", where).returncode == 0
    node = tmp_path / "node-1"
    with running("start", node):
        told(node, 1)
        done = dtf("backup", node, tmp_path / "live")
        assert done.returncode == 0, done.stderr
        assert dtf("verify", node).returncode == 41  # it runs
    assert dtf("verify", node).returncode == 0
    assert dtf("backup", node, tmp_path / "stopped").returncode == 0
    assert dtf("backup", node, tmp_path / "stopped").returncode == 9
    assert dtf("verify", node, "--file", tmp_path / "stopped").returncode == 0
    refused = dtf("restore", tmp_path / "live", node, "--lose-what-came-later")
    assert refused.returncode == 41
    for name in ("log", "snapshots", "contents"):
        (node / name).rename(tmp_path / name)
    assert dtf("restore", tmp_path / "live", node).returncode == 2
    done = dtf("restore", tmp_path / "live", node, "--lose-what-came-later")
    assert done.returncode == 0, done.stderr
    with running("start", node):
        assert told(node, 1)["1"]["role"] == "leader"  # type: ignore[index]


def _served(folder: Path) -> str | None:
    """Where a node's file says that figures are served."""
    found: str | None = json.loads((folder / "node.json").read_text())["metrics"]
    return found


def test_figures_are_served_unless_they_are_not_wanted(tmp_path: Path) -> None:
    """On loopback if nothing is said; of nodes on one host each has its port, those
    that join later too."""
    hosts = ("--node", "a", "--node", "b", "--node", "b:9000", "--node", "b:9100")
    assert dtf("init", tmp_path / "on", *hosts).returncode == 0
    first = "127.0.0.1:9464"
    assert [_served(tmp_path / "on" / f"node-{n}") for n in (1, 2, 3, 4)] == [
        *(first, first, "127.0.0.1:9465", "127.0.0.1:9466")
    ]
    like = ("--like", tmp_path / "on" / "node-3")
    assert dtf("join", tmp_path / "on", 5, "b:9200", *like).returncode == 0
    assert _served(tmp_path / "on" / "node-5") == "127.0.0.1:9467"
    assert dtf("join", tmp_path / "on", 6, "c", *like).returncode == 0
    assert _served(tmp_path / "on" / "node-6") == first
    assert dtf("init", tmp_path / "off", "--metrics", "off", *hosts).returncode == 0
    assert _served(tmp_path / "off" / "node-1") is None
    like = ("--like", tmp_path / "off" / "node-3")
    assert dtf("join", tmp_path / "off", 5, "b:9200", *like).returncode == 0
    assert _served(tmp_path / "off" / "node-5") is None


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("init", "FOLDER"), 2, "1 to 9 times --node"),
        (("init", "FOLDER", "--node", "h:x"), 2, "no address"),
        (("init", "FOLDER", "--node", "h:65535"), 2, "next one"),
        (("init", "FOLDER", "--node", "h", "--node", "h"), 2, "same host"),
        (("init", "FOLDER", "--node", "h", "--cluster", "../x"), 4, "no name"),
        (("init", "FOLDER", "--node", "h", "--metrics", "on"), 2, "no address"),
        (("init", "FOLDER", "--node", "h", "--metrics", "h:0"), 2, "no ports from 0"),
        (("start", "FOLDER"), 9, "'dtf ha init' makes one"),
        (("status", "FOLDER"), 9, "'dtf ha init' makes one"),
        (("add", "FOLDER", "2", "nowhere"), 2, "no address"),
        (("transfer", "FOLDER", "0"), 2, "0"),
    ],
)
def test_what_makes_no_sense_is_said(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    """With a code of its own and what to do."""
    given = [str(tmp_path / "x") if word == "FOLDER" else word for word in words]
    with pytest.raises(SystemExit) as ended:
        main(["ha", *given])
    told = capsys.readouterr().err
    assert (ended.value.code, said in told) == (code, True), told

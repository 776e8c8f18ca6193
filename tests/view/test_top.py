"""``dtf top``: what it shows fits, is true, and says how old it is."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import distributed
import pytest

from dtf_dask.cli import view_link
from dtf_dask.cli.main import main
from dtf_dask.cli.top_screen import Screen, screen
from dtf_dask.cli.view_link import ViewLink
from dtf_dask.cluster import LocalCluster
from dtf_dask.view.alerts import alerts
from dtf_dask.view.read_model import ReadModel
from dtf_dask.view.records import PREFIX, encoded, formed, record_key

NOW = 1.8e9
HOSTILE = "\x1b[31m<b>\r\n\t\x07" + "ü" * 500


def busy(name: str, workers: int) -> ReadModel:
    """A cluster that has some of everything; everything is called so."""
    model = ReadModel()

    def put(kind: str, number: int = 0, **fields: Any) -> None:
        value = encoded(formed(kind, fields))
        key = PREFIX + record_key(kind, f"{name}{number}")
        model.apply([(key, value)], 1, model.id.index + 1, at=NOW)

    put(
        "cluster",
        at=NOW,
        started_at=NOW - 5000,
        term=3,
        workers=workers,
        threads=4,
        threads_used=3,
        waiting=1234,
        failed=3,
        deadlines_missed=2,
        problem=name,
    )
    row = {"waiting": 3, "held": 2, "since": NOW - 9, "latest": NOW - 1, "failed": 2}
    put("class", name=name, **row)
    why = {"waits_for": name, "why": name, "needs": name, "tenant": name, "class": name}
    put("kind", waiting=3, due=NOW, since=NOW - 9, **why)
    for number in range(workers):
        put("worker", number, name=f"{name}{number}", threads=4, status="running")
        running = [{"key": f"{name}::{name}", "since": NOW - 3}]
        gpus = [{"util": 0.5, "memory": 2**30, "temperature": 60}] * (number == 0)
        warm = {"temperature": 51.4, "gpus": gpus}
        load = {"cpu": 2.5, "memory": 2**33, "processing": 3, "running": running}
        put("load", number, **load, **warm)
    put("worker", 9999, name="gone", status="lost", left_at=NOW - 20)
    put("run", run=name, suite=name, status=name, planned=9, counts={"passed": 4})
    put("failover", node=name, term=3, at=NOW - 60, without_leader_s=0.4)
    assert model.refused == 0
    return model


def shown(model: ReadModel, columns: int, rows: int, **seen: Any) -> list[str]:
    told = {"now": NOW, "age_s": 1.0, "per_s": 2.0, "trouble": ""} | seen
    found = alerts(model, NOW)
    one = Screen(model, "dtf://h1:8786,h2:8786", alerts=found, **told)
    return [line.plain for line in screen(one, columns, rows)]


@pytest.mark.parametrize("name", ["w", HOSTILE], ids=["plain", "hostile"])
@pytest.mark.parametrize("workers", [0, 1, 40])
def test_it_fits_every_terminal(name: str, workers: int) -> None:
    """No line is too long, there are not too many, and nothing moves the cursor."""
    model = busy(name, workers)
    for columns in (40, 61, 80, 100, 120, 200):
        for rows in (5, 12, 24, 60):
            fits(shown(model, columns, rows), columns, rows)


def fits(lines: list[str], columns: int, rows: int) -> None:
    assert len(lines) <= rows
    assert all(len(line) <= columns for line in lines)
    assert not re.search(r"[\x00-\x1f\x7f]", "".join(lines))
    assert "1 s old" in lines[0]


def test_what_matters_less_is_left_out_first() -> None:
    """On a large terminal all of it; on a small one workers, and what is wrong."""
    large = "\n".join(shown(busy("w", 5), 120, 60))
    for title in ("RUN", "CLASS", "WAITING", "WORKER", "TERM"):
        assert f"\n{title}" in large.replace("   TERM", "TERM")
    assert "2.5 of 4" in large
    assert "  50%  " in large
    assert "50% 1 GiB 60°C  51°C" in "\n".join(shown(busy("w", 5), 160, 60))
    assert re.search(r"CLASS +WAITING +HELD .*\nw +3 +2 ", large)
    small = "\n".join(shown(busy("w", 5), 80, 16))
    assert "\nWORKER" in small
    assert "TERM  LED" not in small
    assert "cannot meet its deadline" in small
    assert "more" in small


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ({"age_s": 45.0}, "45 s old"),
        ({"age_s": 3.0, "trouble": "no answer"}, "no answer"),
        ({"per_s": None}, "1,234 waiting"),
    ],
)
def test_how_old_it_is_is_always_said(seen: dict[str, Any], words: str) -> None:
    """Data that is old, or no longer comes, is not shown as if it was new."""
    text = "\n".join(shown(busy("w", 1), 80, 24, **seen))
    assert words in text
    assert "old" in text


def test_nothing_seen_says_so() -> None:
    """Before the first record there is nothing to draw, and no failure."""
    assert "nothing seen yet" in shown(ReadModel(), 80, 24)[0]


def held(until: Path) -> None:
    ends = time.monotonic() + 60
    while not until.exists() and time.monotonic() < ends:
        time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=1, processes=False, protocol="tcp://", dashboard_address=None
    ) as made:
        yield made


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["top", *argv])
    out, err = capsys.readouterr()
    code = ended.value.code
    assert isinstance(code, int)
    return code, out, err


def test_once_and_json(
    cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shown once, whole in a pipe; and as one JSON object with all records."""
    address = cluster.scheduler_address
    code, out, err = run(capsys, "--once", address)
    assert (code, err) == (0, "")
    assert "1 worker " in out
    assert "\nWORKER" in out
    code, out, err = run(capsys, "--json", address)
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["records"]["cluster"]["workers"] == 1
    assert told["age_s"] < 60
    assert told["alerts"] == []


def test_who_does_not_answer_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No address, nobody there, a scheduler not of dtf: one line and a code."""
    code, out, err = run(capsys, "--once")
    assert (code, out) == (4, "")
    assert "which scheduler" in err
    # Nobody comes, however long it is waited; who is there may be slow.
    monkeypatch.setattr(view_link, "ANSWER_S", 0.5)
    code, out, err = run(capsys, "tcp://127.0.0.1:9")
    assert out == ""
    assert code not in (0, 1, 2)
    assert err.startswith("dtf: no scheduler answers at tcp://127.0.0.1:9: ")
    assert len(err.splitlines()) == 1
    monkeypatch.setattr(view_link, "ANSWER_S", 60.0)
    with distributed.LocalCluster(
        n_workers=0, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0"
    ) as plain:
        code, out, err = run(capsys, plain.scheduler_address)
    assert out == ""
    assert "does not tell what is to be seen" in err


_MAIN = "from dtf_dask.cli.main import main; main()"


@contextmanager
def terminal(*argv: str, columns: int, rows: int) -> Iterator[Any]:
    """A command in a terminal of its own; what it drew, and its process."""
    ours, theirs = pty.openpty()
    os.environ.pop("COLUMNS", None)
    resize(theirs, columns, rows)
    process = subprocess.Popen(
        [sys.executable, "-c", _MAIN, *argv],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(theirs)
    drawn = bytearray()

    def until(there: Callable[[str], bool], wait_s: float = 60.0) -> str:
        end = time.monotonic() + wait_s
        while time.monotonic() < end:
            text = drawn.decode("utf-8", "replace")
            if there(text):
                return text
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    drawn.extend(os.read(ours, 65536))
                except OSError:
                    break
        text = drawn.decode("utf-8", "replace")
        assert there(text), text[-2000:]
        return text

    try:
        yield process, until, drawn, ours
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        os.close(ours)


def resize(descriptor: int, columns: int, rows: int) -> None:
    import fcntl
    import struct
    import termios

    size = struct.pack("HHHH", rows, columns, 0, 0)
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, size)


def test_it_is_live_and_ctrl_c_ends_it(cluster: LocalCluster, tmp_path: Path) -> None:
    """In a terminal it draws anew, heeds its size, and leaves nothing behind."""
    address = cluster.scheduler_address
    with (
        distributed.Client(cluster) as client,
        terminal("top", address, columns=120, rows=40) as (process, until, drawn, ours),
    ):
        until(lambda text: "WORKER" in text and "NETWORK" in text)
        future = client.submit(held, tmp_path / "over", key="a-long-one")
        until(lambda text: "1 running" in text)
        drawn.clear()
        resize(ours, 80, 24)
        os.killpg(process.pid, signal.SIGWINCH)
        # One may be under way that began before.
        until(lambda text: text.count("dtf top") >= 3)
        drawn.clear()
        # A screen of 80 columns has no room for the network.
        text = until(lambda text: text.count("dtf top") >= 2)
        assert "NETWORK" not in text
        os.killpg(process.pid, signal.SIGINT)
        until(lambda text: "\x1b[?1049l" in text)  # the screen of before
        assert process.wait(30) == 0
        assert process.stderr.read() == b""
        (tmp_path / "over").touch()
        future.result(30)


def test_it_goes_on_after_a_failover(tmp_path: Path) -> None:
    """The next scheduler at the address is read anew; meanwhile all of it grows old."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "standby"))
    from one_node import leading, with_ledger

    async def check(ledger: Any, port: int) -> None:
        async with leading(ledger, port) as leader:
            link = ViewLink(leader.address)
            while link.model.get("cluster") is None:
                await link.ask()
            first = link.model.get("cluster")
        while not link.trouble:
            try:
                async with asyncio.timeout(1):
                    await link.ask()
            except Exception:
                break
        assert link.model.get("cluster") == first
        async with leading(ledger, port):
            while link.model.get("cluster") == first or link.trouble:
                try:
                    await link.ask()
                except Exception:
                    await asyncio.sleep(0.1)
            assert link.age_s < 30
            await link.close()

    with_ledger(tmp_path, check)

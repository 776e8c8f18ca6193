"""Events read at real coordinators, whose leader and web processes are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import view_writer
from following import WAIT_S, Told, asked, following, until

from dtf_dask.cli.dev import _webs
from dtf_dask.cli.free_ports import free_ports
from dtf_dask.cli.ha_prepare import make_coordinators
from dtf_dask.ha.coordinators import numbered
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.node_config import NodeConfig
from dtf_dask.ha.remote_ledger import RemoteLedger

CODE = f"""
import sys
from functools import partial
from dtf_dask.ha import node_process, scheduler_process, web_link, web_process
link = web_link.WebLinkOptions(ping_s=0.2, hang_s=3.0)
web_process.WebOptions = partial(web_process.WebOptions, pause_s=0.1, link=link)
scheduler_process.COMMAND = (sys.executable, {view_writer.__file__!r})
sys.exit(node_process.main(sys.argv[1:]))
"""


def made(folder: Path, count: int) -> list[NodeConfig]:
    """Folders of coordinators that serve, on ports that are free."""
    ports = dict(zip("abc", free_ports(count), strict=False))
    places = {name: ("127.0.0.1", port) for name, port in ports.items()}
    configs = make_coordinators(folder, "lab", numbered(places), {})
    found = []
    for config, web in zip(configs, _webs(("127.0.0.1", 0), count), strict=True):
        found.append(replace(config, web=web))
        found[-1].write()
    return found


@contextmanager
def running(config: NodeConfig) -> Iterator[subprocess.Popen[bytes]]:
    """A coordinator's process."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(config.folder), "--supervised"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert b"ready" in process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def answered(address: Address, path: str) -> dict[str, Any] | None:
    """What is said there; None if nobody serves."""
    try:
        answer = asked(address, path)
    except OSError:
        return None
    return answer.json if answer.status == 200 else None


def web_process_of(process: subprocess.Popen[bytes]) -> psutil.Process:
    """That of a node."""
    (found,) = [
        one
        for one in psutil.Process(process.pid).children()
        if "dtf_dask.web.process" in one.cmdline()
    ]
    return found


def place(config: NodeConfig) -> Address:
    assert config.web is not None
    return config.web


def led(configs: list[NodeConfig]) -> int | None:
    """Which of them leads, once all that live say the same."""
    told = [answered(place(one), "/coordinators") for one in configs]
    leaders = {one["leader"] if one else None for one in told}
    (leader,) = leaders if len(leaders) == 1 else {None}
    return leader if leader in {one.node for one in configs} else None


Number = tuple[int, int]


def number(key: str) -> Number:
    """A record of `view_writer`: its term, and which one it is."""
    term, _, count = key.removeprefix("action/").partition("-")
    return int(term), int(count)


def numbers(events: list[Told]) -> list[Number]:
    """The records of `view_writer` that were put by changes, in order."""
    return [
        one
        for event in events
        if event.name == "changes"
        for one in of_writer(event.json["put"])
    ]


def of_writer(keys: Iterable[str]) -> list[Number]:
    """Those of its records; others say where nodes serve."""
    return [number(key) for key in keys if key.startswith("action/")]


def read(events: Iterator[Told], count: int) -> list[Told]:
    """Changes, so many; what else is told in between is no part of them."""
    found: list[Told] = []
    while len(numbers(found)) < count:
        found.append(next(events))
        assert found[-1].name in ("changes", "coordinators"), found[-1]
    return [one for one in found if one.name == "changes"]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[list[NodeConfig], dict[int, Any]]]:
    """Three coordinators of which one leads, and their processes."""
    configs = made(tmp_path, 3)
    with ExitStack() as stack:
        processes = {one.node: stack.enter_context(running(one)) for one in configs}
        until(lambda: led(configs))
        yield configs, processes


def test_readers_go_on_at_another_node_when_the_leader_dies(
    cluster: tuple[list[NodeConfig], dict[int, Any]],
) -> None:
    """Who reads at a follower hears of the next leader's changes without a gap; who
    goes on at a third node hears what came after what he heard last, each once."""
    configs, processes = cluster
    leader = until(lambda: led(configs))
    one, other = [config for config in configs if config.node != leader]
    with following(place(one)) as events:
        first = next(events)
        assert first.name == "snapshot"
        heard = read(events, 10)
        processes[leader].kill()
        # What the dead leader had under way, and then what its successor does.
        term, _ = numbers(heard)[-1]
        while numbers(heard)[-1][0] == term:
            heard += read(events, 1)
        heard += read(events, 5)
    with following(place(other), heard[-1].id) as events:
        heard += read(events, 10)
    seen = numbers(heard)
    assert len(set(seen)) == len(seen)
    assert len({term for term, _ in seen}) == 2
    # The first is that after what was there, and each is followed by the next, up to
    # the last that the dead leader has in the ledger; and then from its successor's.
    before = [n for led, n in of_writer(first.json["records"]) if led == term]
    old = [n for led, n in seen if led == term]
    assert old[0] == max(before, default=0) + 1
    snapshot = until(lambda: answered(place(one), "/snapshot"))
    last = max(n for led, n in of_writer(snapshot["records"]) if led == term)
    assert old == [*range(old[0], last + 1)]
    new = [n for led, n in seen if led != term]
    assert new == [*range(1, len(new) + 1)]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_web_process_that_ends_or_hangs_is_replaced(
    tmp_path: Path, how: signal.Signals
) -> None:
    """Its node leads on, and the next one serves at the same place; who reads on there
    is told all anew, or what changed."""
    (config,) = made(tmp_path, 1)
    with running(config) as process:
        until(lambda: led([config]))
        term = asked(place(config), "/coordinators").json["term"]
        web = web_process_of(process)
        with following(place(config)) as events:
            next(events)
            last = read(events, 3)[-1]
        os.kill(web.pid, how)
        assert psutil.wait_procs([web], WAIT_S)[1] == []
        told = until(lambda: answered(place(config), "/coordinators"))
        assert told["term"] == term
        with following(place(config), last.id) as events:
            name = next(events).name
            assert name in ("changes", "reset")
            if name == "reset":
                records = next(events).json["records"]
                assert set(last.json["put"]) <= set(records)
            read(events, 3)
        web = web_process_of(process)
    # It ends with its node, however that ends.
    assert psutil.wait_procs([web], WAIT_S)[1] == []


def test_a_place_that_is_taken_is_said_and_tried_again(tmp_path: Path) -> None:
    """The node leads all the same; its status has the reason, and when the place is
    free, somebody serves there."""
    (config,) = made(tmp_path, 1)

    def web() -> dict[str, Any]:
        return dict(status(config)["web"])

    with socket.create_server(place(config)) as taken, running(config):
        until(lambda: web()["crashes"] > 0)
        assert "it cannot serve: 127.0.0.1" in web()["last_end"]
        assert web()["role"] in ("starting", "pausing")
        taken.close()
        until(lambda: led([config]))
        assert web()["role"] == "serves"


def status(config: NodeConfig) -> dict[str, Any]:
    """What a node says of itself."""
    clients = {int(node): one for node, one in config.clients.items()}

    async def ask() -> dict[str, Any]:
        async with RemoteLedger(clients, config.security()) as ledger:
            return dict(await ledger.status(config.node))

    return asyncio.run(ask())

"""Processes of nodes with scheduler processes beside them, ended in every way."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import made_up_scheduler
import pytest
from serving_room import free_addresses

from dtf_dask.cli.ha_prepare import make_coordinators
from dtf_dask.errors import PeerUnavailableError
from dtf_dask.ha.coordinators import Coordinators
from dtf_dask.ha.node_config import NodeConfig
from dtf_dask.ha.node_options import NodeOptions
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.ha.remote_ledger import RemoteLedger

WAIT_S = 60.0
CODE = f"""
import sys
from dtf_dask.ha import handshake, node_process, scheduler_process
handshake.PROTOCOL_VERSION = int(sys.argv.pop())
scheduler_process.COMMAND = (sys.executable, {made_up_scheduler.__file__!r})
sys.exit(node_process.main(sys.argv[1:]))
"""


def made(folder: Path, count: int) -> list[NodeConfig]:
    """Folders of coordinators, on ports that are free."""
    nodes = [NodeId(n + 1) for n in range(count)]
    found = iter(free_addresses(3 * count))
    names, *places = (
        dict(zip(nodes, "abc", strict=False)),
        *({node: next(found) for node in nodes} for _ in range(3)),
    )
    scheduler = {"preload": [str(folder)]}
    return make_coordinators(folder, "lab", Coordinators(names, *places), scheduler)


@contextmanager
def running(config: NodeConfig, version: int = 1) -> Iterator[subprocess.Popen[str]]:
    """A node's process that takes part, of a version of the protocol between nodes."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(config.folder), "--supervised", str(version)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert "ready" in json.loads(process.stdout.readline())
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


class Watch:
    """Looks at coordinators, as a client of their ledger."""

    def __init__(self, configs: Sequence[NodeConfig]) -> None:
        self._configs = configs
        clients = {int(node): one for node, one in configs[0].clients.items()}
        self.ledger = RemoteLedger(clients, configs[0].security())

    async def schedulers(self) -> dict[str, dict[str, Any]]:
        """How the scheduler of each node that answers stands."""
        found = {}
        for config in self._configs:
            try:
                told = await self.ledger.status(config.node)
            except PeerUnavailableError:
                continue
            found[config.names[config.node]] = told["scheduler"]
        return found

    async def until_led(self, count: int) -> tuple[str, dict[str, Any]]:
        """Who leads, once he does and all others of so many are shadows."""
        while True:
            found = await self.schedulers()
            led = [
                name
                for name, one in found.items()
                if one["role"] == "leads" and one["settled_after_s"] >= 0
            ]
            rest = {one["role"] for name, one in found.items() if name not in led}
            if len(led) == 1 and len(found) == count and rest <= {"shadow"}:
                return led[0], found[led[0]]
            await asyncio.sleep(0.05)


def watched(
    configs: Sequence[NodeConfig], test: Callable[[Watch], Awaitable[None]]
) -> None:
    """Run a test that looks at coordinators."""

    async def run() -> None:
        watch = Watch(configs)
        async with asyncio.timeout(3 * WAIT_S), watch.ledger:
            await test(watch)

    asyncio.run(run())


def until_gone(pid: int) -> None:
    """Wait until a process that is no child of this one has ended."""
    ends = time.monotonic() + WAIT_S
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        # Whoever adopts it may be slow to reap it.
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        assert time.monotonic() < ends, pid
        time.sleep(0.02)


@pytest.mark.parametrize("how", ["kill", "term", "input"])
def test_a_scheduler_ends_with_its_node_however_that_ends(
    tmp_path: Path, how: str
) -> None:
    """By kill -9, by SIGTERM, or since who started it is gone; the next one leads in
    another term."""
    configs = made(tmp_path, 1)

    async def test(watch: Watch) -> None:
        with running(configs[0]) as process:
            _, told = await watch.until_led(1)
            if how == "kill":
                process.kill()
            elif how == "term":
                process.send_signal(signal.SIGTERM)
            else:
                assert process.stdin is not None
                process.stdin.close()
            code = await asyncio.to_thread(process.wait, WAIT_S)
            assert code == (-signal.SIGKILL if how == "kill" else 0)
            until_gone(told["pid"])
        with running(configs[0]):
            _, again = await watch.until_led(1)
            assert again["term"] > told["term"]

    watched(configs, test)


def test_who_ends_hands_over_and_who_is_killed_is_noticed(tmp_path: Path) -> None:
    """SIGTERM has another lead first, so that nobody has to notice the end; of one that
    is killed, or hangs, it is known how long there was no leader."""
    configs = made(tmp_path, 3)
    by_name = {one.names[one.node]: one for one in configs}

    async def test(watch: Watch) -> None:
        with ExitStack() as stack:
            processes = {
                name: stack.enter_context(running(config))
                for name, config in by_name.items()
            }
            first, told = await watch.until_led(3)
            processes[first].send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(processes[first].wait, WAIT_S) == 0
            until_gone(told["pid"])
            second, after = await watch.until_led(2)
            assert after["term"] > told["term"]
            processes[first] = stack.enter_context(running(by_name[first]))
            assert (await watch.until_led(3))[0] == second
            processes[second].kill()
            processes[second].wait()
            until_gone(after["pid"])
            _, last = await watch.until_led(2)
            assert last["term"] > after["term"]
            assert last["without_leader_s"] > 0
            processes[second] = stack.enter_context(running(by_name[second]))
            third, _ = await watch.until_led(3)
            processes[third].send_signal(signal.SIGSTOP)
            _, last = await watch.until_led(2)
            # Its connections stood: nobody could know before it had been silent.
            options = NodeOptions()
            silent_s = options.election_ticks * options.tick_s
            assert last["without_leader_s"] >= 0.9 * silent_s

    watched(configs, test)


@pytest.mark.drill
def test_nodes_are_upgraded_one_after_the_other(tmp_path: Path) -> None:
    """A node that speaks a newer version speaks the older one with those that know no
    other: at every step all of them take part, and one leads."""
    configs = made(tmp_path, 3)

    async def test(watch: Watch) -> None:
        with ExitStack() as stack:
            processes = [stack.enter_context(running(one, 1)) for one in configs]
            _, told = await watch.until_led(3)
            for process, config in zip(processes, configs, strict=True):
                process.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(process.wait, WAIT_S) == 0
                stack.enter_context(running(config, 2))
                await watch.until_led(3)
            _, last = await watch.until_led(3)
            assert last["term"] > told["term"]

    watched(configs, test)

"""Who led, and was stopped: nobody is told anything by it any more."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Variable
from stage import Coordinator, Stage

from dtf_dask import Client

_GONE_S = 30.0
"""That is 3.3 s where nothing else runs."""

SAID = ("The scheduler of term .* is gone without a word", "What is submitted waits")
"""By clients, perhaps: while who leads has no other coordinator beside it yet."""


def slow(folder: str) -> float:
    """It leaves a line each time that it is begun."""
    with Path(folder, "begun").open("a") as file:
        file.write("begun\n")
    ends = time.monotonic() + 60
    while not Path(folder, "go on").exists() and time.monotonic() < ends:
        time.sleep(0.02)
    return 1.5


def scheduler_of(one: Coordinator) -> psutil.Process:
    """The process of a coordinator's scheduler."""
    (found,) = (
        process
        for process in one.processes()
        if "dtf_dask.standby.process" in process.cmdline()
    )
    return found


async def other_leads(stage: Stage, than: Coordinator) -> Coordinator:
    while (found := await stage.made.leader()) is than:
        await asyncio.sleep(0.05)
    return found


async def gone(process: psutil.Process) -> float:
    """How long it took until a process had ended."""
    began = time.monotonic()
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < began + _GONE_S, "it leads on"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


def connected(stage: Stage) -> Any:
    return Client(stage.made.contact, asynchronous=True, set_as_default=False)


@pytest.mark.logs(*SAID)
def test_a_scheduler_ends_itself_when_its_node_is_silent(stage: Stage) -> None:
    """Its node is stopped, and another leads: it says nothing to anybody any more,
    though nobody is there to kill it; that is no crash."""

    async def check() -> None:
        made = stage.made
        async with connected(stage) as client:
            await client.wait_for_workers(1, timeout=60)
            leader = await made.leader()
            old = scheduler_of(leader)
            leader.signal_node(signal.SIGSTOP)
            try:
                await other_leads(stage, leader)
                await gone(old)
                assert await client.submit(sum, [1, 2]) == 3
            finally:
                leader.signal_node(signal.SIGCONT)
            said = {"pid": old.pid}
            while said["pid"] in (0, old.pid):
                await asyncio.sleep(0.05)
                standing = await made.standing()
                said = standing.get(leader.node, {}).get("scheduler", said)
            assert (said["crashes"], said["alarm"]) == (0, "")

    stage.do(check())


@pytest.mark.logs(*SAID)
def test_nothing_counts_that_a_leader_does_who_wakes_up(
    stage: Stage, tmp_path: Path
) -> None:
    """Both its processes were stopped, and run again: what runs is run once, a value
    that was set meanwhile is what everybody reads, by old connections too, and it ends.
    """

    async def check() -> None:
        made = stage.made
        async with connected(stage) as client, connected(stage) as reader:
            await client.wait_for_workers(1, timeout=60)
            value, seen = Variable("v", client), Variable("v", reader)
            await value.set("before")
            assert await seen.get() == "before"
            running = client.submit(slow, str(tmp_path))
            while not (tmp_path / "begun").exists():
                await asyncio.sleep(0.02)
            leader = await made.leader()
            old = scheduler_of(leader)
            leader.signal(signal.SIGSTOP)
            try:
                await other_leads(stage, leader)
                await value.set("after")
                asked = asyncio.ensure_future(seen.get())
                await asyncio.sleep(3.5)
            finally:
                for process in (old, psutil.Process(leader.process.pid)):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.resume()
            reads = [await seen.get() for _ in range(20)]
            assert {*reads, await asked} == {"after"}
            await gone(old)
            (tmp_path / "go on").touch()
            assert await running == 1.5
            assert (tmp_path / "begun").read_text() == "begun\n"

    stage.do(check())

"""The plugin in real workers: what the scheduler knows of them, and when."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import dask.config
import distributed
import pytest
from fake_nvml import LOST, Card, FakeNvml
from machine_pace import cpu_slowness

from dtf_dask.scheduler_plugins.adapter.figures import load_of
from dtf_dask.view.records import formed
from dtf_dask.worker_plugins import dask_seam
from dtf_dask.worker_plugins.hardware import telemetry
from dtf_dask.worker_plugins.hardware.advert import settings_in_force, steady
from dtf_dask.worker_plugins.hardware.gpu import GpuProbe
from dtf_dask.worker_plugins.hardware.gpu_memory import GpuMemory
from dtf_dask.worker_plugins.hardware.plugin import EXTRA, HardwarePlugin
from dtf_dask.worker_plugins.hardware.telemetry import METRIC, Telemetry
from dtf_dask.worker_plugins.hardware.topic import TOPIC

QUIET: dict[str, Any] = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
WAIT_S = 60.0


class Settable:
    """A probe whose facts a test sets; it can be made to hang."""

    name = "settable"

    def __init__(self, **facts: Any) -> None:
        self.now = {name.replace("__", "."): value for name, value in facts.items()}
        self.gate = threading.Event()
        self.gate.set()

    def facts(self) -> Mapping[str, Any]:
        self.gate.wait(WAIT_S)
        return dict(self.now)


@asynccontextmanager
async def started(
    plugin: HardwarePlugin, protocol: str = "tcp", **options: Any
) -> AsyncIterator[tuple[distributed.Scheduler, distributed.Worker]]:
    """A scheduler, and a worker with the plugin."""
    options = {"memory_limit": 0, **QUIET, **options}
    where = {} if protocol == "inproc" else {"host": "127.0.0.1", "port": 0}
    async with (
        distributed.Scheduler(protocol=protocol, **where, **QUIET) as scheduler,
        distributed.Worker(scheduler.address, plugins=(plugin,), **options) as worker,
    ):
        yield scheduler, worker


def at_registration(scheduler: distributed.Scheduler) -> dict[str, Any]:
    (state,) = scheduler.workers.values()
    advert: dict[str, Any] = state.extra[EXTRA]
    return advert


async def events(scheduler: distributed.Scheduler, count: int) -> list[dict[str, Any]]:
    """The later adverts, as soon as there are so many."""
    async with asyncio.timeout(WAIT_S):
        while len(scheduler.get_events(TOPIC)) < count:
            await asyncio.sleep(0.01)
    return [event for _, event in scheduler.get_events(TOPIC)]


async def ask(worker: distributed.Worker) -> dict[str, Any]:
    async with distributed.core.rpc(worker.address) as remote:
        advert: dict[str, Any] = await asyncio.wait_for(remote.dtf_probe(), WAIT_S)
    return advert


def no_gpu() -> GpuProbe:
    return GpuProbe(lambda: None)


@pytest.mark.parametrize("protocol", ["tcp", "inproc"])
def test_the_scheduler_knows_a_worker_when_it_comes(protocol: str) -> None:
    """The advert is there with the registration, before any task can be given."""

    async def run() -> None:
        configured = {
            "dtf.hardware.labels": {"board": "rpi4"},
            "dtf.hardware.accept": "class == 'nightly'",
            "dtf.hardware.tokens": {"simulator": 2},
        }
        with dask.config.set(configured):
            plugin = HardwarePlugin()
            async with started(plugin, protocol, resources={"FOO": 2.5}) as (s, w):
                advert = at_registration(s)
                facts = advert["facts"]
                assert facts["label.board"] == "rpi4"
                assert facts["resource.FOO"] == 2.5
                assert facts["os.name"] == "linux"
                assert advert["accept"] == "class == 'nightly'"
                assert advert["tokens"] == {"simulator": 2}
                assert advert["version"] == 1
                assert not advert["problems"]
                assert dask_seam.broken(w) == ()

    asyncio.run(run())


def test_the_memory_is_what_dask_lets_the_worker_have() -> None:
    """A limit of the worker's own counts, if it is the least."""

    async def run() -> None:
        async with started(HardwarePlugin(), memory_limit="64 MiB") as (s, _):
            assert at_registration(s)["facts"]["memory"] == 64 * 2**20

    asyncio.run(run())


def test_changes_are_sent_and_nothing_else() -> None:
    """On demand or by itself it looks again; the same advert is sent once."""

    async def run() -> None:
        probe = Settable(host="one", disk__free=10**9)
        with dask.config.set({"dtf.hardware.interval": "1s"}):
            async with started(HardwarePlugin((probe,), no_gpu())) as (s, w):
                assert at_registration(s)["facts"]["host"] == "one"
                await asyncio.sleep(0.3)
                assert (await ask(w))["facts"]["host"] == "one"
                probe.now |= {"host": "two", "disk.free": 10**9 - 10**7}
                await asyncio.sleep(0.3)
                assert (await ask(w))["facts"]["host"] == "two"
                (told,) = await events(s, 1)
                assert told["facts"] == {
                    **at_registration(s)["facts"],
                    "host": "two",
                }
                assert told["worker"] == w.address
                probe.now["host"] = "three"
                told = (await events(s, 2))[1]
                assert told["facts"]["host"] == "three"

    asyncio.run(run())


def test_a_gpu_that_is_lost_is_said_to_be() -> None:
    """The scheduler hears of it as lost, and the facts count it no more."""

    async def run() -> None:
        cards = [Card("GPU-a"), Card("GPU-b")]
        nvml = FakeNvml(cards)
        plugin = HardwarePlugin((), GpuProbe(lambda: nvml, {}))
        async with started(plugin) as (s, w):
            assert at_registration(s)["facts"]["gpu.count"] == 2
            await asyncio.sleep(0.3)
            cards[0].error = LOST
            await ask(w)
            (told,) = await events(s, 1)
            assert told["facts"]["gpu.count"] == 1
            assert [gpu["state"] for gpu in told["gpus"]] == ["lost", "ok"]

    asyncio.run(run())


@pytest.mark.logs("How busy some GPU is cannot be seen.*NVML error 15")
def test_how_busy_and_warm_it_is_goes_with_heartbeats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a GPU does not say is not known; one that fails is asked seldom, said once.

    Once it is said to be lost, and not to be asked at all, the others go on.
    """

    async def run() -> None:
        cards = [Card("GPU-a", held={1: 2**30}), Card("GPU-b", memory=None)]
        nvml = FakeNvml(cards)
        probe = GpuProbe(lambda: nvml, {})
        monkeypatch.setattr(telemetry, "ASKED_S", 0.1)
        sensors = {"acpitz": [20.0], "coretemp": [50.0, 61.26]}
        shaped = {
            name: [SimpleNamespace(current=one) for one in found]
            for name, found in sensors.items()
        }
        plugin = HardwarePlugin((), probe, Telemetry(probe, lambda: shaped))
        async with started(plugin) as (s, w):

            async def seen(wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
                async with asyncio.timeout(WAIT_S):
                    while True:
                        (state,) = s.workers.values()
                        load = formed("load", load_of(state.metrics, 1.0))
                        if load["gpus"] and wanted(load):
                            return load
                        await asyncio.sleep(0.05)

            load = await seen(lambda load: True)
            assert load["temperature"] == 61.3
            first, second = load["gpus"]
            assert first == {
                "id": "GPU-a",
                "name": "0: NVIDIA H100 80GB HBM3",
                "util": 0.75,
                "memory": 2**30,
                "memory_total": 80 * 2**30,
                "temperature": 40,
            }
            assert (second["util"], second["memory"]) == (0.75, None)
            cards[0].error = LOST
            load = await seen(lambda load: load["gpus"][0]["util"] is None)
            assert load["gpus"][0]["temperature"] is None
            assert load["gpus"][1] == second
            await ask(w)
            cards[1].busy = 10
            await seen(lambda load: load["gpus"][1]["util"] == 0.1)

    asyncio.run(run())


def test_where_there_is_nothing_to_ask_nobody_is_asked() -> None:
    """No GPU, and no sensor: that is found out once, and costs no thread again."""
    asked = []

    def none() -> dict[str, Any]:
        asked.append(threading.get_ident())
        return {}

    clock = itertools.count(0.0, 1_000.0)
    made = Telemetry(no_gpu(), none, lambda: next(clock))
    for _ in range(3):
        assert made.metric().keys() <= {"below"}  # of processes of other tests
        while any(one.name == METRIC for one in threading.enumerate()):
            time.sleep(0.01)
    assert len(asked) == 1
    assert asked[0] != threading.get_ident()


def test_the_most_memory_of_processes_is_that_of_all_they_started() -> None:
    """On all GPUs together, since it was asked last; what is not watched is not seen.

    Where there is no GPU nobody is asked again.
    """
    with subprocess.Popen(["sleep", "60"]) as child:
        here, there = os.getpid(), child.pid
        cards = [
            Card("GPU-a", held={there: 5, here: 2, 1: 100}),
            Card("GPU-b", held={there: 3}),
        ]
        memory = GpuMemory(lambda: GpuProbe(lambda: FakeNvml(cards), {}))
        memory.watch(here)
        try:
            most = 0
            while not most:
                time.sleep(0.01)
                most = memory.taken(here)
            assert most == 10
            assert memory.taken(there) == 0
        finally:
            memory.leave(here)
            child.kill()
    asked = []
    none = GpuMemory(lambda: GpuProbe(lambda: asked.append(1), {}))  # type: ignore[func-returns-value]
    for _ in range(2):
        none.watch(here)
        while any(one.name == "dtf-gpu-memory" for one in threading.enumerate()):
            time.sleep(0.01)
    assert asked == [1]


def test_a_driver_that_hangs_loses_its_gpus() -> None:
    """No answer in time is no answer: the last values are not shown again."""

    async def run() -> None:
        gate = threading.Event()
        gate.set()
        nvml = FakeNvml([Card("GPU-a")])
        count = nvml.nvmlDeviceGetCount
        nvml.nvmlDeviceGetCount = lambda: count() if gate.wait(WAIT_S) else 0  # type: ignore[method-assign]
        plugin = HardwarePlugin((), GpuProbe(lambda: nvml, {}))
        with dask.config.set({"dtf.hardware.probe-timeout": "300ms"}):
            async with started(plugin) as (s, w):
                assert at_registration(s)["facts"]["gpu.count"] == 1
                await asyncio.sleep(0.3)
                gate.clear()
                advert = await ask(w)
                assert "gpu.count" not in advert["facts"]
                assert [gpu["state"] for gpu in advert["gpus"]] == ["lost"]
                assert list(advert["problems"]) == [
                    "probe gpu has not answered within 0.3 s"
                ]
                gate.set()
                await asyncio.sleep(0.3)
                assert (await ask(w))["facts"]["gpu.count"] == 1

    asyncio.run(run())


def test_a_worker_does_not_wait_for_a_slow_probe() -> None:
    """It starts with what is known; the rest is sent when it is."""

    async def run() -> None:
        probe = Settable(host="late")
        probe.gate.clear()
        began = time.monotonic()
        with dask.config.set({"dtf.hardware.probe-timeout": "1 min"}):
            async with started(HardwarePlugin((probe,), no_gpu())) as (s, _):
                assert time.monotonic() - began < 50
                assert "host" not in at_registration(s)["facts"]
                assert not at_registration(s)["problems"]
                probe.gate.set()
                (told,) = await events(s, 1)
                assert told["facts"]["host"] == "late"

    asyncio.run(run())


@pytest.mark.logs("hardware.accept: column 1")
def test_an_acceptance_that_nobody_can_read_is_sent_on() -> None:
    """The scheduler takes it for "nothing"; the worker says what is wrong."""

    async def run() -> None:
        with dask.config.set({"dtf.hardware.accept": "clas == 'x'"}):
            async with started(HardwarePlugin((), no_gpu())) as (s, _):
                advert = at_registration(s)
                assert advert["accept"] == "clas == 'x'"
                assert "hardware.accept: column 1" in advert["problems"][0]

    asyncio.run(run())


def test_a_mistake_in_the_configuration_is_told_and_not_fatal() -> None:
    """What can be read counts; what was to be accepted is never forgotten."""
    wrong = {"dtf.hardware.accept": ["x"], "dtf.hardware.labels": {"a": "b"}}
    with dask.config.set({**wrong, "dtf.hardware.interval": "never"}):
        settings, problems = settings_in_force()
    assert settings.accept == "['x']"
    assert settings.labels == {"a": "b"}
    assert settings.interval_s == 30
    assert "hardware.interval is 'never'" in problems[0]


@pytest.mark.logs("says nothing of its hardware: Dask has no Worker.startup_info")
def test_without_its_ground_the_plugin_leaves_the_worker_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another Dask: the worker works, and says that it says nothing."""
    missing = ("Worker.startup_information",)
    monkeypatch.setattr(dask_seam, "broken", lambda worker: missing)

    async def run() -> None:
        async with started(HardwarePlugin()) as (s, _):
            (state,) = s.workers.values()
            assert EXTRA not in state.extra

    asyncio.run(run())


def test_a_plugin_that_comes_later_tells_all_the_same() -> None:
    """Registered by a client, when the registration of the worker is over."""

    async def run() -> None:
        async with (
            distributed.Scheduler(host="127.0.0.1", port=0, **QUIET) as scheduler,
            distributed.Worker(scheduler.address, **QUIET) as worker,
            distributed.Client(scheduler.address, asynchronous=True) as client,
        ):
            await client.register_plugin(HardwarePlugin())
            told = (await events(scheduler, 1))[0]
            assert told["worker"] == worker.address
            assert told["facts"]["os.name"] == "linux"

    asyncio.run(run())


def test_the_loop_of_a_worker_stays_free() -> None:
    """What the plugin does at a worker's start costs its loop less than 20 ms."""

    async def run() -> None:
        costs = []
        for _ in range(3):
            async with distributed.Scheduler(protocol="inproc", **QUIET) as scheduler:
                for plugins in ((), (HardwarePlugin(),)):
                    before = time.thread_time()
                    worker = distributed.Worker(
                        scheduler.address, plugins=plugins, **QUIET
                    )
                    await worker
                    costs.append(time.thread_time() - before)
                    await worker.close()
        without, with_plugin = min(costs[::2]), min(costs[1::2])
        assert with_plugin - without < 0.02 * cpu_slowness()

    asyncio.run(run())


def test_sizes_that_hardly_change_do_not() -> None:
    """No value wanders while the true one stays within a tenth of it."""
    said = steady(10**11, 0)
    assert 0.8 * 10**11 <= said <= 10**11
    for free in range(int(said * 0.91), int(said * 1.24), 10**8):
        assert steady(free, said) == said
    assert steady(0, said) == 0
    assert steady(said // 2, said) <= said // 2

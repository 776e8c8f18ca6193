"""What is to be seen of a scheduler: true, bounded, cheap, and never in its way."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import dask
import pytest
from dask_room import advert, asked, room, run

from dtf_dask.scheduler_plugins.adapter import observed, observing
from dtf_dask.scheduler_plugins.adapter.figures import (
    is_lost,
    load_differs,
    load_of,
)
from dtf_dask.scheduler_plugins.adapter.observing import OP, Observer
from dtf_dask.view.read_model import ReadModel
from dtf_dask.view.records import formed

GATE = threading.Event()  # workers are in this process


class Looker:
    """Who asks a scheduler again and again."""

    def __init__(self, scheduler: Any) -> None:
        self.observer = Observer.install(scheduler)
        self.model = ReadModel()
        self.id = ""
        self.resets = 0

    def ask(self) -> dict[str, Any]:
        self.observer.look()
        told = self.observer.answer(self.id)
        life, number = map(int, told["id"].split(":"))
        if told["reset"]:
            self.resets += 1
            self.model.replace(told["changes"], life, number, told["at"])
        else:
            self.model.apply(told["changes"], life, number, told["at"])
        self.id = told["id"]
        assert self.model.refusal == ""
        assert told["trouble"] == ""
        return dict(self.model.records())

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [record for _, record in self.model.of_kind(kind)]


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def hold() -> None:
    assert GATE.wait(60)


def fail() -> None:
    raise ValueError("no")


def test_what_waits_runs_and_has_ended_is_seen() -> None:
    """Numbers of the cluster, of a class, of a kind; why a kind waits; who works."""

    async def check() -> None:
        told = advert({"os.name": "linux", "label.board": "rpi"})
        async with room(told, threads=1) as made:
            looker = Looker(made.scheduler)
            client = made.client
            GATE.clear()
            running = client.submit(hold, key="long")
            tasks = made.scheduler.tasks
            await made.until(
                lambda: "long" in tasks and tasks["long"].state == "processing"
            )
            waits = [client.submit(nap, 0.0, key=f"n{one}") for one in range(3)]
            engine = made.plugin.engine
            await made.until(lambda: engine.summary(0.0)["waiting"] == 3)
            looker.ask()
            (cluster,) = looker.of("cluster")
            assert cluster["workers"] == cluster["threads"] == 1
            assert (cluster["waiting"], cluster["running"]) == (3, 1)
            assert cluster["tasks"] == {"no-worker": 3, "processing": 1}
            assert cluster["threads_used"] == 1
            (kind,) = looker.of("kind")
            assert (kind["waiting"], kind["waits_for"]) == (3, "room")
            assert cluster["at"] - 1 < kind["eta"] < cluster["at"] + 600
            assert cluster["at"] - 60 < kind["since"] <= cluster["at"] + 1
            normal = looker.model.get("class/normal")
            assert normal is not None
            assert (normal["waiting"], normal["running"], normal["ended"]) == (3, 1, 0)
            assert (normal["held"], cluster["held"]) == (0, 0)
            (worker,) = looker.of("worker")
            assert (worker["name"], worker["status"]) == ("w0", "running")
            assert worker["labels"] == ["board=rpi"]
            assert worker["facts"]["os.name"] == "linux"
            (load,) = looker.of("load")
            assert load["processing"] == 1
            GATE.set()
            await client.gather([running, *waits])
            bad = client.submit(fail)
            with pytest.raises(ValueError, match="no"):
                await bad
            looker.ask()
            (cluster,) = looker.of("cluster")
            assert (cluster["ended"], cluster["failed"]) == (5, 1)
            normal = looker.model.get("class/normal")
            assert normal is not None
            assert (normal["ended"], normal["failed"], normal["running"]) == (5, 1, 0)
            assert looker.of("kind") == []
            assert looker.resets == 1
            json.loads(looker.model.snapshot().json)

    run(check)


def test_why_a_kind_waits_is_said() -> None:
    """What no worker can run says so, and what would help."""

    async def check() -> None:
        async with room(advert({"os.name": "linux"})) as made:
            looker = Looker(made.scheduler)
            with dask.annotate(**asked("", hardware="os.name == 'plan9'")):
                future = made.client.submit(nap, 0.0)
            await made.until(lambda: looker.ask() and bool(looker.of("kind")))
            (kind,) = looker.of("kind")
            assert kind["waits_for"] == "a worker that can run it"
            assert "w0" in kind["why"]
            assert kind["eta"] is None
            assert kind["help"].startswith("start a worker with")
            del future

    run(check)


def test_workers_come_go_and_are_lost() -> None:
    """One that says goodbye has left; one whose connection breaks is lost."""

    async def check() -> None:
        async with room(None, None) as made:
            looker = Looker(made.scheduler)
            workers = made.scheduler.workers
            looker.ask()
            # Not yet, or already: who has just come is not paused.
            assert {one["shut"] for one in looker.of("worker")} == {""}
            await made.until(
                lambda: {one.status.name for one in workers.values()} == {"running"}
            )
            looker.ask()
            assert {one["status"] for one in looker.of("worker")} == {"running"}
            first, second = made.workers
            await first.close()
            for comm in list(made.scheduler.stream_comms.values()):
                comm.comm.abort()
            await made.until(lambda: not made.scheduler.workers)
            looker.ask()
            found = {one["name"]: one["status"] for one in looker.of("worker")}
            assert found == {"w0": "left", "w1": "lost"}
            assert looker.of("load") == []
            looker.observer._sight._forget_left(time.time() + observed.LOST_S + 1)
            looker.observer._looked_at = 0.0
            looker.ask()
            assert looker.of("worker") == []
            del second

    run(check)


@pytest.mark.logs("no longer to be seen")
def test_a_look_that_fails_harms_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, to the log and to who asks; tasks go on."""

    async def check() -> None:
        async with room(None) as made:
            observer = Observer.install(made.scheduler)
            monkeypatch.setattr(observed.Sight, "look", lambda *_: 1 / 0)
            observer.look()
            observer.look()
            assert "ZeroDivisionError" in made.scheduler.handlers[OP]()["trouble"]
            assert await made.client.submit(nap, 0.0) == 0.0

    run(check)
    said = [one for one in caplog.records if "no longer to be seen" in one.message]
    assert len(said) == 1
    caplog.clear()


def test_whoever_asks_oddly_gets_all() -> None:
    """An id of another life, of the future, or none at all is a reset."""

    async def check() -> None:
        async with room() as made:
            observer = Observer.install(made.scheduler)
            life = observer.answer()["id"].partition(":")[0]
            strange = ["", "1:2", "x", "9:" + "9" * 30, "1:-1", "²:²", 7, None]
            for since in [*strange, f"{life}:999999", f"{life}:", f"{life}:²"]:
                answer = observer.answer(since)  # type: ignore[arg-type]
                assert answer["reset"] is True, since
                assert answer["changes"], since
            assert observer.answer(answer["id"])["reset"] is False

    run(check)


def test_however_many_ask_it_looks_no_oftener(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Looks take their share of the scheduler's time, and no more, without a ledger,
    too; and a clock that is set back stops none."""
    monkeypatch.setattr(observing, "ASKED_S", 0.0)

    async def check() -> None:
        async with room() as made:
            clock = [2e9]
            observer = Observer(made.scheduler, wall=lambda: clock[0])
            monkeypatch.setattr(observing, "CPU_SHARE_MAX", 1e9)
            observer.answer()
            clock[0] = 1e9
            assert observer.answer()["at"] == 1e9
            monkeypatch.setattr(observing, "CPU_SHARE_MAX", 1e-9)
            told = [observer.answer() for _ in range(5)]
            assert observer.looks == 3
            assert told[0]["age_s"] < told[-1]["age_s"]

    run(check)


def test_a_worker_that_says_what_cannot_be_shown_hides_no_other() -> None:
    """A disk of half an exabyte, as file systems in a cloud have: it is shown that it
    is there, and why no more is; the next one is shown in full."""

    async def check() -> None:
        told = advert({"disk.total": 2**59}), advert({"disk.total": 2**40})
        async with room(*told) as made:
            looker = Looker(made.scheduler)
            workers = made.scheduler.workers
            await made.until(
                lambda: {one.status.name for one in workers.values()} == {"running"}
            )
            looker.ask()
            odd, plain = sorted(looker.of("worker"), key=lambda one: one["name"])
            assert (odd["name"], odd["status"], odd["facts"]) == ("w0", "running", {})
            assert "facts" in odd["problems"][0]
            assert plain["facts"]["disk.total"] == 2**40
            await made.workers[0].close()
            await made.until(lambda: len(workers) == 1)
            looker.ask()
            assert {one["status"] for one in looker.of("worker")} == {"left", "running"}

    run(check)


def test_metrics_of_workers_may_be_anything() -> None:
    """What is no number is not shown, and the rest is."""
    strange: dict[str, Any] = {
        "cpu": "fast",
        "memory": float("nan"),
        "spilled_bytes": 7,
        "host_disk_io": {"read_bps": -1, "write_bps": 10.4},
        "host_net_io": {"read_bps": True},
        "dtf_machine": {
            "temperature": "hot",
            "below": {"cpu": "much", "memory": -1},
            "gpus": [7, {"name": 1, "util": float("inf"), "memory": 5.5}],
        },
    }
    load = formed("load", load_of(strange, 1.0))
    assert load["cpu"] is None
    assert (load["memory"], load["spilled"]) == (0, 0)
    assert (load["disk_read_bps"], load["disk_write_bps"]) == (0, 10)
    assert load["temperature"] is None
    unknown = dict.fromkeys(("util", "memory_total", "temperature"))
    assert load["gpus"] == [{"id": "", "name": "1", "memory": 5} | unknown]
    of_dask = {"gpu_utilization": 50, "gpu_memory_used": 5, "dtf_machine": 3}
    (gpu,) = formed("load", load_of(of_dask, 1.0))["gpus"]
    assert (gpu["util"], gpu["memory"]) == (0.5, 5)
    tests = {"dtf_machine": {"below": {"cpu": 1.5, "memory": 100}}}
    load = formed("load", load_of({"cpu": 50.0, "memory": 10, **tests}, 1.0))
    assert (load["cpu"], load["memory"]) == (2.0, 110)


def test_a_little_more_or_less_is_no_news() -> None:
    """Loads are told when they differ by enough, when other tasks run, or are old."""

    def load(**fields: Any) -> dict[str, Any]:
        return formed("load", {"at": 10.0, "cpu": 2.0, "memory": 10**9} | fields)

    assert not load_differs(load(), load(at=20.0, cpu=2.05, memory=10**9 + 1000))
    assert load_differs(load(), load(at=41.0))
    assert load_differs(load(), load(cpu=3.0))
    assert load_differs(load(), load(memory=2 * 10**9))
    assert load_differs(load(), load(running=[{"key": "a"}]))
    assert load_differs(load(), load(net_in_bps=10**8))
    assert load_differs(load(), load(temperature=40.0))
    assert not load_differs(load(temperature=41.0), load(temperature=40.0))
    gpu = {"id": "a", "util": 0.5, "memory": 10**9, "temperature": 60}

    def with_gpu(**fields: Any) -> dict[str, Any]:
        return load(gpus=[gpu | fields])

    assert not load_differs(with_gpu(), with_gpu(util=0.52, memory=10**9 + 1))
    for other in ({"util": 0.6}, {"memory": None}, {"temperature": 70}, {"id": "b"}):
        assert load_differs(with_gpu(), with_gpu(**other))
    assert load_differs(with_gpu(), load())


def test_how_a_worker_went() -> None:
    """By the events about it: it said so, it was retired, or it is lost."""
    closing = {"action": "worker-status-change", "status": "closing_gracefully"}
    removed = {"action": "remove-worker", "expected": False}
    assert is_lost([])
    assert is_lost([(1.0, "odd"), (2.0, removed)])
    assert not is_lost([(1.0, closing), (2.0, removed)])
    assert not is_lost([(1.0, removed | {"expected": True})])

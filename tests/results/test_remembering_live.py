"""Schedulers as processes, killed and started anew: what they learned is there."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dask
import pytest

from dtf_dask.client import Client
from dtf_dask.cluster import LocalCluster
from dtf_dask.errors import DeadlineError
from dtf_dask.runs.results.store import ResultsStore

COMMAND = [sys.executable, "-c", "from dtf_dask.cli.main import main; main()"]
WAIT_S = 100.0


@contextlib.contextmanager
def dtf(*arguments: str, url: str, log: Path) -> Iterator[subprocess.Popen[str]]:
    """A dtf command that keeps what it learns at a URL; it is killed at the end."""
    variables = {
        **os.environ,
        "DASK_DTF__RESULTS__URL": url,
        "DASK_DTF__SCHEDULING__REMEMBER_INTERVAL": "1s",
    }
    with (
        log.open("ab") as file,
        subprocess.Popen(
            [*COMMAND, *arguments],
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            env=variables,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def cluster(
    url: str, folder: Path
) -> Iterator[tuple[subprocess.Popen[str], Client, str]]:
    """A scheduler of its own process, a worker, a client, and the address."""
    where = ("--port", "0", "--dashboard-address", "127.0.0.1:0")
    with dtf("scheduler", *where, url=url, log=folder / "scheduler.log") as scheduler:
        assert scheduler.stdout is not None
        address = scheduler.stdout.readline().strip().partition("=")[2]
        with (
            dtf(
                *("worker", address, "--no-nanny"),
                *("--local-directory", str(folder)),
                url=url,
                log=folder / "worker.log",
            ),
            Client(address) as client,  # type: ignore[no-untyped-call]
        ):
            client.wait_for_workers(1, timeout=WAIT_S)
            yield scheduler, client, address


def until(is_it: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not is_it():
        assert time.monotonic() < end
        time.sleep(0.05)


def memory(client: Client) -> dict[str, object]:
    """What the scheduler says of what it remembers."""
    answer = client.sync(client.scheduler.dtf_queue)  # type: ignore[no-untyped-call]
    return dict(answer["summary"]["memory"])


def kept_runs(url: str, name: str) -> list[float]:
    with ResultsStore.open(url) as store:
        rows = [row for page in store.remembered() for row in page]
    return [number for row in rows if row[:2] == ("runs", name) for number in row[3]]


def run_dtf(*arguments: str) -> str:
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, check=True, timeout=100
    )
    return done.stdout


@pytest.mark.parametrize(
    "url",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.drill)],
    indirect=True,
)
def test_a_scheduler_that_is_killed_leaves_what_it_learned(
    url: str, tmp_path: Path
) -> None:
    """After kill -9 the next one knows how long tasks take, and answers by it."""
    with cluster(url, tmp_path) as (scheduler, client, _):
        until(lambda: memory(client)["recalled"] == 0)
        with dask.annotate(dtf={"name": "train-resnet"}):
            client.submit(time.sleep, 1.2).result()
        until(lambda: len(kept_runs(url, "train-resnet")) == 1)
        client.close()  # type: ignore[no-untyped-call]
        scheduler.kill()
        scheduler.wait(WAIT_S)
    with cluster(url, tmp_path) as (_, client, address):
        until(lambda: int(str(memory(client)["recalled"] or 0)) >= 3)
        wish = {"name": "train-resnet", "deadline": 0.5}
        with dask.annotate(dtf={**wish, "on_late": "refuse"}):
            refused = client.submit(time.sleep, 0.2)
        with pytest.raises(DeadlineError, match="cannot meet"):
            refused.result()
        with dask.annotate(dtf=wish):
            late = client.submit(time.sleep, 0.1, key="late")
        late.result()
        said = run_dtf("explain", "late", "--address", address)
        assert "cannot meet: needs about 1." in said
    assert "Traceback" not in (tmp_path / "scheduler.log").read_text()


def test_a_scheduler_without_its_store_schedules_and_says_so(tmp_path: Path) -> None:
    """It starts, runs what is asked, tells `dtf queue`, and goes back by itself."""
    folder = tmp_path / "mount"
    folder.write_text("no folder")
    url = str(folder / "results.sqlite")
    said = "What is learned of tasks is not kept for now"
    log = tmp_path / "scheduler.log"
    with cluster(url, tmp_path) as (_, client, address):
        assert client.submit(sum, [1, 2]).result() == 3
        until(lambda: memory(client)["problem"] != "")
        assert said in " ".join(run_dtf("queue", "--address", address).split())
        folder.unlink()
        until(lambda: memory(client)["problem"] == "")
        assert said not in " ".join(run_dtf("queue", "--address", address).split())
        until(lambda: len(kept_runs(url, "sum")) == 1)
    text = log.read_text()
    assert text.count("is not kept for now") == 1
    assert text.count("is kept again") == 1


def test_a_cluster_that_closes_keeps_what_it_learned_last(tmp_path: Path) -> None:
    """Not only at each interval; and what was kept long ago makes an answer."""
    url = str(tmp_path / "results.sqlite")
    with ResultsStore.open(url) as store:
        store.remember([("runs", "train", "a pc", [2400.0] * 3, 9)], time.time())
    config = {"dtf.results.url": url, "dtf.scheduling.remember-interval": "1 h"}
    with (
        dask.config.set(config),
        LocalCluster(n_workers=1, processes=False, dashboard_address=None) as local,
        Client(local) as client,  # type: ignore[no-untyped-call]
    ):
        until(lambda: memory(client)["recalled"] == 1)
        with dask.annotate(dtf={"name": "train", "deadline": "10 min"}):
            late = client.submit(sum, [1, 2])
        assert late.result() == 3
        told = str(client.explain(late))
        assert "needs about 40 min, the deadline is in 10 min" in told
        assert client.submit(sum, [3, 4]).result() == 7
        assert kept_runs(url, "sum") == []
    assert len(kept_runs(url, "sum")) == 1
    assert len(kept_runs(url, "train")) == 4


@pytest.mark.parametrize(
    "config",
    [
        {"dtf.results.url": None},
        {"dtf.results.url": "x.sqlite", "dtf.scheduling.remember-interval": None},
    ],
)
def test_nothing_is_kept_unless_there_is_a_place_for_it(
    config: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a configured store, or with no interval, no file and no thread."""
    monkeypatch.chdir(tmp_path)
    with (
        dask.config.set(config),
        LocalCluster(n_workers=1, processes=False, dashboard_address=None) as local,
        Client(local) as client,  # type: ignore[no-untyped-call]
    ):
        assert client.submit(sum, [1, 2]).result() == 3
        answer = client.sync(client.scheduler.dtf_queue)  # type: ignore[no-untyped-call]
        assert "memory" not in answer["summary"]
    assert list(tmp_path.glob("*.sqlite*")) == []

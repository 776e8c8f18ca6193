"""What it costs to show what is to be seen: the web process of a node, and its API.

    python benchmarks/bench_web.py [--quick] [--json] [--part encoding|runs|web|pages]

A web process like that of a node is told of 1,000 workers with 100,000 tasks, and then
of a change of 150 records a second, which readers of its events and of its lists follow
over loopback. Its CPU is that of its process alone. What is encoded is timed in this
process, by the CPU that it takes, so that the machine's other work does not count:
``apply_ms`` is all that a change of 150 records costs, ``delta_ms`` the part of it that
encodes it, once for all readers; a snapshot is timed after a change, when all of it is
put together again.

Then a browser opens the pages of a real coordinator: how long until the first one has
data, and what 20 that are open cost its scheduler.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import psutil
import web_pages

from dtf_dask import frames
from dtf_dask.model import Attempt, CaseId, Outcome, Run, RunId
from dtf_dask.runs.results.pages import Pages
from dtf_dask.runs.results.store import ResultsStore
from dtf_dask.view import feed_words as words
from dtf_dask.view.read_model import ReadModel, as_json
from dtf_dask.view.records import PREFIX, encoded, formed, record_key
from dtf_dask.web import wire
from dtf_dask.web.paths import BASE

HOST = "127.0.0.1"
WORKERS, KINDS, RUNS, TASKS = 1_000, 200, 500, 100_000
CHANGED = 150
READERS = 200
CONNECTIONS = 4
GOING_ON, CASES = 8, 5_000
READS = ("/cluster", "/workers?limit=100", "/queue", "/runs", "/live-runs")


@dataclass(frozen=True, slots=True)
class Size:
    """How often, and how long in seconds."""

    snapshots: int
    deltas: int
    follow_s: float
    read_s: float
    pages: int


FULL = Size(100, 2_000, 30.0, 10.0, 10)
QUICK = Size(20, 300, 6.0, 3.0, 3)

GOALS = {
    "snapshot_ms_100k": 300,
    "delta_ms": 1,
    "readers_cpu_percent": 30,
    "page_first_data_ms_median": 1_500,
    "scheduler_cpu_percent_20_pages": 1,
}

Records = list[tuple[str, bytes]]


def record(kind: str, name: str, /, **fields: Any) -> tuple[str, bytes]:
    return PREFIX + record_key(kind, name), encoded(formed(kind, fields))


def load(n: int, rng: random.Random, at: float = 1.8e9) -> tuple[str, bytes]:
    """Four tests that began within the last minute, and how busy that makes it."""
    running = [
        {
            "key": f"('test_{rng.randrange(10**6)}', {k})",
            "class": "normal",
            "since": round(at - rng.random() * 60, 1),  # as observers round it
        }
        for k in range(4)
    ]
    return record(
        *("load", f"worker-{n}"),
        at=at,
        cpu=round(rng.random() * 4, 2),  # as observers round it
        memory=rng.randrange(2**34),
        disk_read_bps=rng.randrange(10**8),
        net_in_bps=rng.randrange(10**8),
        processing=100,
        running=running,
    )


def cluster(rng: random.Random) -> Records:
    """1,000 workers with 100 tasks each, kinds that wait, runs."""
    found = [
        record("cluster", "", workers=WORKERS, threads=4 * WORKERS, waiting=TASKS),
        *(record("class", name, waiting=TASKS // 3) for name in ("a", "b", "c")),
    ]
    for n in range(WORKERS):
        facts = {"cpu.count": 4, "gpu.count": n % 3, "os": "linux", "arch": "x86_64"}
        address = f"tcp://10.0.{n // 250}.{n % 250}:40000"
        found.append(
            record(
                *("worker", f"worker-{n}"),
                name=f"worker-{n}",
                host=f"host-{n // 4}",
                address=address,
                threads=4,
                memory=2**34,
                facts=facts,
            )
        )
        found.append(load(n, rng))
    for n in range(KINDS):
        needs = f"gpu.count >= {n % 8} and cpu.features has 'avx512f'"
        found.append(record("kind", f"{n:x}", needs=needs, waiting=n, why=needs))
    for n in range(RUNS):
        counts = {"passed": n, "failed": n % 7}
        found.append(record("run", f"run-{n}", run=f"run-{n}", counts=counts))
    return found


def change(rng: random.Random, second: int) -> Records:
    at = 1.8e9 + second + 0.25
    return [load(n, rng, at) for n in rng.sample(range(WORKERS), CHANGED)]


def encoding(size: Size) -> dict[str, Any]:
    """A snapshot, and a change encoded for all readers, in this process."""
    rng = random.Random(7)
    model = ReadModel()
    model.replace(cluster(rng), 1, 1, 0.0)
    index, applies, deltas = 1, [], []
    for _ in range(size.deltas):
        index += 1
        records = change(rng, index)
        began = time.process_time()
        event = model.apply(records, 1, index, 0.0)
        assert event is not None
        wire.change(event, "0000")
        applies.append(time.process_time() - began)
        plain = [model.get(key) for key in event.keys]
        began = time.process_time()
        for one in plain:
            as_json(one)
        wire.change(event, "0000")
        deltas.append(time.process_time() - began)
    snapshots = []
    for _ in range(size.snapshots):
        index += 1
        model.apply(change(rng, index), 1, index, 0.0)
        began = time.process_time()
        snapshot = model.snapshot()
        snapshots.append(time.process_time() - began)
    return {
        "snapshot_ms_100k": _ms(snapshots),
        "snapshot_mb": round(len(snapshot.json) / 1e6, 2),
        "delta_ms": _ms(deltas),
        "delta_ms_best": round(1e3 * min(deltas), 3),
        "apply_ms": _ms(applies),
    }


def _ms(found: list[float]) -> float:
    return round(1e3 * statistics.median(found), 3)


class Served:
    """A web process, and the node's end of its socket."""

    def __init__(self, folder: str) -> None:
        with socket.create_server((HOST, 0)) as free:
            self.port = int(free.getsockname()[1])
        self._socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dtf_dask.web.process", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
            )
        hello = words.hello("bench", 1, {}, f"{HOST}:{self.port}", results=folder)
        self._rng = random.Random(7)
        self.index = 1
        self._say(hello)
        records = cluster(self._rng)
        self._say(words.records(1, 1, records, more=False))
        buffer = frames.FrameBuffer()
        assert [frame["op"] for frame in buffer.feed(self._socket.recv(1_000))] == [
            words.READY
        ]
        self.figures = psutil.Process(self.process.pid)

    def _say(self, frame: dict[str, Any]) -> None:
        self._socket.sendall(frames.pack(frame))

    def change(self) -> None:
        """What an observer says each second."""
        self.index += 1
        self._say(words.changes(1, self.index, change(self._rng, self.index)))

    def cpu_s(self) -> float:
        used = self.figures.cpu_times()
        return float(used.user + used.system)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._socket.close()


@contextmanager
def serving() -> Iterator[Served]:
    with tempfile.TemporaryDirectory() as folder:
        served = Served(folder)
        try:
            yield served
        finally:
            served.close()


def follow(served: Served, size: Size) -> dict[str, Any]:
    """Readers of events that read all they are told."""
    chosen = selectors.DefaultSelector()
    request = f"GET {BASE}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    began = time.perf_counter()
    first = socket.create_connection((HOST, served.port))
    first.sendall(request)
    heard = b""
    while b"event: snapshot" not in heard or not heard.endswith(b"\n\n"):
        heard += first.recv(2**20)
    first_s = time.perf_counter() - began
    readers = [first]
    for _ in range(READERS - 1):
        one = socket.create_connection((HOST, served.port))
        one.sendall(request)
        readers.append(one)
    for one in readers:
        one.setblocking(False)
        chosen.register(one, selectors.EVENT_READ)
    _read(chosen, 3.0)
    cpu_s, began = served.cpu_s(), time.perf_counter()
    got = 0
    for n in range(round(size.follow_s)):
        served.change()
        got += _read(chosen, began + n + 1 - time.perf_counter())
    took_s = time.perf_counter() - began
    used_s = served.cpu_s() - cpu_s
    for one in readers:
        one.close()
    return {
        "readers": READERS,
        "readers_cpu_percent": round(100 * used_s / took_s, 1),
        "readers_mb_per_s": round(got / took_s / 1e6, 1),
        "first_data_ms": round(1e3 * first_s, 1),
    }


def _read(chosen: selectors.BaseSelector, for_s: float) -> int:
    """Read what comes to any of them; how much."""
    ends, got = time.perf_counter() + for_s, 0
    while (left := ends - time.perf_counter()) > 0:
        for key, _ in chosen.select(left):
            got += len(key.fileobj.recv(2**20))  # type: ignore[union-attr]
    return got


def read(served: Served, size: Size, path: str) -> dict[str, float]:
    """Answers a second over connections that are kept, and the CPU of each."""
    cpu_s = served.cpu_s()
    counts = [0] * CONNECTIONS
    ends = time.perf_counter() + size.read_s

    def asks(n: int) -> None:
        connection = HTTPConnection(HOST, served.port)
        while time.perf_counter() < ends:
            connection.request("GET", BASE + path)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
            counts[n] += 1
        connection.close()

    threads = [threading.Thread(target=asks, args=(n,)) for n in range(CONNECTIONS)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return {
        "per_s": round(sum(counts) / size.read_s, 1),
        "cpu_ms": round(1e3 * (served.cpu_s() - cpu_s) / sum(counts), 2),
    }


def web(size: Size) -> dict[str, Any]:
    """A web process that is followed, and read."""
    with serving() as served:
        found = follow(served, size)
        found["rss_mb"] = round(served.figures.memory_info().rss / 1e6, 1)
        found["reads"] = {path: read(served, size, path) for path in READS}
    return found


def pages(size: Size) -> dict[str, Any]:
    """Pages of a coordinator, in a browser."""
    return web_pages.pages(size.read_s * 2, size.pages)


def runs(size: Size) -> dict[str, Any]:
    """A list of runs that go on: first, again, and when each has one more attempt."""
    with tempfile.TemporaryDirectory() as folder:
        store = ResultsStore.open(f"{folder}/results.sqlite")
        cases = [CaseId(f"test_{n}") for n in range(CASES)]
        for n in range(GOING_ON):
            store.begin_run(Run(RunId(f"r{n}"), float(n), suite="s"), cases)
            tried = [Attempt(one, 1, Outcome.PASSED, worker="w") for one in cases]
            store.add_attempts(f"r{n}", tried)
        pages = Pages()

        def listed_ms() -> float:
            began = time.thread_time()
            with store.reading() as connection:
                pages.runs(connection, "", "", 0, 100)
            return round(1e3 * (time.thread_time() - began), 1)

        first, again = listed_ms(), min(listed_ms() for _ in range(size.pages))
        for n in range(GOING_ON):
            late = Attempt(cases[0], 2, Outcome.FAILED, worker="w")
            store.add_attempts(f"r{n}", [late])
        found = {"first": first, "again": again, "more": listed_ms()}
        store.close()
    return {f"runs_{GOING_ON}_going_on_cpu_ms": found}


PARTS = {"encoding": encoding, "runs": runs, "web": web, "pages": pages}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within 50 s on 2 cores")
    parser.add_argument("--part", choices=PARTS, help="only this one")
    parser.add_argument("--json", action="store_true", help="one object at the end")
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else FULL
    found: dict[str, Any] = {}
    for name, part in PARTS.items():
        if arguments.part in (None, name):
            told = part(size)
            found |= told
            print(told, file=sys.stderr, flush=True)  # should a later one fail
    found["machine"] = {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg(),
    }
    if arguments.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            goal = f"  (goal: below {GOALS[name]:,})" if name in GOALS else ""
            print(f"{name}: {value}{goal}")


if __name__ == "__main__":
    main()

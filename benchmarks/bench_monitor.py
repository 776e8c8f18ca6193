"""What the desktop monitor costs: a window with 100,000 cases that change all the time.

    python benchmarks/bench_monitor.py [--quick] [--json]

The window is drawn on no screen. It shows a run of 100,000 cases, and is told of 150
changes ten times a second: attempts that end, and the records of 1,000 workers. What an
update costs is all that the window's thread does for it, with what it paints;
``core_percent`` is the CPU of the whole process, with what makes the changes up.
``find_ms`` is how long it takes to find one case by its name, ``sort_ms`` to sort all
of them by how long they took.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Mapping
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import psutil
from PySide6.QtCore import QSettings, Qt
from PySide6.QtWidgets import QApplication

from dtf_dask.ha.elapsed import elapsed_s
from dtf_dask.view.records import Record, formed, record_key
from monitor_app.feed.inbox import Answer, Batch, Heard, Inbox, Line
from monitor_app.feed.place import Place
from monitor_app.feed.questions import Call, Ticket
from monitor_app.models.cases import TOOK
from monitor_app.models.session import Session
from monitor_app.views.connect_dialog import Finder
from monitor_app.views.kept import Kept
from monitor_app.views.runs import Runs
from monitor_app.views.theme import Theme
from monitor_app.views.window import Window

CASES, WORKERS = 100_000, 1_000
CHANGED, PER_S = 150, 10
RUN, AT = "20260928-1300-abcd", 1_790_000_000.0
OUTCOMES = ("passed",) * 14 + ("failed", "error", "timeout", "skipped", "lost")


def case_id(n: int) -> str:
    return f"tests/unit/test_module_{n % 997}.py::TestThing::test_case[{n}-value]"


class Cluster:
    """Answers what the window asks, and tells what changes."""

    def __init__(self, chance: random.Random) -> None:
        self.inbox = Inbox()
        self._chance = chance
        self._numbers = itertools.count(1)
        self._told: list[dict[str, Any]] = []
        self.place = Place("http", "127.0.0.1", 8700)
        self.decided = CASES

    def start(self) -> None:
        self.inbox.line(Line("live", str(self.place)))

    def close(self) -> None:
        pass

    def take(self) -> Batch:
        return self.inbox.take()

    def ask(self, call: Call) -> Ticket:
        ticket = Ticket(next(self._numbers))
        for part in call(self):  # type: ignore[arg-type]
            self.inbox.answer(Answer(ticket.number, part, last=False))
        self.inbox.answer(Answer(ticket.number))
        return ticket

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        query = query or {}
        if path == "/timeline":
            told, self._told = self._told, []
            return {"start": AT, "end": AT, "more": False, "items": told}
        total = CASES if path.endswith("/cases") else 0
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", 100))
        rows = range(offset, min(total, offset + limit))
        if path == "/series":
            return {"start_s": int(AT), "step_s": 1, "values": {}}
        return {
            "total": total,
            "offset": offset,
            "limit": limit,
            "items": [self._case(n) for n in rows],
        }

    def _case(self, n: int) -> dict[str, Any]:
        return {
            "case_id": case_id(n),
            "outcome": self._chance.choice(OUTCOMES),
            "duration_s": self._chance.expovariate(2),
            "attempts": 1,
            "flaky": False,
        }

    def begin(self) -> None:
        records = dict(map(self._worker, range(WORKERS)))
        records |= dict(map(self._load, range(WORKERS)))
        records |= dict([self._run()])
        self.inbox.hear(Heard("1:1:x", AT, records, {}, ()), elapsed_s())

    def change(self) -> None:
        """Attempts end, and records of workers change: 150 together."""
        chance = self._chance
        for n in chance.sample(range(CASES), CHANGED // 2):
            attempt = {
                "case_id": case_id(n),
                "number": 1,
                "outcome": chance.choice(OUTCOMES),
                "started_at": AT,
                "duration_s": chance.expovariate(2),
            }
            self._told.append(attempt)
        self.decided += 1
        put = dict(map(self._load, chance.sample(range(WORKERS), CHANGED // 2)))
        put |= dict([self._run()])
        heard = Heard("1:2:x", AT, None, put, ())
        self.inbox.hear(heard, elapsed_s())

    def _run(self) -> tuple[str, Record]:
        fields = {
            "run": RUN,
            "suite": "large",
            "status": "running",
            "started_at": AT - 900,
            "at": AT,
            "planned": 2 * CASES,
            "counts": {"passed": self.decided},
        }
        return record_key("run", RUN), formed("run", fields)

    def _worker(self, n: int) -> tuple[str, Record]:
        name = f"lab-{n:04}"
        fields = {"name": name, "host": name, "threads": 8, "status": "running"}
        return record_key("worker", name), formed("worker", fields)

    def _load(self, n: int) -> tuple[str, Record]:
        fields = {"at": AT, "cpu": self._chance.uniform(0, 8), "memory": 2**30}
        return record_key("load", f"lab-{n:04}"), formed("load", fields)


def measured(seconds: float) -> dict[str, Any]:
    app = QApplication([])
    cluster = Cluster(random.Random(1))
    session = Session()
    folder = tempfile.TemporaryDirectory(prefix="dtf-monitor-")
    # Written by a rename: of no device, which that would replace.
    settings = QSettings(f"{folder.name}/kept.ini", QSettings.Format.IniFormat)
    window = Window(
        session,
        Theme("light"),
        Kept(settings),
        make_source=lambda places, token: cluster,
        finder=Finder(list),
    )
    window.show()
    cluster.begin()
    window.watch([cluster.place])
    window.open_page("runs")
    runs = window.views["runs"]
    assert isinstance(runs, Runs)
    began = time.perf_counter()
    while runs.cases.total < CASES:
        session.drain()
        app.processEvents()
    read_s = time.perf_counter() - began
    costs: list[float] = []
    process = psutil.Process()
    cpu, began = time.process_time(), time.perf_counter()
    step = 0
    while (now := time.perf_counter() - began) < seconds:
        if now < step / PER_S:
            app.processEvents()
            time.sleep(0.002)
            continue
        step += 1
        cluster.change()
        at = time.thread_time()
        session.drain()
        runs.tick()
        session.drain()
        app.processEvents()
        costs.append(1000 * (time.thread_time() - at))
    took = time.perf_counter() - began
    core = 100 * (time.process_time() - cpu) / took
    at = time.thread_time()
    runs.cases.find("test_case[77777-")
    app.processEvents()
    find_ms = 1000 * (time.thread_time() - at)
    assert runs.cases.rowCount() == 1
    runs.cases.find("")
    at = time.thread_time()
    runs.cases.sort(TOOK, Qt.SortOrder.DescendingOrder)
    app.processEvents()
    sort_ms = 1000 * (time.thread_time() - at)
    rss_mb = process.memory_info().rss / 2**20
    window.close()
    return {
        "cases": CASES,
        "changes": CHANGED,
        "per_s": PER_S,
        "updates": len(costs),
        "update_ms_median": round(statistics.median(costs), 2),
        "update_ms_p95": round(statistics.quantiles(costs, n=20)[-1], 2),
        "update_ms_worst": round(max(costs), 2),
        "core_percent": round(core, 1),
        "rss_mb": round(rss_mb),
        "read_s": round(read_s, 2),
        "find_ms": round(find_ms, 1),
        "sort_ms": round(sort_ms, 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="Ends within 50 s.")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measured(10.0 if arguments.quick else 60.0)
    if arguments.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:18} {value}")


if __name__ == "__main__":
    main()

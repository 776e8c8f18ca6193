"""A feed that tells what a test says, and records of a cluster to tell."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

from dtf_dask.ha.elapsed import elapsed_s
from dtf_dask.view.records import Record, formed, record_key
from dtf_dask.web.endpoints import ENDPOINTS
from monitor_app.feed.calls import CallError, RefusedError
from monitor_app.feed.inbox import Answer, Batch, Heard, Inbox, Line
from monitor_app.feed.place import Place
from monitor_app.feed.questions import Call, Ticket

AT = 1_790_000_000.0
PLACE = Place("http", "127.0.0.1", 8700)
OUTCOMES = ("passed",) * 14 + ("failed", "error", "timeout", "skipped", "lost")

Reply = Callable[[Mapping[str, str]], Any]


def assert_known(path: str, query: Mapping[str, str]) -> None:
    """What is asked makes sense to a real coordinator, too."""
    for one in ENDPOINTS:
        if re.fullmatch(one.path.replace("{run}", "[^/]+"), path):
            known = {parameter.name: parameter for parameter in one.parameters}
            for name, value in query.items():
                known[name].read(value)
            return
    raise AssertionError(f"nothing is at {path}")


class MadeCaller:
    """Answers as a coordinator would, by what the test says for each path."""

    def __init__(self, replies: Mapping[str, Reply]) -> None:
        self.place = PLACE
        self._replies = replies

    def get(self, path: str, query: dict[str, object] | None = None) -> Any:
        """See `Caller`."""
        said = {k: str(v) for k, v in (query or {}).items() if v != ""}
        assert_known(path, said)
        reply = self._replies.get(path)
        if reply is None:
            raise RefusedError(404, f"there is no {path} here")
        return reply(said)

    def post(self, path: str, said: Mapping[str, Any], id: str) -> Any:
        """See `Caller`."""
        reply = self._replies.get(path)
        if reply is None:
            raise RefusedError(404, f"there is no {path} here")
        return reply({**said, "id": id})


class MadeSource:
    """The feed. Questions are answered when the session looks next."""

    def __init__(self) -> None:
        self.inbox = Inbox()
        self.replies: dict[str, Reply] = {}
        self.asked: list[Ticket] = []
        self.closed = False
        self._numbers = itertools.count(1)
        self._index = 0

    def start(self) -> None:
        """See `Source`."""
        self.inbox.line(Line("live", str(PLACE)))

    def close(self) -> None:
        """See `Source`."""
        self.closed = True

    def take(self) -> Batch:
        """See `Source`."""
        return self.inbox.take()

    def ask(self, call: Call) -> Ticket:
        """See `Source`."""
        ticket = Ticket(next(self._numbers))
        self.asked.append(ticket)
        try:
            for part in call(MadeCaller(self.replies)):  # type: ignore[arg-type]
                self.inbox.answer(Answer(ticket.number, part, last=False))
        except CallError as error:
            self.inbox.answer(Answer(ticket.number, why=str(error)))
        else:
            self.inbox.answer(Answer(ticket.number))
        return ticket

    def begin(self, records: Mapping[str, Record], at: float = AT) -> None:
        """All there is."""
        self._hear(Heard(self._id(), at, dict(records), {}, ()))

    def change(self, put: Mapping[str, Record], *gone: str, at: float = AT) -> None:
        """What changed."""
        self._hear(Heard(self._id(), at, None, dict(put), gone))

    def stand(self, told: Mapping[str, Any]) -> None:
        """How the coordinators stand."""
        self.inbox.stand(told)

    def _id(self) -> str:
        self._index += 1
        return f"1:{self._index}:9f2c"

    def _hear(self, heard: Heard) -> None:
        self.inbox.hear(heard, elapsed_s())


def record(kind: str, name: str = "", /, **fields: Any) -> tuple[str, Record]:
    """A record with its key."""
    return record_key(kind, name), formed(kind, fields)


def busy(seed: int = 1) -> dict[str, Record]:
    """A cluster that has much to do, and some of it goes wrong."""
    chance = random.Random(seed)
    found = dict(
        [
            record(
                "cluster",
                at=AT,
                started_at=AT - 86_000,
                term=7,
                workers=12,
                threads=84,
                threads_used=77.0,
                memory=512 * 2**30,
                memory_used=278 * 2**30,
                waiting=1_402,
                held=3,
                running=70,
                ended=28_958,
                failed=76,
                deadlines_met=812,
                deadlines_missed=2,
            )
        ]
    )
    for name, waiting in (("interactive", 3), ("nightly", 34), ("normal", 1_365)):
        latest = AT + 8 if name == "interactive" else None
        found |= [
            record(
                *("class", name),
                name=name,
                waiting=waiting,
                running=waiting // 20,
                since=AT - 90,
                latest=latest,
                ended=9_000,
                failed=20,
                missed=2,
            )
        ]
    for n in range(12):
        name = f"lab-{n:02}-{'ab'[n % 2]}"
        lost = n == 9
        found |= [
            record(
                *("worker", name),
                name=name,
                host=f"lab-{n:02}",
                address=f"tcp://10.0.0.{n}:4000",
                kind="gpu" if n % 2 else "cpu",
                threads=7,
                memory=43 * 2**30,
                gpus=n % 2,
                since=AT - 40_000,
                status="lost" if lost else "running",
                left_at=AT - 40 if lost else None,
                shut="its breaker is open: 5 of the last 6 tests failed" * (n == 3),
                facts={"disk.free": 200 * 2**30, "disk.total": 900 * 2**30},
                labels=["rack-1"] if n < 6 else [],
            ),
            record(
                *("load", name),
                at=AT,
                cpu=chance.uniform(1, 7),
                memory=int(chance.uniform(5, 40) * 2**30),
                running=[
                    {"key": f"test_{k}", "class": "normal", "since": AT - 3 * k}
                    for k in range(3)
                ],
                gpus=[{"name": "A4", "util": 0.97, "memory": 2**30, "temperature": 71}]
                * (n % 2),
            ),
        ]
    for n, status in enumerate(("running", "running", "failed", "passed")):
        counts = {"passed": 780 - 100 * n, "failed": 12 * (status != "passed")}
        found |= [
            record(
                *("run", f"20260928-13{n:02}-abcd"),
                run=f"20260928-13{n:02}-abcd",
                suite="quickstart",
                status=status,
                started_at=AT - 900 * (n + 1),
                finished_at=None if status == "running" else AT - 900 * n - 30,
                at=AT,
                planned=1_000,
                counts=counts,
                flaky=60 if n == 0 else 0,
            )
        ]
    return found


def coordinators(leader: int | None = 1, **more: Any) -> dict[str, Any]:
    """How three of them stand."""
    items = [
        {
            "node": n + 1,
            "name": name,
            "here": n == 0,
            "role": "leader" if n + 1 == leader else "follower",
            "votes": True,
            "heard_of": True,
            "lag": 3 * n,
            "web": f"127.0.0.1:{8700 + n}",
            "scheduler": {"role": "leads" if n + 1 == leader else "shadow", "term": 7},
        }
        for n, name in enumerate(("a", "b", "c"))
    ]
    return {
        "cluster": "lab",
        "contact": "dtf://127.0.0.1:1/lab",
        "seen_by": 1,
        "at": AT,
        "leader": leader,
        "term": 7,
        "applied": 1_200,
        "quorum_left": 1,
        "elections": 1,
        "items": items,
        **more,
    }


def run_row(n: int, status: str = "passed", planned: int = 1_000) -> dict[str, Any]:
    """A run as `/runs` lists it."""
    return {
        "run": f"20260927-{n:04}-beef",
        "suite": "quickstart",
        "status": status,
        "started_at": AT - 10_000 * (n + 1),
        "finished_at": AT - 10_000 * n - 5_000,
        "exit_code": 0,
        "planned": planned,
        "counts": {"passed": planned - 3, "failed": 3},
    }


def case_rows(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Cases as `/runs/RUN/cases` lists them."""
    chance = random.Random(seed)
    return [
        {
            "case_id": f"tests/test_{n % 97}.py::TestIt::test_case[{n}-value]",
            "outcome": chance.choice(OUTCOMES),
            "duration_s": chance.expovariate(2.0),
            "attempts": 1,
            "flaky": chance.random() < 0.02,
        }
        for n in range(count)
    ]


def listed(rows: list[Any]) -> Reply:
    """Answers with pages of these."""

    def reply(query: Mapping[str, str]) -> Any:
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", 100))
        return {
            "total": len(rows),
            "offset": offset,
            "limit": limit,
            "items": rows[offset : offset + limit],
        }

    return reply


def series(names: Mapping[str, Callable[[int], float | None]]) -> Reply:
    """Answers with numbers over 10 minutes."""

    def reply(query: Mapping[str, str]) -> Any:
        step, start = int(query["step"]), int(AT) - 600
        values = {name: [one(n) for n in range(600)] for name, one in names.items()}
        return {"start_s": start, "step_s": step, "values": values}

    return reply


def gridded(rows: list[dict[str, Any]]) -> Reply:
    """Answers with pages of these, and how each went in earlier runs."""
    listing = listed(rows)

    def reply(query: Mapping[str, str]) -> Any:
        chance, told = random.Random(query["offset"]), listing(query)
        for row in told["items"]:
            now = {name: row[name] for name in ("outcome", "duration_s", "flaky")}
            before = [{**now, "outcome": chance.choice(OUTCOMES)} for _ in range(9)]
            row["past"] = [None, *before, now]
        return {**told, "runs": []}

    return reply

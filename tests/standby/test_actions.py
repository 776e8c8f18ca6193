"""Actions are done once, whoever asks again and whoever leads by then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from dtf_dask.standby import actions
from dtf_dask.standby.actions import Actions, ActRefusedError
from dtf_dask.view.actions import read_asked
from dtf_dask.view.records import formed


class Book:
    """A ledger, and what is done by whoever leads."""

    def __init__(self) -> None:
        self.found: dict[str, bytes] = {}
        self.done: list[str] = []
        self.shown: dict[str, dict[str, Any]] = {}
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.clock = 0.0

    async def keep(self, records: Mapping[str, bytes | None]) -> None:
        await asyncio.sleep(0)
        for key, value in records.items():
            if value is None:
                self.found.pop(key, None)
            else:
                self.found[key] = value

    def records(self, prefix: str) -> list[tuple[str, bytes]]:
        return sorted(one for one in self.found.items() if one[0].startswith(prefix))

    async def _act(self, asked: Any) -> str:
        self.done.append(asked.subject)
        await self.may_end.wait()
        if asked.subject == "nobody":
            raise ActRefusedError("no worker nobody is there", actions.UNKNOWN)
        return f"{asked.subject} is done"

    def _wall(self) -> float:
        self.clock += 1
        return self.clock

    async def leader(self, name: str = "a") -> Actions:
        acts = dict.fromkeys(
            ("release", "quarantine", "transfer-leadership"), self._act
        )
        found = Actions(self, acts, self.shown.__setitem__, self._wall)
        await found.lead(name)
        return found


def asked(id: str, worker: str = "w", action: str = "release") -> dict[str, Any]:
    field = "node" if action == "transfer-leadership" else "worker"
    return {"id": id, "action": action, "by": "me", "fields": {field: worker}}


def live(check: Callable[[Book], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(30):
            await check(Book())

    asyncio.run(run())


@pytest.mark.parametrize(("worker", "status"), [("w", 200), ("nobody", 404)])
def test_asked_again_it_is_answered_with_its_first_outcome(
    worker: str, status: int
) -> None:
    """By the same leader and by the next one, what was refused too."""

    async def check(book: Book) -> None:
        first = await (await book.leader()).ask(asked("1", worker))
        again = await (await book.leader("b")).ask(asked("1", worker))
        assert first["status"] == again["status"] == status
        assert first["record"]["result"] == again["record"]["result"]
        assert book.done == [worker]
        assert formed("action", book.shown["1"]) == again["record"]

    live(check)


def test_an_id_is_that_of_one_action() -> None:
    """Another one with the same id is refused, and not done."""

    async def check(book: Book) -> None:
        leader = await book.leader()
        await leader.ask(asked("1"))
        for other in (asked("1", "v"), asked("1", "w", "quarantine")):
            assert (await leader.ask(other))["status"] == 409
        assert book.done == ["w"]
        assert (await leader.ask({**asked("1"), "by": "you"}))["status"] == 200

    live(check)


def test_who_asks_while_it_is_under_way_waits_for_the_same_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many ask; what takes long is answered as begun."""

    async def check(book: Book) -> None:
        leader = await book.leader()
        book.may_end.clear()
        monkeypatch.setattr(actions, "ANSWER_S", 0.01)
        begun = await leader.ask(asked("1"))
        assert (begun["status"], begun["record"]["state"]) == (202, "begun")
        monkeypatch.setattr(actions, "ANSWER_S", 30.0)
        both = asyncio.gather(leader.ask(asked("1")), leader.ask(asked("1")))
        await asyncio.sleep(0)
        book.may_end.set()
        assert [one["status"] for one in await both] == [200, 200]
        assert book.done == ["w"]

    live(check)


def test_of_what_was_under_way_the_next_leader_says_so() -> None:
    """That another leads was what was wanted; all else is done when asked again."""

    async def check(book: Book) -> None:
        leader = await book.leader()
        book.may_end.clear()
        asking = [
            asyncio.ensure_future(leader.ask(one))
            for one in (asked("1"), asked("2", "b", "transfer-leadership"))
        ]
        while len(book.done) < 2:
            await asyncio.sleep(0)
        for task in (*asking, *leader._under_way.values()):
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        book.may_end.set()
        following = await book.leader("b")
        assert book.shown["1"]["state"] == "unknown"
        assert (book.shown["2"]["state"], book.shown["2"]["result"]) == (
            *("done", "b leads"),
        )
        assert (await following.ask(asked("1")))["record"]["state"] == "done"
        told = await following.ask(asked("2", "b", "transfer-leadership"))
        assert (told["status"], book.done) == (200, ["w", "b", "w"])

    live(check)


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a bound, in the ledger too."""
    monkeypatch.setattr(actions, "KEPT_MAX", 3)

    async def check(book: Book) -> None:
        leader = await book.leader()
        for number in range(6):
            await leader.ask(asked(str(number)))
        assert sorted(book.found) == [f"x/action/{n}" for n in (3, 4, 5)]
        assert len((await book.leader())._kept) == 3

    live(check)


def test_what_came_by_another_scheduler_is_the_same() -> None:
    """Dask has lists arrive as tuples: it is the same that is asked for."""
    by_list, by_tuple = (
        read_asked(
            {"id": "c", "action": "cancel", "by": "me", "fields": {"keys": keys}}
        )
        for keys in (["a", "b"], ("a", "b"))
    )
    assert by_list == by_tuple
    assert by_list.digest == by_tuple.digest

"""What is asked of a real scheduler, which writes it to a real ledger."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from distributed import Worker
from one_node import Leader, leading, with_ledger

from dtf_dask import Client
from dtf_dask.ha.local_ledger import LocalLedger
from dtf_dask.view.tails import asked_for

_NUMBERS = iter(range(10_000))


def add(x: int, y: int) -> int:
    return x + y


def fails_first(path: str) -> str:
    try:
        Path(path).touch(exist_ok=False)
    except FileExistsError:
        return "passed"
    raise ValueError("the first time")


async def act(leader: Leader, action: str, **fields: Any) -> tuple[int, str]:
    """The status and the result of an action that the node passes on."""
    id = f"id-{next(_NUMBERS)}"
    asked = {"id": id, "action": action, "by": "me", "fields": fields}
    while True:
        told = await leader.link.ask(asked)
        assert leader.ended == []
        if told is not None:
            break
        await asyncio.sleep(0.02)  # it has yet to settle
    assert f"x/action/{id}" in leader.records("x/action/")
    return told["status"], told["detail"]


def test_tasks_are_cancelled_tried_again_and_made_urgent(tmp_path: Path) -> None:
    """Whoever submitted them; it is said how many keys nobody knows."""

    async def check(ledger: LocalLedger, port: int) -> None:
        async with (
            leading(ledger, port) as leader,
            Client(leader.address, asynchronous=True) as client,
        ):
            waits = client.submit(add, 1, 1, key=("t", 0))
            needs = client.submit(add, waits, 1, key="needs")
            await client.flush()
            assert await act(leader, "cancel", keys=["nothing"]) == (
                *(404, "no such task is known: nothing"),
            )
            # What no action is goes the same way, and nothing is written of it.
            question = asked_for("no-run", "no-case", ["tcp://127.0.0.1:1"])
            before = leader.records("x/action/")
            assert await leader.link.ask(question) == {"items": []}
            assert leader.records("x/action/") == before
            status, told = await act(
                *(leader, "reprioritize"), keys=["('t', 0)", "no"], priority=5.0
            )
            assert (status, told) == (200, "1 task changed; 1 of 2 are not known")
            status, told = await act(leader, "reprioritize", keys=["needs"])
            assert status == 409
            status, told = await act(
                *(leader, "reprioritize"), keys=["needs"], deadline="never"
            )
            assert (status, "deadline" in told) == (409, True)
            assert (await act(leader, "rerun", keys=["needs"]))[0] == 409
            status, told = await act(
                *(leader, "cancel"), keys=["('t', 0)"], reason="too slow"
            )
            assert (status, told) == (200, "1 task cancelled")
            while (waits.status, needs.status) != ("cancelled", "cancelled"):
                await asyncio.sleep(0.02)

            async with Worker(leader.address, nthreads=1, name="w", dashboard=False):
                mark = str(tmp_path / "mark")
                failed = client.submit(fails_first, mark, key="f")
                above = client.submit(len, failed, key="above")
                while above.status != "error":
                    await asyncio.sleep(0.02)
                # What it failed with is what is to be tried again.
                status, told = await act(leader, "rerun", keys=["above"])
                assert (status, told) == (200, "1 task tried again")
                while above.status != "finished":
                    await asyncio.sleep(0.02)
                assert await above == len("passed")

    with_ledger(tmp_path, check)


def test_a_quarantined_worker_gets_nothing_until_it_is_released(
    tmp_path: Path,
) -> None:
    """Under the next leader as well, and when it comes back."""

    async def check(ledger: LocalLedger, port: int) -> None:
        def worker(leader: Leader) -> Worker:
            return Worker(leader.address, nthreads=1, name="w", dashboard=False)

        async with leading(ledger, port) as leader, worker(leader):
            assert (await act(leader, "quarantine", worker="v"))[0] == 404
            told = await act(leader, "quarantine", worker="w", reason="it is odd")
            assert told == (200, "it gets nothing until it is released")
        async with (
            leading(ledger, port) as leader,
            worker(leader),
            Client(leader.address, asynchronous=True) as client,
        ):
            future = client.submit(add, 1, 1, key="t")
            await client.flush()
            (told_of,) = await client.scheduler.dtf_explain(keys=["t"])
            assert "quarantined: it is odd" in str(told_of)
            assert future.status == "pending"
            assert (await act(leader, "release", worker="w"))[0] == 200
            assert await future == 2
            assert (await act(leader, "release", worker="w"))[0] == 404
            assert leader.records("x/quarantine/") == {}

    with_ledger(tmp_path, check)


def test_a_worker_is_retired_if_others_take_what_it_holds(tmp_path: Path) -> None:
    """What it holds is kept, and it ends."""

    async def check(ledger: LocalLedger, port: int) -> None:
        async with (
            leading(ledger, port) as leader,
            Worker(leader.address, nthreads=1, name="w", dashboard=False) as worker,
            Client(leader.address, asynchronous=True) as client,
        ):
            future = client.submit(add, 1, 1, key="t")
            assert await future == 2
            status, told = await act(leader, "retire-worker", worker="w")
            assert (status, told) == (
                *(409, "what it holds has nowhere to go: it stays"),
            )
            async with Worker(leader.address, nthreads=1, name="v", dashboard=False):
                status, told = await act(leader, "retire-worker", worker="w")
                assert (status, told) == (
                    *(200, "it has handed over what it held, and ends"),
                )
                await worker.finished()
                assert await client.gather(future) == 2
                assert (await act(leader, "retire-worker", worker="w"))[0] == 404

    with_ledger(tmp_path, check)


def test_who_is_alone_hands_over_to_nobody(tmp_path: Path) -> None:
    """What makes no sense is refused, and so is a run that nobody knows."""

    async def check(ledger: LocalLedger, port: int) -> None:
        async with leading(ledger, port) as leader:
            while (await act(leader, "transfer-leadership", node="1"))[0] == 404:
                await asyncio.sleep(0.05)  # it is not told who votes yet
            assert (await act(leader, "transfer-leadership", node="1")) == (
                *(200, "it leads already"),
            )
            for node in ("2", "x", "-1"):
                assert (await act(leader, "transfer-leadership", node=node))[0] == 404
            assert (await act(leader, "stop-run", run="r"))[0] == 404
            told = await leader.link.ask({"id": "a b", "action": "release"})
            assert told is not None
            assert told["status"] == 409

    with_ledger(tmp_path, check)

"""A client's operations on their way, where something comes to nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Hashable, Mapping
from typing import Any

import dask
import pytest
from coordinator import lab

from dtf_dask.client import Client
from dtf_dask.durable import client_sending
from dtf_dask.durable.client_sending import Sending
from dtf_dask.durable.dask_client import CANCELS, DESIRES, GRAPH, RELEASES
from dtf_dask.durable.operations import (
    ASKED_KEYS_MAX,
    CANCEL,
    DESIRE,
    RELEASE,
    beyond_bounds,
    decode_operation,
)
from dtf_dask.errors import ClusterUnreachableError, OverloadedError

FAULTY = "k" * 5_000  # longer than a key may be


def sending(said: list[Mapping[str, Any]]) -> Sending:
    def failed(key: Hashable, error: BaseException) -> None:
        raise AssertionError(key) from error

    made = Sending("c", said.append, lambda: None, failed, lambda: "why", lambda: 1.0)
    made.live = True
    return made


def test_a_client_gives_up_while_a_graph_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who flushes hears so at once, and does not wait for that graph for ever."""
    goes_on = threading.Event()

    def made_late(*_: object) -> bytes:
        goes_on.wait(30)
        return b"made"

    monkeypatch.setattr(client_sending, "operation_of_message", made_late)

    async def check() -> None:
        one = sending([])
        one.give({"op": GRAPH, "keys": ["x"]})
        flushing = asyncio.ensure_future(one.given())
        await asyncio.sleep(0.01)
        one.end("no scheduler leads")
        try:
            async with asyncio.timeout(20):
                upto = await flushing
                with pytest.raises(ClusterUnreachableError, match="no scheduler leads"):
                    await one.settled(upto)
        finally:
            goes_on.set()

    asyncio.run(check())


def test_a_key_that_no_table_takes_harms_no_other() -> None:
    """What is said of it is passed over; what is said with it, and later, is asked."""

    async def check() -> None:
        said: list[Mapping[str, Any]] = []
        one = sending(said)
        for op in (RELEASES, DESIRES):
            for key in ("x", FAULTY):
                one.give({"op": op, "keys": [key]})
        words = {"force": False, "reason": 7, "msg": "seven"}
        one.give({"op": CANCELS, "keys": [FAULTY, "y"], **words})
        await one.given()
        found = [decode_operation(message["operation"]) for message in said]
        assert [one.body for one in found] == [
            *((("x",),), (("x",),)),
            (("y",), False, "7: seven"),
        ]

    asyncio.run(check())


def test_room_is_given_back_by_what_found_none_in_the_queue() -> None:
    """A submission that waited for the scheduler in vain takes no room any more."""

    async def check() -> None:
        async with lab() as one, Client(one.address, asynchronous=True) as client:

            async def no_room(*_: object, **__: object) -> int:
                raise OverloadedError("the queue is full")

            gate = client.room_gate
            gate.take = lambda _: False  # type: ignore[method-assign]
            gate.obtain = no_room  # type: ignore[method-assign]
            with dask.config.set({"dtf.scheduling.submit-wait": "0 s"}):
                for number in range(3):
                    with pytest.raises(OverloadedError):
                        await client.submit(abs, number)
            box = client._durable.sending.outbox
            assert (box.charged_count, box.charged_bytes) == (0, 0)

    asyncio.run(check())


@pytest.mark.parametrize("length", [3, 1_000], ids=["many", "long"])
def test_what_names_many_keys_is_asked_in_several(length: int) -> None:
    """No operation is beyond the bounds that a scheduler has for it; all keys come, in
    their order."""
    keys = [f"{number:0{length}}" for number in range(ASKED_KEYS_MAX + 1)]

    async def check() -> None:
        said: list[Mapping[str, Any]] = []
        one = sending(said)
        cancels = {"force": True, "reason": "r" * 10_000, "msg": ""}
        for message in (
            {"op": RELEASES, "keys": keys},
            {"op": DESIRES, "keys": keys},
            {"op": CANCELS, "keys": keys, **cancels},
        ):
            one.give(message)
        await one.given()
        packed = [message["operation"] for message in said]
        found = [decode_operation(one) for one in packed]
        for operation, size in zip(found, map(len, packed), strict=True):
            assert not beyond_bounds(operation, size)
        for kind in (RELEASE, DESIRE, CANCEL):
            parts = [one.body[0] for one in found if one.kind == kind]
            assert len(parts) > 1
            assert [key for part in parts for key in part] == keys

    asyncio.run(check())

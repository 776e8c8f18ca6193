"""Clients made by hand: they say what a test has them say."""

from __future__ import annotations

import contextlib
from typing import Any

from distributed.comm import CommClosedError
from distributed.core import connect
from distributed.versions import get_versions
from one_node import Leader

from dtf_dask.durable import client_words as words
from dtf_dask.durable import operations
from dtf_dask.durable.operations import encode_operation
from dtf_dask.submission.table import Row, Table
from dtf_dask.submission.table_codec import encode_table


class ByHand:
    """A client that says what it is told to."""

    def __init__(self, comm: Any) -> None:
        self.comm = comm
        self.heard: list[dict[str, Any]] = []

    async def say(self, *messages: dict[str, Any]) -> None:
        await self.comm.write(messages)

    async def until(self, op: str) -> dict[str, Any]:
        """The next message of a kind."""
        while True:
            while self.heard:
                message = self.heard.pop(0)
                if message["op"] == op:
                    return message
            self.heard += await self.comm.read()

    async def to_end(self) -> list[str]:
        """The ops of all that comes until the stream ends."""
        with contextlib.suppress(CommClosedError):
            while True:
                self.heard += await self.comm.read()
        return [message["op"] for message in self.heard]


async def by_hand(leader: Leader, client: str, token: str = "") -> ByHand:
    comm = await connect(leader.address)
    await comm.write(
        {
            "op": "register-client",
            "client": client,
            "reply": False,
            "versions": get_versions(),
        }
    )
    alone = await comm.read()
    assert [message["op"] for message in alone] == ["stream-start"]
    made = ByHand(comm)
    if token:
        await made.say(words.hello(token))
    return made


def table(
    client: str,
    *keys: str,
    annotations: Any = None,
    needs: tuple[str, ...] = (),
    payload: bytes = b"",
) -> bytes:
    rows = tuple(Row(key, needs, payload, (), False, annotations or {}) for key in keys)
    packed = encode_table(Table(client, 1, keys, (), rows))
    return encode_operation(operations.TABLE, client, packed, {})

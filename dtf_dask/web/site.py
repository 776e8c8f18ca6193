"""What a web process knows: as the node beside it says, frame by frame."""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dtf_dask.view import feed_words as words
from dtf_dask.view.alerts import Alert, alerts
from dtf_dask.view.read_model import EventId, ReadModel, Snapshot
from dtf_dask.view.records import record_key
from dtf_dask.view.series import Series
from dtf_dask.web import wire
from dtf_dask.web.acting import Acting
from dtf_dask.web.coordinators import coordinators, steady
from dtf_dask.web.readers import Readers
from dtf_dask.web.results import Results

CATCHING_UP_S = 3.0
"""How long who comes from a node that is ahead is waited with."""

_gzip = partial(zlib.compress, level=1, wbits=31)

_ANEW = "this node has begun anew"
_NO_ID = "that is no id of this cluster's events"
_TOO_OLD = "that was too long ago, or never here"


class Site:
    """What is to be seen here.

    Parameters
    ----------
    hello
        What the node said first: see `feed_words.hello`.
    say
        Says a word to the node.
    """

    def __init__(
        self, hello: Mapping[str, Any], say: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self.hello = hello
        self.tag = str(hello.get("tag", ""))
        self.model = ReadModel()
        self.acting = Acting(say, lambda id: self.model.get(record_key("action", id)))
        self.series = Series()
        self.readers = Readers()
        self.results = Results(
            str(hello.get("results", "")), str(hello.get("store", ""))
        )
        self.standing: dict[str, Any] = {}
        """A `NodeStatus` of this node; of a scheduler that is alone, ``unanswered``:
        why it says nothing."""
        self.standing_at = 0.0
        self.begun = False
        """Whether it has all there was when the process began."""
        self._told_standing: Any = None
        self._records: list[tuple[str, bytes]] = []
        self._moved = asyncio.Event()
        self._whole: tuple[Snapshot, bytes] | None = None
        self._packed: tuple[bytes, bytes] | None = None

    def hear(self, frame: Mapping[str, Any]) -> None:
        """Take in what the node says."""
        op = frame["op"]
        if op == words.ANSWERED:
            self.acting.heard(frame)
            return
        if op == words.RECORDS:
            self._records += map(tuple, frame["records"])
            if not frame["more"]:
                found, self._records = self._records, []
                self.model.replace(found, frame["term"], frame["index"], time.time())
                self._look()
                self.readers.reset(_ANEW)
                self.begun = True
        elif op == words.CHANGES:
            at = (frame["term"], frame["index"], time.time())
            event = self.model.apply(map(tuple, frame["changes"]), *at)
            if event is not None:
                if "cluster" in event.keys:
                    self._look()
                self.readers.tell(wire.change(event, self.tag))
        self._moved.set()
        self._moved = asyncio.Event()

    def _look(self) -> None:
        """Keep how the cluster's numbers stand now."""
        cluster = self.model.get("cluster")
        if cluster is not None:
            classes, loads, runs = (
                [record for _, record in self.model.of_kind(kind)]
                for kind in ("class", "load", "run")
            )
            self.series.take(cluster, classes, loads, runs)

    def stand(self, frame: Mapping[str, Any]) -> None:
        """Take in how the node stands, of a `ping`."""
        self.standing, self.standing_at = frame["standing"], time.time()
        told = self.coordinators()
        # Figures that move all the time are not told: who wants them asks.
        telling = (steady(told), [one.id for one in self.alerts()])
        if telling != self._told_standing:
            self._told_standing = telling
            self.readers.tell(wire.standing(json.dumps(told).encode()))

    def coordinators(self) -> dict[str, Any]:
        """How the coordinators stand, as this node sees them."""
        webs = {one["node"]: one["web"] for _, one in self.model.of_kind("coordinator")}
        led = (self.model.get("cluster") or {}).get("coordinators", {})
        return coordinators(self.hello, self.standing, self.standing_at, webs, led)

    @property
    def name(self) -> str:
        """What this node is called."""
        node = self.hello["node"]
        return str(self.hello["names"].get(str(node), node))

    def alerts(self) -> list[Alert]:
        """What is wrong, the worst first."""
        here = {**self.standing, "name": self.name}
        return alerts(self.model, self.now, coordinators=[here])

    @property
    def now(self) -> float:
        """The time by the clock of the scheduler that leads."""
        cluster = self.model.get("cluster")
        ahead = 0.0 if cluster is None else cluster["at"] - self.model.at
        return time.time() + ahead

    def whole(self) -> bytes:
        """All there is, as an event: the same bytes for all who are told it."""
        snapshot = self.model.snapshot()
        if self._whole is None or self._whole[0] is not snapshot:
            self._whole = (snapshot, wire.whole(snapshot, self.tag))
        return self._whole[1]

    def packed(self, body: bytes) -> bytes:
        """An answer as gzip has it; the snapshot is packed once until it is another."""
        if not self.model.is_snapshot(body):
            return _gzip(body)
        if self._packed is None or self._packed[0] is not body:
            self._packed = (body, _gzip(body))
        return self._packed[1]

    async def beginning(
        self, last: str | None, tell: Callable[[bytes], None]
    ) -> str | None:
        """Tell who comes what changed since he was here last.

        Returns
        -------
        str or None
            Why he is to be told all there is instead, nothing if he is new here; None
            if he has been told.
        """
        if last is None:
            return ""
        since = wire.read_id(last, self.tag)
        if since is None:
            return _NO_ID
        await self._reach(since)
        later = self.model.delta(since)
        if later is None:
            return _TOO_OLD
        for event in later:
            tell(wire.change(event, self.tag))
        return None

    async def _reach(self, since: EventId) -> None:
        """Wait until this node is as far, but not for long."""
        try:
            async with asyncio.timeout(CATCHING_UP_S):
                while self.model.id.index < since.index:
                    await self._moved.wait()
        except TimeoutError:
            pass

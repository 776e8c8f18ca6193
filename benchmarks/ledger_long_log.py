"""A cluster that starts from a log of millions of entries: opened, applied, compacted.

Two nodes of three are given the same log, written by `Wal` as appends of some entries,
nothing of it in a snapshot, as if nothing had ever been compacted. They open it, apply
it all, make snapshots and cut the log. Then the third, which was away from the first
entry on, takes part by a snapshot of another one, while writes go on.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ledger_cluster import CLUSTER, Cluster, rss_mb
from ledger_loads import command

from dtf_dask.ha.ledger.entries import encode_command, encode_entry
from dtf_dask.ha.ledger.kinds import PUT
from dtf_dask.ha.ledger.outcomes import Code
from dtf_dask.ha.node_folder import create_node
from dtf_dask.ha.raft.messages import NO_NODE, Entry, EntryKind, HardState, NodeId
from dtf_dask.ha.remote_ledger import RemoteLedger
from dtf_dask.ha.wal import Wal
from dtf_dask.ha.wal_opening import LogIdentity

_APPEND = 50
"""Entries of one append; a log that was written under load has more."""

_KEYS = 10_000
_VALUE = b"v" * 40
_POLL_S = 0.2

Say = Callable[[str, Any], None]


def write_log(folder: Path, node: int, count: int) -> float:
    """The log of a node; how many megabytes it has."""
    identity = LogIdentity(CLUSTER, NodeId(node))
    create_node(str(folder), identity, [NodeId(1), NodeId(2), NodeId(3)])
    if not count:
        return 0.0
    payloads = [
        encode_entry(0, [encode_command(PUT, "long", f"key{n}", _VALUE)])
        for n in range(_KEYS)
    ]
    wal = Wal.open(str(folder / "log"), identity)
    try:
        for first in range(2, count + 2, _APPEND):
            last = min(first + _APPEND - 1, count + 1)
            entries = [
                Entry(2, index, EntryKind.NORMAL, payloads[index % _KEYS])
                for index in range(first, last + 1)
            ]
            wal.append(entries, HardState(2, NO_NODE, last))
        wal.sync()
        return wal.bytes_used / 2**20
    finally:
        wal.close()


async def measure(count: int, say: Say) -> dict[str, Any]:
    """All figures."""
    found: dict[str, Any] = {"log_entries": count}
    with tempfile.TemporaryDirectory(prefix="dtf-bench-") as folder:
        made = Cluster(Path(folder), 3)
        for node in (1, 2):
            found["log_mb"] = round(write_log(made.folder / str(node), node, count), 1)
        write_log(made.folder / "3", 3, 0)
        say("the log", f"{count} entries, {found['log_mb']} MB on each of two nodes")
        managers = list(made.managers.values())
        try:
            async with made.client() as ledger:
                await _from_log(made, ledger, found, say)
                await _rejoined(made, ledger, found, say)
        finally:
            await asyncio.gather(*(one.stop() for one in managers))
    return found


async def _from_log(
    made: Cluster, ledger: RemoteLedger, found: dict[str, Any], say: Say
) -> None:
    """Two nodes open the log, apply it, and cut it."""
    begun = time.perf_counter()
    await asyncio.gather(*(made.managers[node].start() for node in (1, 2)))
    found["open_s"] = round(time.perf_counter() - begun, 1)
    say("opened after", f"{found['open_s']} s")
    leader = await made.leader(ledger)
    while (await ledger.status(leader))["applied"] < found["log_entries"]:
        await asyncio.sleep(_POLL_S)
    found["applied_s"] = round(time.perf_counter() - begun, 1)
    say("applied after", f"{found['applied_s']} s")
    while (status := await ledger.status(leader))["log_first_index"] < 3:
        # Two snapshots are kept: what is before the older of them goes.
        await ledger.propose([command(0)], 30.0)
        await asyncio.gather(*(ledger.snapshot(node, 300.0) for node in (1, 2)))
    found["compacted_to_entries"] = status["last_index"] - status["log_first_index"]
    found["compacted_to_mb"] = round(_log_mb(made, leader), 1)
    found["rss_mb"] = round(rss_mb(made.processes), 1)
    say("compacted to", f"{found['compacted_to_mb']} MB; memory {found['rss_mb']} MB")


async def _rejoined(
    made: Cluster, ledger: RemoteLedger, found: dict[str, Any], say: Say
) -> None:
    """The third node comes back, while writes go on."""
    written = 0

    async def write() -> None:
        nonlocal written
        while True:
            (outcome,) = await ledger.propose([command(written)], 30.0)
            if outcome.code is not Code.OK:
                raise RuntimeError(f"a write was not done: {outcome}")
            written += 1

    writers = [asyncio.ensure_future(write()) for _ in range(100)]
    await asyncio.sleep(1.0)
    begun, before = time.perf_counter(), written
    await made.managers[3].start()
    status = await made.whole(ledger)
    own = await ledger.status(3)
    seconds = time.perf_counter() - begun
    found["rejoined_s"] = round(seconds, 2)
    found["rejoined_by_snapshot"] = own["log_first_index"] > 2
    found["writes_per_s_meanwhile"] = round((written - before) / seconds)
    found["elections"] = status["elections"]
    for one in writers:
        one.cancel()
    await asyncio.gather(*writers, return_exceptions=True)
    say(
        "rejoined after", f"{seconds:.2f} s, {found['writes_per_s_meanwhile']} writes/s"
    )


def _log_mb(made: Cluster, node: int) -> float:
    folder = made.folder / str(node) / "log"
    return sum(entry.stat().st_size for entry in os.scandir(folder)) / 2**20

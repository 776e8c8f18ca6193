"""What the log of a node costs: appends with a sync each, CPU an entry, opening.

    python benchmarks/bench_wal.py [--quick] [--json]

Entries of 200 bytes, on the disk of the temporary folder (``TMPDIR``). The sync of the
bare disk, of as many bytes, is measured beside each batch size: the log cannot be
faster. Opening reads, checks and replays everything.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from random import Random

from dtf_dask.ha.raft.messages import Entry, EntryKind, HardState, NodeId
from dtf_dask.ha.wal import Wal, WalLimits
from dtf_dask.ha.wal_opening import LogIdentity

WHO = LogIdentity("bench", NodeId(1))
PAYLOAD_BYTES = 200
BATCHES = (1, 10, 100, 1_000)


def entries_from(first: int, count: int, payload: bytes) -> list[Entry]:
    return [
        Entry(1, index, EntryKind.NORMAL, payload)
        for index in range(first, first + count)
    ]


def appends(folder: Path, batch: int, seconds: float) -> dict[str, float]:
    """Append and sync, one batch after the other."""
    wal = Wal.create(str(folder), WHO)
    payload = Random(1).randbytes(PAYLOAD_BYTES)
    done, cpu, syncs = 0, 0.0, []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        entries = entries_from(done + 1, batch, payload)
        state = HardState(1, NodeId(1), done)
        before = time.thread_time()
        wal.append(entries, state)
        cpu += time.thread_time() - before
        asked = time.perf_counter()
        wal.sync()
        syncs.append(time.perf_counter() - asked)
        done += batch
    wall = time.perf_counter() - began
    wal.close()
    syncs.sort()
    return {
        "entries_per_s": round(done / wall),
        "append_cpu_us_per_entry": round(cpu / done * 1e6, 2),
        "sync_ms_p50": round(syncs[len(syncs) // 2] * 1e3, 3),
        "sync_ms_p99": round(syncs[int(len(syncs) * 0.99)] * 1e3, 3),
        "bare_syncs_per_s": round(bare_syncs(folder, batch, seconds / 2)),
        "syncs_per_s": round(len(syncs) / wall),
    }


def bare_syncs(folder: Path, batch: int, seconds: float) -> float:
    """How often the disk itself takes as many bytes."""
    content = os.urandom(batch * PAYLOAD_BYTES)
    done = 0
    with (folder / "bare").open("wb", buffering=0) as file:
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            file.write(content)
            os.fdatasync(file.fileno())
            done += 1
        return done / (time.perf_counter() - began)


def opening(folder: Path, count: int, batch: int) -> dict[str, float]:
    """A log of many entries, written in batches, then opened and read."""
    wal = Wal.create(str(folder), WHO, WalLimits())
    payload = Random(1).randbytes(PAYLOAD_BYTES)
    for first in range(1, count + 1, batch):
        wal.append(entries_from(first, batch, payload))
    wal.sync()
    wal.close()
    began = time.perf_counter()
    wal = Wal.open(str(folder), WHO)
    opened = time.perf_counter() - began
    began, first = time.perf_counter(), 1
    while first <= count:
        first += len(wal.entries(first, count + 1, 2**20))
    read = time.perf_counter() - began
    size = wal.bytes_used
    wal.close()
    return {
        "entries": count,
        "batch": batch,
        "mb": round(size / 1e6),
        "open_s": round(opened, 3),
        "read_all_s": round(read, 3),
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    seconds, count = (2.0, 200_000) if given.quick else (6.0, 1_000_000)
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        figures = {
            "machine": f"{platform.processor() or platform.machine()},"
            f" {os.cpu_count()} cores, Python {platform.python_version()}",
            "appends": {
                str(batch): appends(base / f"append{batch}", batch, seconds)
                for batch in BATCHES
            },
            "opening": [
                opening(base / f"open{batch}", count, batch) for batch in (1, 100)
            ],
        }
    if given.json:
        print(json.dumps(figures))
        return
    for batch, one in figures["appends"].items():  # type: ignore[union-attr]
        print(f"batches of {batch}: {one}")
    for one in figures["opening"]:
        print(f"opening: {one}")


if __name__ == "__main__":
    main()

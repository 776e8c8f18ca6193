"""A process that writes a log is killed, again and again.

For more rounds: ``python tests/ha/test_wal_killed.py --rounds 1000``.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

from dtf_dask.ha.raft.messages import Entry, EntryKind, HardState, NodeId, SnapshotPoint
from dtf_dask.ha.wal import Wal, WalLimits
from dtf_dask.ha.wal_opening import LogIdentity

WHO = LogIdentity("lab", NodeId(1))
LIMITS = WalLimits(segment_bytes=300_000)


def payload(index: int) -> bytes:
    """What every process writes at an index: so any reader can tell."""
    return Random(index).randbytes(index * 7919 % 3_000)


def write(folder: str) -> None:
    """Append for ever; say on standard output what is on the disk."""
    if Wal.exists(folder):
        wal = Wal.open(folder, WHO, LIMITS)
    else:
        wal = Wal.create(folder, WHO, LIMITS)
    random = Random()
    while True:
        first = wal.last_index + 1
        entries = [
            Entry(1, index, EntryKind.NORMAL, payload(index))
            for index in range(first, first + random.randint(1, 100))
        ]
        last = entries[-1].index
        point = SnapshotPoint(first - 1, 1) if first > 500 else None
        wal.append(entries, HardState(1, NodeId(1), first - 1), point)
        wal.sync()
        os.write(1, b"%d\n" % last)
        if wal.point.index - wal.first_index > 2_000:
            wal.compact(wal.point.index - 500)


def kill_again_and_again(folder: Path, rounds: int, seed: int) -> int:
    """How many entries the log has in the end; every acknowledged one is checked."""
    random = Random(seed)
    acknowledged = 0
    for _ in range(rounds):
        child = subprocess.Popen(
            [sys.executable, __file__, "--write", str(folder)], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        with child:
            lines = random.randint(1, 40)
            for _ in range(lines):
                line = child.stdout.readline()
                assert line, "the writer ended by itself"
                acknowledged = int(line)
            for _ in range(random.randint(0, 20_000)):
                pass  # into the middle of what it does next
            child.send_signal(signal.SIGKILL)
            for line in child.stdout:
                if line.endswith(b"\n"):
                    acknowledged = int(line)
        wal = Wal.open(str(folder), WHO, LIMITS)
        assert wal.last_index >= acknowledged
        assert wal.state.commit < wal.last_index
        first = wal.first_index
        assert first <= wal.point.index + 1
        while first <= wal.last_index:
            for entry in wal.entries(first, wal.last_index + 1, 2**20):
                assert entry == Entry(1, first, EntryKind.NORMAL, payload(first))
                first += 1
        wal.close()
    return acknowledged


def test_killed_in_the_middle_of_writing(tmp_path: Path) -> None:
    """After each kill -9 every entry is there that the process had said was."""
    assert kill_again_and_again(tmp_path / "log", rounds=6, seed=1) > 100


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--write")
    given = parser.parse_args()
    if given.write:
        write(given.write)
    with tempfile.TemporaryDirectory() as folder:
        print(kill_again_and_again(Path(folder) / "log", given.rounds, 2))

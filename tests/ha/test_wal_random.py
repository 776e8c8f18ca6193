"""The log under everything that may happen to it, from seeds.

For more of them: ``python tests/ha/test_wal_random.py --seeds 100000``.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from random import Random

import pytest
from faulty_disk import FaultyDisk
from hypothesis import given, settings
from hypothesis import strategies as st
from log_model import LogModel, held, step

from dtf_dask.errors import (
    DiskFullError,
    LedgerDamagedError,
    LedgerDiskError,
    LedgerFolderError,
)
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.ha.wal import Wal, WalLimits
from dtf_dask.ha.wal_opening import LogIdentity

WHO = LogIdentity("lab", NodeId(1))
SMALL = WalLimits(segment_bytes=6_000, entry_bytes_max=4_000, part_bytes=5_000)


class Life:
    """A log on a faulty disk, what it must hold, and what it held since its sync."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.disk = FaultyDisk()
        self.wal = Wal.create("log", WHO, SMALL, self.disk)
        self.model = LogModel()
        self.since_sync = [self.model]
        """What may be found after a crash: the log may sync by itself, but not less."""
        self.torn = 0

    def one_step(self) -> None:
        random = self.random
        if random.random() < 0.02:
            self.disk.bytes_max = self.disk.bytes_max - self.disk.room()
            self.disk.bytes_max += random.randint(0, 3_000)
        self.disk.writes_short = random.random() < 0.1
        kind = random.random()
        if kind < 0.25:
            self.wal.sync()
            self.since_sync = [self.model]
        elif kind < 0.35:
            self.compact()
        else:
            model, given = step(self.model, random)
            self.since_sync.append(model)  # if it fails, it may be there all the same
            try:
                self.wal.append(**given)  # type: ignore[arg-type]
            except DiskFullError:
                self.since_sync.pop()
                assert held(self.wal) == self.model
                self.disk.bytes_max = 2**62
                return
            self.model = model

    def compact(self) -> None:
        try:
            self.wal.compact(self.wal.point.index)
        except DiskFullError:
            self.disk.bytes_max = 2**62
            return
        self.since_sync = [self.model]
        assert self.wal.first_index <= self.wal.point.index + 1

    def reopen(self) -> None:
        self.wal = Wal.open("log", WHO, SMALL, self.disk)
        self.torn += self.wal.cut is not None
        found = held(self.wal)
        assert found in self.since_sync
        self.model = found
        self.since_sync = [found]


def live(seed: int, *, crashes: int, flip: bool) -> str:
    """One life; whether it was ``refused`` at its end, or ``kept`` everything."""
    life = Life(seed)
    for _ in range(crashes):
        for _ in range(life.random.randint(1, 25)):
            life.one_step()
        if life.random.random() < 0.2:
            life.wal.close()
        else:
            life.disk.crash(life.random)
        if flip and life.random.random() < 0.5:
            life.disk.flip(life.random, ".log")
            try:
                life.reopen()
            except (LedgerDamagedError, LedgerFolderError):
                return "refused"
        else:
            life.reopen()
    return "torn" if life.torn else "kept"


@settings(max_examples=150)
@given(st.integers(0, 2**32), st.lists(st.sampled_from("aaaascr"), max_size=40))
def test_any_sequence_equals_the_model(seed: int, steps: list[str]) -> None:
    """Appends, cuts, syncs, compactions and restarts: what is read is what was put."""
    life = Life(seed)
    for kind in steps:
        if kind == "a":
            life.model, given = step(life.model, life.random)
            life.wal.append(**given)  # type: ignore[arg-type]
            life.since_sync.append(life.model)
        elif kind == "s":
            life.wal.sync()
        elif kind == "c":
            life.compact()
        else:
            life.wal.close()
            life.since_sync = [life.model]
            life.reopen()
        assert held(life.wal) == life.model


def test_a_crash_loses_nothing_that_was_synced() -> None:
    """After any crash the log is as it was at its last sync, or at a later append."""
    ends = [live(seed, crashes=4, flip=False) for seed in range(300)]
    assert ends.count("torn") > 30  # else the disk is too kind to prove anything


def test_a_flipped_bit_is_refused_or_harmless() -> None:
    """A bit that flips anywhere changes nothing that is read, and loses nothing."""
    ends = [live(seed, crashes=3, flip=True) for seed in range(1_000, 1_400)]
    assert ends.count("refused") > 100


@pytest.mark.parametrize("operation", ["sync", "sync_folder", "write", "truncate"])
def test_a_failing_disk_loses_nothing_that_was_synced(operation: str) -> None:
    """Whatever fails, and whenever: the log stops, and holds what it had synced."""
    failed = 0
    for seed in range(60):
        life = Life(seed)
        life.disk.fails[operation] = life.random.randint(0, 25)
        try:
            for _ in range(60):
                life.one_step()
        except LedgerDiskError:
            failed += 1
            with pytest.raises(LedgerDiskError):
                life.wal.append([], life.model.state)
            with pytest.raises(LedgerDiskError):
                life.wal.sync()
        life.disk.fails.clear()
        life.disk.crash(life.random)
        life.reopen()
    assert failed > (0 if operation == "truncate" else 10)


def main() -> int:
    """Many seeds; those that fail are named, and each replays by itself."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    ends: dict[str, int] = {}
    for seed in range(given.first, given.first + given.seeds):
        try:
            end = live(seed, crashes=4, flip=seed % 2 == 1)
        except Exception:
            traceback.print_exc()
            print("seed", seed)
            return 1
        ends[end] = ends.get(end, 0) + 1
    print(ends)
    return 0


if __name__ == "__main__":
    sys.exit(main())

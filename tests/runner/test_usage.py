"""What a test takes of the machine is its own, not what ran before it."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from dtf_dask.worker_plugins.runner.usage import Usage

MIB = 2**20


def test_cpu_time_is_counted_from_the_beginning() -> None:
    """Of this process and of children that ended; waiting takes none."""
    usage = Usage()
    usage.begin()
    time.sleep(0.05)
    waited = usage.taken()["cpu_s"]
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    busy = usage.taken()["cpu_s"]
    assert busy - waited >= 0.09
    subprocess.run([sys.executable, "-c", "sum(range(10**6))"], check=True)
    assert usage.taken()["cpu_s"] > busy
    usage.begin()
    assert usage.taken()["cpu_s"] < busy


def test_the_most_memory_is_that_of_one_test() -> None:
    """What one had and gave back is not said of the next."""
    usage = Usage()
    usage.begin()
    before = usage.taken()["memory"]
    large = bytearray(200 * MIB)
    large[::4096] = b"x" * len(large[::4096])
    del large
    with_it = usage.taken()["memory"]
    assert with_it - before > 150 * MIB
    usage.begin()
    if usage._can_begin:
        assert with_it - usage.taken()["memory"] > 100 * MIB


def test_where_it_cannot_begin_anew_nothing_wrong_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rather no figure than that of all tests before."""
    usage = Usage()
    monkeypatch.setattr(usage, "_can_begin", False)
    usage.begin()
    assert "memory" not in usage.taken()

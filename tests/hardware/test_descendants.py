"""What the processes below a worker take is measured."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from dtf_dask.worker_plugins.hardware.descendants import Descendants

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is read in /proc")

BURNS = "print(flush=True)\nheld = bytearray(50 << 20)\nwhile True: pass"


def test_what_tests_take_is_seen_with_what_they_start() -> None:
    """CPU and memory of a process and of those below it; nothing when they are gone."""
    script = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURNS!r}])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        below = Descendants()
        while True:
            told = below.measure(time.monotonic())
            if told["cpu"] > 0.05 and told["memory"] > 50 << 20:
                break
            time.sleep(0.1)
        assert told["cpu"] < 2 * (os.cpu_count() or 1)
        os.killpg(child.pid, 9)
    assert Descendants(child.pid).measure(0.0) == {}

"""What a command that tries failovers leaves behind, however it ends."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
from stage import WAIT_S

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_workers_end_with_who_started_them(tmp_path: Path) -> None:
    """Here by kill -9: nothing of it can end them."""
    code = f"""
        import time
        from pathlib import Path
        from failover_cluster import FailoverCluster

        made = FailoverCluster(Path({str(tmp_path)!r}), 1, tls=False)
        made.start_worker("w")
        print(made.workers["w"].pid, flush=True)
        time.sleep(600)
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        cwd=BENCHMARKS,
    )
    with owner:
        assert owner.stdout is not None
        worker = psutil.Process(int(owner.stdout.readline()))
        owner.kill()
    _, left = psutil.wait_procs([worker], WAIT_S)
    for one in left:
        one.kill()
    assert left == []

"""A short trial of failovers: it is the command that is run for longer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [
    *(sys.executable, str(Path(__file__).parent / "failover" / "run_failover.py")),
    *("--minutes", "2", "--takeovers", "2", "--seed", "6", "--pause", "1", "--json"),
    *("--faults", "kill,stop", "--workers", "2", "--clients", "2", "--no-runs"),
]


@pytest.mark.drill
@pytest.mark.timeout(400)
def test_work_goes_on_whoever_leads() -> None:
    """Values are right, nothing runs again, nothing is left: while a leader is killed,
    and another one is stopped."""
    done = subprocess.run(
        COMMAND, capture_output=True, text=True, timeout=350, check=False
    )
    shown = done.stdout + done.stderr
    assert done.stdout, shown
    found = json.loads(done.stdout)
    assert (done.returncode, found["broken"], found["reruns"]) == (0, [], []), shown
    assert found["faults"] == {"kill": 1, "stop": 1}
    assert found["takeovers"] >= 2
    assert found["tasks_checked"] > 20
    assert found["excused"] == {}

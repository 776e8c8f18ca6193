"""A short trial, of all that there is: it is the command that is run for longer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(__file__).parent / "run_chaos.py"


@pytest.mark.timeout(240)
def test_a_cluster_keeps_its_word_while_all_goes_wrong(tmp_path: Path) -> None:
    """Nothing acknowledged is lost, what clients saw has an order, the states of all
    nodes are equal, and clients can write again."""
    done = subprocess.run(
        [
            *(sys.executable, str(COMMAND), "--minutes", "0.2", "--seed", "11"),
            *("--hold", "2.5", "--rate", "100", "--json"),
            *("--keep", str(tmp_path / "kept")),
        ],
        capture_output=True,
        text=True,
        timeout=230,
    )
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert done.returncode == 0, (found["broken"], done.stderr)
    assert found["broken"] == []
    assert found["linearizable"]
    assert found["compared"] >= 1
    assert found["keys_checked"] > 0
    assert found["acknowledged"] > 20
    assert sum(found["faults"].values()) >= 1
    again = [sys.executable, str(COMMAND), "--check", str(tmp_path / "kept")]
    assert subprocess.run(again, timeout=60, check=False).returncode == 0

"""A short trial, of all that there is: it is the command that is run for longer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, str(Path(__file__).parent / "run_chaos.py")]
FAULTS = 3


@pytest.mark.drill
@pytest.mark.timeout(500)
def test_a_cluster_keeps_its_word_while_all_goes_wrong(tmp_path: Path) -> None:
    """Nothing acknowledged is lost, what clients saw has an order, the states of all
    nodes are equal, every client can write again; Ctrl-C ends it with all checks."""
    kept = tmp_path / "kept"
    words = ["--minutes", "4", "--seed", "51", "--hold", "2", "--rate", "100"]
    trial = subprocess.Popen(
        [*COMMAND, *words, "--json", "--keep", str(kept)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert trial.stderr is not None
    said = []
    for line in trial.stderr:
        said.append(line)
        if sum("without a write" in one for one in said) == FAULTS:
            trial.send_signal(signal.SIGINT)
            break
    stdout, stderr = trial.communicate(timeout=400)
    shown = "".join(said) + stderr
    assert stdout, shown
    found = json.loads(stdout)
    assert (trial.returncode, found["broken"], found["undecided"]) == (0, [], []), shown
    assert found["linearizable"]
    assert found["compared"] >= 1
    assert found["keys_checked"] > 0
    assert found["acknowledged"] > 20
    assert sum(found["faults"].values()) >= FAULTS
    assert not found["skipped"] or os.geteuid() != 0, found["skipped"]
    assert found["seconds"] < 240
    again = subprocess.run([*COMMAND, "--check", str(kept)], timeout=60, check=False)
    assert again.returncode == 0

"""Nodes under random troubles; many more seeds: `python tests/ha/node_seeds.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from machine_pace import slowness
from node_seeds import run_seed


@pytest.mark.logs(
    "no room to write",
    "there is room on its disk again",
    r"node \d stops: .*cannot be written: Input/output error",
    "no snapshot could be made: .*(Input/output error|no room)",
    "was not fetched",
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nodes_agree_and_what_clients_saw_has_an_order(
    tmp_path: Path, seed: int
) -> None:
    """With nodes that go down and lose what was not synced, full disks, cut links,
    members that come and go, leaders that hand over: each write is done once, nothing
    that was acknowledged is lost, no read is stale, and all states are equal."""
    report = run_seed(seed, tmp_path, seconds=2 * min(slowness(), 5))
    assert not report.wrong, f"seed {seed}: {report.wrong}"
    assert report.counts["write OK"] > 10
    assert report.counts["read"] > 10

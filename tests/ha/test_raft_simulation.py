"""Raft in a simulated world: some seeds, and that it sees what is wrong.

Many more seeds: `python tests/ha/simulate_raft.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from simulation.invariants import Violation
from simulation.seeds import SeedReport, run_seed

from dtf_dask.ha.raft import following, replication
from dtf_dask.ha.raft.core import PROMISES, Core
from dtf_dask.ha.raft.messages import (
    Message,
    MessageKind,
)

COMMAND = Path(__file__).with_name("simulate_raft.py")
SEEDS_EACH = 75


@pytest.mark.parametrize("start", range(0, 300, SEEDS_EACH))
def test_no_seed_breaks_a_rule(start: int) -> None:
    """Whatever happens: one leader a term, one log, one order, no read of the past.

    And once the trouble ends, the group comes to agree and to answer.
    """
    reports = [run_seed(seed) for seed in range(start, start + SEEDS_EACH)]
    together: Counter[str] = Counter()
    for report in reports:
        together += Counter(report.counts)
    # The rules were put to the test: each kind of trouble and of success happened.
    assert together.keys() >= {
        *("crashes", "lost", "restored", "simple", "joint", "read", "write"),
    }
    assert sum(report.committed for report in reports) > 12 * SEEDS_EACH
    assert sum(report.elections for report in reports) > 1.3 * SEEDS_EACH
    assert sum(report.came_to_rest for report in reports) >= 0.9 * SEEDS_EACH


def test_a_seed_is_the_same_run_in_any_process() -> None:
    """Two processes with other orders of sets write the same trace."""
    traces = {
        subprocess.run(
            [sys.executable, str(COMMAND), "--trace", "7"],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(traces) == 1
    assert len(traces.pop().splitlines()) > 100


def commits_any_term(core: Core) -> bool:
    index = core.tracker.committed()
    if index > core.log.commit:
        core.log.commit = index
        return True
    return False


def sends_at_once(core: Core, message: Message) -> None:
    core.outbox.append(message)


def takes_all_for_applied(core: Core, message: Message, index: int) -> None:
    core.promises.append(
        Message(
            MessageKind.APPEND_RESPONSE,
            message.sender,
            core.node,
            core.term,
            log_index=index + 1,
        )
    )


def run_seeds(count: int) -> None:
    for seed in range(count):
        run_seed(seed)


@pytest.mark.parametrize(
    ("owner", "name", "broken", "says"),
    [
        (replication, "maybe_commit", commits_any_term, "by counting"),
        (Core, "send", sends_at_once, "its disk says|not on its disk|its disk ends"),
        (following, "_acknowledge", takes_all_for_applied, "its disk ends"),
    ],
)
def test_it_sees_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    broken: Callable[..., Any],
    says: str,
) -> None:
    """With a rule of Raft left out, some seed soon breaks a rule of the simulation."""
    monkeypatch.setattr(owner, name, broken)
    if name == "maybe_commit":
        for module in ("leading", "membership"):
            monkeypatch.setattr(f"dtf_dask.ha.raft.{module}.maybe_commit", broken)
    with pytest.raises(Violation, match=says):
        run_seeds(400)


def test_the_command_says_which_seeds_are_broken(tmp_path: Path) -> None:
    """It ends with 0 if none is, and its last line is an object."""
    done = subprocess.run(
        [sys.executable, str(COMMAND), "--seeds", "3", "--processes", "1", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert '"broken": []' in done.stdout.splitlines()[-1]


def test_promises_are_what_the_simulation_watches() -> None:
    """Votes and acknowledgements wait for the disk: no kind of promise is forgotten."""
    assert {kind.name for kind in PROMISES} == {
        *("APPEND_RESPONSE", "VOTE", "VOTE_RESPONSE", "PRE_VOTE_RESPONSE"),
    }


def test_a_report_counts_what_happened() -> None:
    """The same seed gives the same report."""
    first, second = run_seed(11), run_seed(11)
    assert first == second
    assert isinstance(first, SeedReport)
    assert first.steps > 100

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
from random import Random
from typing import Any

import pytest
from simulation.invariants import Violation
from simulation.seeds import SeedReport, run_seed

from dtf_dask.ha.raft import following, replication
from dtf_dask.ha.raft.config_change import Unchanged
from dtf_dask.ha.raft.config_codec import encoded
from dtf_dask.ha.raft.core import PROMISES, Core
from dtf_dask.ha.raft.messages import (
    ConfigChange,
    ConfigState,
    ConfigStep,
    Entry,
    Message,
    MessageKind,
    NodeId,
    Snapshot,
    SnapshotPoint,
    StepKind,
)
from dtf_dask.ha.raft.options import RaftOptions
from dtf_dask.ha.raft.outcomes import Outcome
from dtf_dask.ha.raft.raw_node import RawNode
from dtf_dask.ha.raft.storage import MemoryStorage

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


def alone_after(node: RawNode, storage: MemoryStorage) -> None:
    """Write and apply all that a node asks for, with no other node answering."""
    while node.has_ready():
        ready = node.ready()
        storage.append(ready.entries)
        if ready.hard_state is not None:
            storage.hard_state = ready.hard_state
        for entry in ready.committed:
            if entry.kind:
                node.apply_change(entry)
        node.advance()


def test_reads_are_answered_when_the_group_shrinks_to_one() -> None:
    """A round of reads that waited for a removed node is done with the removal.

    Seed 2768 found it: nobody was left to answer a heartbeat.
    """
    storage = MemoryStorage()
    both = ConfigState(voters=(NodeId(1), NodeId(2)))
    storage.restore(Snapshot(SnapshotPoint(1, 1, both)))
    options = RaftOptions(NodeId(1), read_rounds_max=1)
    node = RawNode(options, storage, Random(1))
    answer = {"to": NodeId(1), "sender": NodeId(2), "term": 1}
    node.campaign()
    alone_after(node, storage)
    node.step(Message(MessageKind.VOTE_RESPONSE, **answer))  # type: ignore[arg-type]
    alone_after(node, storage)
    last = node.core.log.last_index()
    node.step(
        Message(MessageKind.APPEND_RESPONSE, log_index=last, **answer)  # type: ignore[arg-type]
    )
    assert node.read_index(7) is Outcome.DONE
    alone_after(node, storage)
    removal = ConfigChange((ConfigStep(StepKind.REMOVE, NodeId(2)),))
    assert node.propose_change(removal) is Outcome.DONE
    node.step(
        Message(MessageKind.APPEND_RESPONSE, log_index=last + 1, **answer)  # type: ignore[arg-type]
    )
    reads: list[int] = []
    while node.has_ready():
        ready = node.ready()
        storage.append(ready.entries)
        for entry in ready.committed:
            if entry.kind:
                node.apply_change(entry)
        reads += [number for state in ready.read_states for number in state.reads]
        node.advance()
    assert reads == [7]


def test_a_change_that_a_snapshot_has_overtaken_changes_nothing() -> None:
    """The members are those of the snapshot, though older entries are applied late.

    Seed 2593 of an earlier simulation found it: the entry was with the state machine
    when the snapshot came.
    """
    storage = MemoryStorage()
    four = ConfigState(voters=tuple(map(NodeId, (1, 2, 3, 4))))
    storage.restore(Snapshot(SnapshotPoint(1, 1, four)))
    node = RawNode(RaftOptions(NodeId(1), async_storage=True), storage, Random(1))
    written = encoded(ConfigChange((ConfigStep(StepKind.REMOVE, NodeId(4)),)))
    assert written is not None
    removal = Entry(2, 2, *written)
    head = {"to": NodeId(1), "sender": NodeId(2), "term": 2}
    append = Message(
        MessageKind.APPEND,
        log_term=1,
        log_index=1,
        commit=2,
        entries=[removal],
        **head,  # type: ignore[arg-type]
    )
    node.step(append)
    (write,) = (one for one in node.ready().messages if one.entries)
    storage.append(write.entries)
    for response in write.responses:
        if response.to == 1:
            node.step(response)
    (apply,) = (one for one in node.ready().messages if one.entries)
    assert list(apply.entries) == [removal]
    # The node was added again at 3, and the snapshot says so.
    snapshot = Snapshot(SnapshotPoint(3, 2, four))
    node.step(Message(MessageKind.SNAPSHOT, snapshot=snapshot, **head))  # type: ignore[arg-type]
    assert node.apply_change(removal) is Unchanged.OVERTAKEN
    assert node.status().config == four
    (write,) = (one for one in node.ready().messages if one.snapshot)
    storage.restore(snapshot)
    for response in write.responses:
        if response.to == 1:
            node.step(response)
    assert node.apply_change(removal) is Unchanged.OVERTAKEN
    assert node.status().config == four


def test_promises_are_what_the_simulation_watches() -> None:
    """Votes and acknowledgements wait for the disk: no kind of promise is forgotten."""
    assert {kind.name for kind in PROMISES} == {
        *("APPEND_RESPONSE", "VOTE_RESPONSE", "PRE_VOTE_RESPONSE"),
    }


def test_a_report_counts_what_happened() -> None:
    """The same seed gives the same report."""
    first, second = run_seed(11), run_seed(11)
    assert first == second
    assert isinstance(first, SeedReport)
    assert first.steps > 100

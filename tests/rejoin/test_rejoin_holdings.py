"""Dropping what has not begun, out of every state that Dask's machine can be in."""

from __future__ import annotations

import random
from typing import Any, cast

import pytest
from distributed import Worker
from distributed.worker_state_machine import (
    AcquireReplicasEvent,
    ComputeTaskEvent,
    Execute,
    ExecuteFailureEvent,
    ExecuteSuccessEvent,
    FreeKeysEvent,
    GatherDep,
    GatherDepNetworkFailureEvent,
    GatherDepSuccessEvent,
    Instruction,
    SecedeEvent,
    UpdateDataEvent,
    WorkerState,
)

from dtf_dask.durable.inventory import read_inventory
from dtf_dask.worker_plugins import dask_holdings

SEEDS = 150
EVENTS = 60
_PEERS = ("tcp://peer:1", "tcp://peer:2")


class Machine:
    """Dask's state machine of a worker, and what it has asked for and not got yet."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.id = "w"
        self.state = WorkerState(
            nthreads=2, address="tcp://here:1", validate=True, resources={"R": 1}
        )
        self.runs: list[str] = []
        self.fetches: list[GatherDep] = []
        self.number = 0

    def handle_stimulus(self, event: Any) -> None:
        """As `Worker.handle_stimulus`."""
        for one in self.state.handle_stimulus(event):
            self._take(one)
        self.state.validate_state()

    def _take(self, one: Instruction) -> None:
        if isinstance(one, Execute):
            self.runs.append(cast(str, one.key))
        elif isinstance(one, GatherDep):
            self.fetches.append(one)

    def step(self) -> None:
        """Something happens: the scheduler asks, a thread ends, a peer answers."""
        pick = self.random.choice
        key = f"k{self.random.randrange(25)}"
        match self.random.randrange(8):
            case 0 | 1 | 2:
                self.compute(key)
            case 3 if self.runs:
                self.end(self.random.random() < 0.8)
            case 4 if self.fetches:
                self.answer(self.random.random() < 0.7)
            case 5 if self.runs:
                self.handle_stimulus(
                    SecedeEvent(
                        key=pick(self.runs), compute_duration=1.0, stimulus_id="s"
                    )
                )
            case 6:
                self.handle_stimulus(FreeKeysEvent(keys=[key], stimulus_id="f"))
            case 7 if key not in self.state.tasks:
                replica = self.random.random() < 0.5
                self.handle_stimulus(
                    AcquireReplicasEvent(
                        who_has={key: list(_PEERS)}, nbytes={key: 8}, stimulus_id="a"
                    )
                    if replica
                    else UpdateDataEvent(data={key: 1}, stimulus_id="u")
                )

    def compute(self, key: str) -> None:
        """Asked only of what is not known here, as a scheduler does."""
        if key in self.state.tasks:
            return
        self.number += 1
        needs = [f"d{self.random.randrange(12)}" for _ in range(2)]
        self.handle_stimulus(
            ComputeTaskEvent.dummy(
                key,
                run_id=self.number,
                who_has={need: [self.random.choice(_PEERS)] for need in needs},
                resource_restrictions={"R": 1} if self.random.random() < 0.3 else {},
                stimulus_id=f"c{self.number}",
            )
        )

    def end(self, well: bool) -> None:
        key = self.runs.pop(self.random.randrange(len(self.runs)))
        run_id = self.state.tasks[key].run_id
        event = ExecuteSuccessEvent if well else ExecuteFailureEvent
        self.handle_stimulus(event.dummy(key, run_id=run_id, stimulus_id="e"))

    def answer(self, well: bool) -> None:
        asked = self.fetches.pop(self.random.randrange(len(self.fetches)))
        self.handle_stimulus(
            GatherDepSuccessEvent(
                worker=asked.worker,
                total_nbytes=asked.total_nbytes,
                data=dict.fromkeys(asked.to_gather, 1),
                stimulus_id="g",
            )
            if well
            else GatherDepNetworkFailureEvent(
                worker=asked.worker, total_nbytes=asked.total_nbytes, stimulus_id="n"
            )
        )


@pytest.mark.parametrize("everything", [False, True], ids=["unbegun", "all"])
def test_what_is_kept_is_what_is_told(everything: bool) -> None:
    """Results, errors and what runs stay, to the last one; nothing else does.

    The state is sound afterwards, also when threads and peers answer late.
    """
    seen: set[str] = set()
    for seed in range(SEEDS):
        machine = Machine(seed)
        for _ in range(machine.random.randrange(EVENTS)):
            machine.step()
        state, worker = machine.state, cast(Worker, machine)
        seen |= {task.state for task in state.tasks.values()}
        kept = {
            key: task.state
            for key, task in state.tasks.items()
            if task.state in ("memory", "error", "executing", "long-running")
        }
        running = sorted(machine.runs)
        dask_holdings.drop(worker, None if everything else dask_holdings.UNBEGUN, "t")
        now = {key: task.state for key, task in state.tasks.items()}
        brought = read_inventory(dask_holdings.inventory(worker, 1).words())
        assert sorted(machine.runs) == running  # nothing new has begun
        told = {
            **{one.key: "memory" for one in brought.memory},
            **{one.key: "error" for one in brought.erred},
            **{
                one.key: "long-running" if one.seceded else "executing"
                for one in brought.running
            },
        }
        assert told == ({} if everything else kept), seed
        assert set(now.values()) <= {*kept.values(), "cancelled", "released"}
        gone = {one.key for one in brought.parting}
        assert sorted(
            [*gone, *(one.key for one in brought.running)], key=str
        ) == sorted(set(running))
        while machine.runs:
            machine.end(True)
        while machine.fetches:
            machine.answer(machine.random.random() < 0.5)
        left = {task.state for task in state.tasks.values()}
        assert left <= {"memory", "error"}
        if everything:
            assert not state.tasks
            assert not state.data
    assert seen >= dask_holdings.UNBEGUN - {"missing", "resumed"}

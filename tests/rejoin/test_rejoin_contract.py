"""The seam to Dask's worker: what it uses is there, and who has it not is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dask.utils import typename
from distributed import Worker
from distributed.comm.core import CommClosedError
from distributed.protocol import Serialize
from distributed.protocol.core import dumps, loads
from distributed.shuffle._worker_plugin import ShuffleWorkerPlugin
from distributed.worker_state_machine import TaskState, WorkerState
from free_contact import free_contact
from rejoin_kit import leading, run, working

from dtf_dask.durable.serialized import pack, unpack
from dtf_dask.errors import ProtocolError
from dtf_dask.worker_plugins import dask_holdings, dask_rejoin
from dtf_dask.worker_plugins.rejoin import NAME


def test_the_installed_dask_has_what_the_seam_uses(tmp_path: Path) -> None:
    """Of a real worker: names, call sites, and words that are said."""

    async def check() -> None:
        contact = free_contact()
        async with leading(contact, 1), working(contact, tmp_path) as worker:
            assert dask_rejoin.broken(worker) == ()
            assert worker.plugins[NAME].failure == ""
            shuffle = worker.extensions["shuffle"]
            assert isinstance(shuffle, ShuffleWorkerPlugin)
            assert isinstance(shuffle.shuffle_runs._active_runs, dict)

    run(check)


def test_states_are_those_of_dask() -> None:
    """Every state of a task is either dropped, told, or none that lasts."""
    known = {state for pair in WorkerState._TRANSITIONS_TABLE for state in pair}
    told = {"memory", "error", "executing", "long-running", "cancelled"}
    passing = {"released", "forgotten", "rescheduled"}
    assert known == dask_holdings.UNBEGUN | told | passing
    for state in dask_holdings.UNBEGUN:
        assert (state, "released") in WorkerState._TRANSITIONS_TABLE


@pytest.mark.logs("ends when its scheduler does: Dask has no")
def test_a_worker_of_another_dask_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is replaced on a guess: it says so, and ends with its scheduler."""
    monkeypatch.setattr(dask_rejoin, "_CALL_SITES", ((Worker.heartbeat, ("no_such",)),))
    monkeypatch.setattr(
        TaskState,
        "__annotations__",
        {k: v for k, v in TaskState.__annotations__.items() if k != "run_id"},
    )

    async def check() -> None:
        contact = free_contact()
        async with leading(contact, 1), working(contact, tmp_path) as worker:
            failure = worker.plugins[NAME].failure
            assert "no_such in Worker.heartbeat" in failure
            assert "TaskState.run_id" in failure
            assert "handle_scheduler" not in vars(worker)

    run(check)


@pytest.mark.logs("ends when its scheduler does: it was started with tcp://")
def test_a_worker_of_one_scheduler_is_left_as_it_is(tmp_path: Path) -> None:
    """Its address names nobody who could come next."""

    async def check() -> None:
        contact = free_contact()
        async with leading(contact, 1):
            own = f"tcp://{contact.coordinators[0]}"
            async with working(own, tmp_path) as worker:
                assert "handle_scheduler" not in vars(worker)

    run(check)


@pytest.mark.parametrize("value", [b"why", ValueError("why"), list(range(1000))])
def test_what_is_packed_reaches_who_opens_it(value: Any) -> None:
    """As Dask's own messages carry it: through a scheduler that opens nothing."""
    sent = unpack(pack(Serialize(value)))
    at_scheduler = loads(list(map(bytes, dumps({"x": sent}))), deserialize=False)["x"]
    again = unpack(pack(at_scheduler))
    read = loads(list(map(bytes, dumps({"x": again}))))["x"]
    assert (typename(type(read)), str(read)) == (typename(type(value)), str(value))
    assert unpack(pack(None)) is None


@pytest.mark.parametrize(
    "bad", [b"\xc1", b"\x01", b"\x92\x01\x90", b"\x92\x80\x91\x01"]
)
def test_what_is_not_packed_is_refused(bad: bytes) -> None:
    """It came from a worker, or a ledger: nothing in it is believed."""
    with pytest.raises(ProtocolError):
        unpack(bad)


def test_a_client_of_tasks_looks_on_if_who_led_dies_as_it_comes() -> None:
    """Until its time is over; Dask would raise in the task that asked for it."""

    class Dying:
        _client = None
        dies = 2

        def _get_client(self, timeout: float) -> str:
            self.dies -= 1
            if self.dies >= 0:
                raise CommClosedError("in the middle of the registration")
            return "a client"

    assert dask_rejoin.client_for_tasks(Dying(), 60.0) == "a client"  # type: ignore[arg-type, comparison-overlap]
    with pytest.raises(CommClosedError):
        dask_rejoin.client_for_tasks(Dying(), "0 s")  # type: ignore[arg-type]

"""What tests have written so far, as the API tells it."""

from __future__ import annotations

import pytest
from following import asked
from site_room import SiteRoom, record

from dtf_dask.view.tails import TEXT_BYTES_MAX, asked_for, end_of, operation, run_of
from dtf_dask.worker_plugins.runner.plugin import batch_key

TOLD = {
    "case_id": "c[1]",
    "worker": "w",
    "host": "h",
    "for_s": 1.5,
    "stdout": "so far",
    "stderr": "",
}


def busy(room: SiteRoom, *keys: str) -> None:
    """Two workers, of which one runs these tasks."""
    room.begin(
        *(record("worker", name, name=name, address=f"tcp://{name}") for name in "wv"),
        record("load", "w", running=[{"key": key} for key in keys]),
        record("load", "v", running=[{"key": "inc-1"}]),
        record("run", "r9", run="r9", status="running", started_at=9.0),
        record("run", "r8", run="r8", status="passed", started_at=99.0),
    )


@pytest.mark.parametrize("said", ["r1-a", "r1", "r1-"])
def test_workers_that_run_it_are_asked(room: SiteRoom, said: str) -> None:
    """They, and no others; a run by its id, or a beginning that is no other's."""
    busy(room, "dtf-batch-r1-a-3", "dtf-batch-r1-a-4")
    room.tails = [TOLD]
    answer = asked(room.address, f"/runs/{said}/tail?case=c%5B1%5D").json
    assert answer == {"run": "r1-a", "case_id": "c[1]", "items": [TOLD]}
    assert room.asked_tails == [{"run": "r1-a", "case": "c[1]", "workers": ["tcp://w"]}]
    assert asked(room.address, f"/runs/{said}/tail").json["items"] == [TOLD]
    assert room.asked_tails[-1] == {"run": "r1-a", "case": "", "workers": ["tcp://w"]}


def test_who_does_not_run_it_now_is_not_asked(room: SiteRoom) -> None:
    """A run that goes on, and waits for a worker: nothing is written, nobody asked."""
    busy(room)
    assert asked(room.address, "/runs/last/tail?case=c").json["run"] == "r9"
    assert asked(room.address, "/runs/r9/tail?case=c").json["items"] == []
    # It is over: who watches it may hear that a moment later.
    assert asked(room.address, "/runs/r8/tail?case=c").json["items"] == []
    assert room.asked_tails == []


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/runs/r7/tail?case=c", 404, "no run goes on that is 'r7'"),
        ("/runs/%3Cscript%3E/tail?case=c", 404, "no run goes on"),
        ("/runs/r/tail?case=c", 404, "several runs that go on begin with 'r'"),
        ("/runs/r1/tail?case=c", 503, "no scheduler answers"),
    ],
)
def test_why_there_is_nothing_is_said(
    room: SiteRoom, path: str, status: int, said: str
) -> None:
    """The run is over, unknown or not one; or nobody can ask."""
    busy(room, "dtf-batch-r1-3")
    answer = asked(room.address, path)
    assert answer.status == status
    assert said in answer.json["detail"]


def test_what_is_asked_and_told_is_bounded() -> None:
    """Whoever asks says nothing else, and a text is cut between characters."""
    assert operation({"tail": {"run": 1, "x": 2}})[1].keys() == {
        *("run", "case", "workers"),
    }
    assert operation({"tail": "r"})[0] == "dtf_act"
    assert operation(asked_for("r", "c", []))[0] == "dtf_tail"
    text = end_of("\ud800" + "a€" * TEXT_BYTES_MAX)
    assert text.endswith("a€")
    assert TEXT_BYTES_MAX - 3 <= len(text.encode()) <= TEXT_BYTES_MAX


def test_a_batch_tells_its_run() -> None:
    """By its key, as it is made for workers: pages load no Dask, and read it anew."""
    assert run_of(str(batch_key("20261129-0517-ab", 17))) == "20261129-0517-ab"

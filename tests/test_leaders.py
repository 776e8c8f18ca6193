"""What a run says and keeps of another scheduler that leads."""

from __future__ import annotations

import time

import pytest

from dtf_dask.model import CaseId, Run, RunId
from dtf_dask.runs.leaders import KEPT_MAX, KEY, LeaderNote, away_text, noted
from dtf_dask.runs.results.recorder import Recorder
from dtf_dask.runs.results.store import ResultsStore
from dtf_dask.runs.scheduler_line import Led

AT = 1_700_000_000.0


@pytest.mark.parametrize(
    ("node", "running", "text"),
    [
        (
            "b",
            12,
            "coordinator b leads since {}, after 0.2 s; 12 tests went on running",
        ),
        ("b", 1, "coordinator b leads since {}, after 0.2 s; 1 test went on running"),
        ("b", 0, "coordinator b leads since {}, after 0.2 s"),
        ("", 0, "the scheduler is there again since {}, after 0.2 s"),
    ],
)
def test_one_line(node, running, text):
    """Who leads, since when, how long nobody did, and what that cost."""
    at = time.strftime("%H:%M:%S", time.localtime(AT))
    assert LeaderNote(node, 3, AT, 0.23, running).text == text.format(at)
    assert away_text(AT).startswith(f"no coordinator leads since {at}")


def test_what_is_kept_is_bounded():
    """The first of a run are kept; the line is said in any case."""
    kept = []
    for term in range(KEPT_MAX + 5):
        assert "leads" in noted(kept, Led("c", term, 0.1), AT, 2)
    assert [one["term"] for one in kept] == list(range(KEPT_MAX))


@pytest.mark.parametrize("spooled", [False, True])
def test_the_record_keeps_them(tmp_path, spooled):
    """At its end the run's environment gets them, by way of a spool file, too."""
    url = tmp_path / "results.sqlite"
    if spooled:
        url.mkdir()  # no store can be there
    environment = {"python": "3"}
    run = Run(RunId("r"), AT, suite="s", cases_planned=1, environment=environment)
    recorder = Recorder(url, run, [CaseId("a")], tmp_path / "spool")
    kept = []
    noted(kept, Led("b", 7, 0.25), AT, 3)
    status = recorder.close("passed", 0, AT + 9, environment={KEY: kept})
    assert bool(status.spool_path) == spooled
    if spooled:
        url.rmdir()
    with ResultsStore.open(url) as store:
        if spooled:
            store.ingest_spool(tmp_path / "spool")
        found = store.run("r").environment
    note = {"node": "b", "term": 7, "at": AT, "away_s": 0.25, "running": 3}
    assert found == {"python": "3", KEY: [note]}

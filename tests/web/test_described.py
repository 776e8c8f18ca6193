"""The description of the API, checked against the server that it describes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from room_actions import room_actions
from site_room import SiteRoom, record
from test_api import filled

from dtf_dask.view.records import SHAPES
from dtf_dask.web.endpoints import ENDPOINTS, Endpoint
from dtf_dask.web.paths import BASE, api_url
from dtf_dask.web.schemas import record as schema_of
from dtf_dask.web.server import description

ALIKE = ("/classes", "/live-runs", "/breakers", "/failovers", "/actions", "/slowest")
"""What is answered, and refused, by the same code as /queue or /flaky."""
CONFIGURED = f"""
[phases.coverage]
unexpected-methods = ["DELETE"]

[[operations]]
include-path = {list(ALIKE)}
phases.coverage.generation.mode = "positive"
"""


def test_the_server_answers_as_it_says(room: SiteRoom, tmp_path: Path) -> None:
    """Whatever is asked within the description is answered as described, and what is
    not within it is refused, never by a defect. Schemathesis asks, once with each value
    at or beside a bound; where one function serves several paths all are asked what
    they take, and one is asked what it refuses."""
    room.begin(
        record("cluster", at=1.0, workers=1),
        record("worker", "w", name="w", facts={"cpu": 4}),
        record("load", "w", cpu=0.5, running=[{"key": "k"}]),
        record("kind", "k", waiting=3, why="needs a GPU"),
        *(record(kind, "x") for kind in ("class", "run", "breaker", "action")),
        record("coordinator", "1", node=1),
        record("failover", "3", term=3),
    )
    room.stand(role="leader", leader=1, term=3, voters=[1, 2], lag={2: 4}, active=[2])
    room.actions, _ = room_actions()
    filled(tmp_path)
    (tmp_path / "schemathesis.toml").write_text(CONFIGURED)
    host, port = room.address
    url = api_url(f"{host}:{port}")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}openapi.json"),
            *("--exclude-path", "/events", "--phases", "coverage", "--seed", "7"),
            *("--checks", "all", "--no-color", "--generation-database", "none"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
    told = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert told is not None, done.stdout[-2_000:]
    assert int(told[1]) == int(told[2]) > 500


@pytest.mark.parametrize("kind", SHAPES)
def test_records_are_described_by_what_reads_them(kind: str) -> None:
    """Every field of every kind of record is in its schema."""
    schema = schema_of(kind)
    assert {"key", *SHAPES[kind].fields} == set(schema["properties"])
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate({"key": kind, **SHAPES[kind].default}, schema)


def test_all_is_described() -> None:
    """Each path once, with what is served beside the lists; all ids differ."""
    told = description()
    assert told["openapi"].startswith("3.1")
    assert told["servers"] == [{"url": BASE}]
    operations = [
        one["operationId"] for path in told["paths"].values() for one in path.values()
    ]
    assert len(set(operations)) == len(operations)
    assert {"/events", "/snapshot", "/openapi.json"} <= set(told["paths"])


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: one.path)
def test_lists_are_sorted_and_filtered_by_what_they_hold(endpoint: Endpoint) -> None:
    """A field that no record has any more is no field to sort by."""
    items = endpoint.schema["properties"].get("items", {}).get("items", {})
    fields = {"order", *items.get("properties", ())}
    by = {one.name: one for one in endpoint.parameters}
    choices = by["sort"].schema()["enum"] if "sort" in by else []
    assert {one.removeprefix("-") for one in choices} <= fields
    others = {"q", "sort", "limit", "offset", "case", "number", "worker", "chars"}
    others |= {"run", "runs", "start", "end", "step", "since"}
    assert by.keys() - others - {"suite"} <= fields

"""The description of the API, checked against the server that it describes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from room_actions import room_actions
from site_room import SiteRoom, record
from test_api import filled

from dtf_dask.view.actions import ACTIONS
from dtf_dask.view.records import SHAPES
from dtf_dask.web.endpoints import ENDPOINTS, Endpoint
from dtf_dask.web.paths import BASE, api_url
from dtf_dask.web.schemas import record as schema_of
from dtf_dask.web.server import description

REFUSING = (
    *("/snapshot", "/workers", "/series", "/timeline", "/runs", "/runs/{run}"),
    *("/runs/{run}/cases", "/runs/{run}/log", "/actions/cancel"),
    "/actions/reprioritize",
)
"""What is asked what it refuses, too: others are refused by the same code."""
OF_A_CASE = tuple(
    one.path
    for one in ENDPOINTS
    if any(known.name == "case" for known in one.parameters)
)
OPERATIONS = [
    f"{method.upper()} {path}"
    for path, methods in description()["paths"].items()
    for method in methods
    if path not in ("/events", "/openapi.json")  # does not end; is read first
]
CONFIGURED = f"""
[phases.coverage]
unexpected-methods = ["DELETE"]
generation.mode = "positive"

[[operations]]
include-path = {list(REFUSING)}
phases.coverage.generation.mode = "all"

[[operations]]
include-path = {list(OF_A_CASE)}
parameters = {{ "query.case" = "b" }}
""" + "".join(
    f"""
[[operations]]
include-path = "/actions/{name}"
parameters = {{ "header.Idempotency-Key" = "{name}" }}
"""
    for name in ACTIONS
)


def test_the_server_answers_as_it_says(room: SiteRoom, tmp_path: Path) -> None:
    """Whatever is asked within the description is answered as described, and what is
    not within it is refused, never by a defect. Schemathesis asks, once with each value
    at a bound, and beside it where `REFUSING` says so."""
    room.begin(
        record("cluster", at=1.0, workers=1),
        record("worker", "w", name="w", address="tcp://w", facts={"cpu": 4}),
        record("load", "w", cpu=0.5, running=[{"key": "dtf-batch-r1-1"}]),
        record("kind", "k", waiting=3, why="needs a GPU"),
        *(record(kind, "x") for kind in ("class", "run", "breaker", "action")),
        record("coordinator", "1", node=1),
        record("failover", "3", term=3),
    )
    room.stand(role="leader", leader=1, term=3, voters=[1, 2], lag={2: 4}, active=[2])
    room.actions, _ = room_actions()
    texts = {"stdout": "", "stderr": ""}
    room.tails = [{"case_id": "c", "worker": "w", "host": "", "for_s": 1.0, **texts}]
    filled(tmp_path)
    (tmp_path / "schemathesis.toml").write_text(CONFIGURED)
    host, port = room.address
    url = api_url(f"{host}:{port}")
    report = tmp_path / "asked.ndjson"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}openapi.json"),
            *("--exclude-path", "/events", "--phases", "coverage", "--seed", "7"),
            *("--checks", "all", "--no-color", "--generation-database", "none"),
            *("--report", "ndjson", "--report-ndjson-path", str(report)),
        ],
        cwd=tmp_path,
        # Each request looks at all there is for proxies: that took a fifth.
        env={"PATH": os.environ["PATH"], "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
    answered = statuses(report)
    assert sum(found.total() for found in answered.values()) > 500
    assert set(answered) == set(OPERATIONS)
    assert [one for one, found in answered.items() if not found[200]] == []
    assert all(answered[one][400] for one in OPERATIONS if one.split()[1] in REFUSING)


def statuses(report: Path) -> dict[str, Counter[int]]:
    """How often which operation was answered with which status."""
    told = map(json.loads, report.read_text().splitlines())
    scenarios = [one["ScenarioFinished"] for one in told if "ScenarioFinished" in one]
    return {
        one["recorder"]["label"]: Counter(
            asked["response"]["status_code"]
            for asked in one["recorder"]["interactions"].values()
        )
        for one in scenarios
    }


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

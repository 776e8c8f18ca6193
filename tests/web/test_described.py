"""The description of the API says all that is served."""

from __future__ import annotations

import pytest

from dtf_dask.view.records import SHAPES
from dtf_dask.web.paths import BASE
from dtf_dask.web.schemas import record as schema_of
from dtf_dask.web.server import description


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
    operations = [one["get"]["operationId"] for one in told["paths"].values()]
    assert len(set(operations)) == len(operations)
    assert {"/events", "/snapshot", "/openapi.json"} <= set(told["paths"])

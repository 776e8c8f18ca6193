"""JSON Schemas of what is answered: of records as they are read, and more. Pure."""

from __future__ import annotations

from typing import Any

from dtf_dask.view import actions, fields
from dtf_dask.view.records import SHAPES

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
ANY_OBJECT: Schema = {"type": "object"}


def maybe(schema: Schema) -> Schema:
    """That, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def many(schema: Schema) -> Schema:
    """A list of that."""
    return {"type": "array", "items": schema}


def named(schema: Schema) -> Schema:
    """Values by name."""
    return {"type": "object", "additionalProperties": schema}


def whole_object(**properties: Schema) -> Schema:
    """An object with these fields, all of them."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def page(item: Schema) -> Schema:
    """A page of a list."""
    return whole_object(total=WHOLE, offset=WHOLE, limit=WHOLE, items=many(item))


def live_page(item: Schema) -> Schema:
    """A page of a list of records, and when they were so."""
    return whole_object(
        id=TEXT, at=NUMBER, total=WHOLE, offset=WHOLE, limit=WHOLE, items=many(item)
    )


def record(kind: str, **more: Schema) -> Schema:
    """A record of a kind as it is listed: with its key, and what else is added."""
    shape = _of(SHAPES[kind])
    properties = {"key": TEXT, **shape["properties"], **more}
    return whole_object(**properties)


def _of(kept: Any) -> Schema:
    match kept:
        case fields.Shape():
            found = {name: _of(one) for name, one in kept.fields.items()}
            return whole_object(**found)
        case fields.Text():
            return {"type": "string", "maxLength": kept.chars_max}
        case fields.Whole():
            return {"type": "integer", "minimum": kept.low, "maximum": kept.high}
        case fields.Number():
            return {"type": "number", "minimum": kept.low, "maximum": kept.high}
        case fields.Maybe():
            return maybe(_of(kept.inner))
        case fields.Many():
            return many(_of(kept.inner))
        case fields.Named():
            return named(_of(kept.inner))
        case _:
            return {}


def said_for(action: str) -> Schema:
    """What is said for an action."""
    known = actions.ACTIONS[action].fields
    return {
        "type": "object",
        "properties": {name: _said(one) for name, one in known.items()},
        "required": [name for name, one in known.items() if one.required],
        "additionalProperties": False,
    }


def _said(one: actions.Field) -> Schema:
    match one:
        case actions.Lines():
            found = {**many(_said(one.line)), "minItems": 1, "maxItems": one.count_max}
        case actions.Line():
            found = {**TEXT, "minLength": 1, "maxLength": one.chars_max}
        case _:
            assert isinstance(one, actions.Figure)
            found = {**NUMBER, "minimum": -one.high, "maximum": one.high}
    return {**found, "description": one.words}


ATTEMPT = whole_object(
    run=TEXT,
    run_started_at=NUMBER,
    case_id=TEXT,
    number=WHOLE,
    worker=TEXT,
    where=TEXT,
    host=TEXT,
    outcome=TEXT,
    detail=TEXT,
    started_at=NUMBER,
    duration_s=NUMBER,
    cpu_s=maybe(NUMBER),
    memory=maybe(WHOLE),
    gpu_memory=maybe(WHOLE),
    why=TEXT,
)
ARTIFACT = whole_object(
    number=WHOLE, worker=TEXT, name=TEXT, digest=TEXT, size_bytes=WHOLE
)
_LEFT = whole_object(text=TEXT, chars=WHOLE, cut=FLAG)
LOG = whole_object(
    **ATTEMPT["properties"],
    exception=_LEFT,
    traceback=_LEFT,
    stdout=_LEFT,
    stderr=_LEFT,
    log=_LEFT,
)
RUN = whole_object(
    run=TEXT,
    suite=TEXT,
    status=TEXT,
    started_at=NUMBER,
    finished_at=maybe(NUMBER),
    exit_code=maybe(WHOLE),
    planned=WHOLE,
    counts=named(WHOLE),
)
RUN_IN_FULL = whole_object(
    **RUN["properties"],
    command=many(TEXT),
    rootdir=TEXT,
    snapshot=TEXT,
    policy=ANY_OBJECT,
    environment=ANY_OBJECT,
)
CASE = whole_object(
    case_id=TEXT, outcome=TEXT, duration_s=NUMBER, attempts=WHOLE, flaky=FLAG
)
COORDINATORS = whole_object(
    cluster=TEXT,
    contact=TEXT,
    seen_by=WHOLE,
    at=NUMBER,
    leader=maybe(WHOLE),
    term=WHOLE,
    applied=WHOLE,
    quorum_left=maybe(WHOLE),
    elections=WHOLE,
    items=many(
        whole_object(
            node=WHOLE,
            name=TEXT,
            here=FLAG,
            role=TEXT,
            votes=FLAG,
            heard_of=maybe(FLAG),
            lag=maybe(WHOLE),
            web=maybe(TEXT),
            scheduler=maybe(ANY_OBJECT),
        )
    ),
)
ALERTS = whole_object(
    at=NUMBER,
    items=many(
        whole_object(
            id=TEXT,
            level=TEXT,
            rule=TEXT,
            subject=TEXT,
            words=TEXT,
            since=maybe(NUMBER),
        )
    ),
)
SNAPSHOT = whole_object(id=TEXT, at=NUMBER, records=named(ANY_OBJECT))
PROBLEM = whole_object(type=TEXT, title=TEXT, status=WHOLE, detail=TEXT)

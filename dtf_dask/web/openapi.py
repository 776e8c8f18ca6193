"""The description of the API (OpenAPI 3.1), made of what it is served from. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dtf_dask.view.actions import ACTIONS, ID_PATTERN
from dtf_dask.web import problem, schemas
from dtf_dask.web.parameters import Parameter, Text

_EVENTS = """\
Server-sent events: `snapshot`, all there is; `changes`, what one entry of the ledger
changed, `{"put": {key: record}, "gone": [key]}`; `coordinators`, how they stand;
`reset`, that what was seen is of no use, followed by a `snapshot`. Ids are
`term:index:tag` and the same on every node: who says the last one, here or on another
node, hears what came after it."""


SINCE = Text("since", "The same, for who cannot say it in a header.")


def described(
    version: str,
    base: str,
    endpoints: Sequence[
        tuple[str, str, schemas.Schema, Sequence[Parameter], Sequence[Parameter], bool]
    ],
) -> dict[str, Any]:
    """The description.

    Parameters
    ----------
    endpoints
        Of each its path, what it answers, the schema, what stands in its path and what
        may be said in its query, and whether there may be no such thing.
    """
    paths: dict[str, Any] = {
        path: {"get": _operation(path, words, schema, in_path, in_query, missing)}
        for path, words, schema, in_path, in_query, missing in endpoints
    }
    for name, action in ACTIONS.items():
        paths[f"/actions/{name}"] = {"post": _action(name, action.words)}
    paths["/events"] = {"get": _events()}
    paths["/openapi.json"] = {
        "get": _operation(
            *("/openapi.json", "This description.", schemas.ANY_OBJECT, (), (), False)
        )
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dtf",
            "version": version,
            "description": "What is to be seen of a cluster, the same on every node.",
        },
        "servers": [{"url": base}],
        "paths": paths,
        "components": {"schemas": {"Problem": schemas.PROBLEM}},
    }


def _operation(
    path: str,
    words: str,
    schema: schemas.Schema,
    in_path: Sequence[Parameter],
    in_query: Sequence[Parameter],
    missing: bool,
) -> dict[str, Any]:
    said = [("path", one) for one in in_path] + [("query", one) for one in in_query]
    answers = [400, *([404] if missing else []), 403, 421, 503]
    return {
        "operationId": path.strip("/").replace("/", "-").replace("{run}", "run"),
        "summary": words,
        "parameters": [
            {
                "name": one.name,
                "in": where,
                "required": one.required,
                "description": one.words,
                "schema": one.schema(),
            }
            for where, one in said
        ],
        "responses": {
            "200": {
                "description": words,
                "content": {"application/json": {"schema": schema}},
            },
            **{str(status): _problem(status) for status in answers},
        },
    }


def _action(name: str, words: str) -> dict[str, Any]:
    record = schemas.record("action")
    done = {"content": {"application/json": {"schema": record}}}
    return {
        "operationId": name,
        "summary": words,
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "Its id: asked again with it, it is done once.",
                "schema": {"type": "string", "pattern": f"^{ID_PATTERN}$"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schemas.said_for(name)}},
        },
        "responses": {
            "200": {"description": "It is done.", **done},
            "202": {"description": "It has begun: /actions says how it ends.", **done},
            **{
                str(status): _problem(status)
                for status in (400, 403, 404, 409, 415, 421, 503)
            },
        },
    }


def _events() -> dict[str, Any]:
    text = {"schema": {"type": "string"}}
    return {
        "operationId": "events",
        "summary": "What changes, as it does.",
        "description": _EVENTS,
        "parameters": [
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "The last id that was read, here or on another node.",
                **text,
            },
            {
                "name": SINCE.name,
                "in": "query",
                "description": SINCE.words,
                "schema": SINCE.schema(),
            },
        ],
        "responses": {
            "200": {"description": "Events.", "content": {"text/event-stream": text}},
            **{str(status): _problem(status) for status in (400, 403, 421, 503)},
        },
    }


def _problem(status: int) -> dict[str, Any]:
    reference = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": problem.TITLES[status],
        "content": {problem.CONTENT_TYPE: {"schema": reference}},
    }

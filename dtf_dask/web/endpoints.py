"""What the API serves: each path with its parameters, its answer and its schema.

The one table that requests are answered from, and that is described in OpenAPI.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from dtf_dask.view.read_model import ReadModel
from dtf_dask.web import schemas
from dtf_dask.web.endpoint import CASES, Answer, Endpoint, Query
from dtf_dask.web.listing import PAGE, Listing, Row, page_of, paged
from dtf_dask.web.parameters import Choice, Text, Whole
from dtf_dask.web.past import PAST
from dtf_dask.web.problem import refused
from dtf_dask.web.running import RUNNING
from dtf_dask.web.site import Site

_STATUSES = ("running", "passed", "failed", "interrupted", "error")
_CHARS_MAX = 1_000_000

_WORKERS = Listing(
    ("name", "host", "cpu", "memory_used", "processing", "since"),
    ("host", "kind", "status", "breaker"),
)
_QUEUE = Listing(("due", "waiting", "since"), ("class", "tenant"))
_CLASSES = Listing(("name", "waiting", "since", "latest"))
_LIVE_RUNS = Listing(
    ("run", "started_at", "planned"), ("suite", "status", "class", "tenant")
)
_BREAKERS = Listing(("name", "since"), ("state",))
_FAILOVERS = Listing(("term",))
_ACTIONS = Listing(("at",), ("action", "state", "id"))
_CASE = Text("case", "The id of a case.", required=True)


def _listed(kind: str, listing: Listing) -> Answer:
    async def answer(site: Site, query: Query) -> bytes:
        chosen = listing.chosen(site.model.of_kind(kind), query)
        return _live(site, chosen, query, _keyed)

    return answer


def _live(
    site: Site,
    chosen: Sequence[tuple[str, Row]],
    query: Query,
    written: Callable[[ReadModel, str], bytes],
) -> bytes:
    """A page of records, put together of what is JSON already."""
    start = query["offset"]
    page = chosen[start : start + query["limit"]]
    items = b",".join([written(site.model, key) for key, _ in page])
    head = f'"id":"{site.model.id}","at":{site.model.at!r},"total":{len(chosen)}'
    head += f',"offset":{start},"limit":{query["limit"]}'
    return b'{%b,"items":[%b]}' % (head.encode(), items)


def _keyed(model: ReadModel, key: str) -> bytes:
    """A record with its key, which is plain."""
    return b'{"key":"%b",%b' % (key.encode(), model.json(key)[1:])


async def _snapshot(site: Site, query: Query) -> bytes:
    return site.model.snapshot().json


async def _cluster(site: Site, query: Query) -> Any:
    found = site.model.get("cluster")
    if found is None:
        raise refused(404, "no scheduler has said anything yet: wait until one leads")
    return {"key": "cluster", **found}


async def _workers(site: Site, query: Query) -> bytes:
    model = site.model

    def value(key: str, row: Row, name: str) -> Any:
        if name not in _OF_LOAD:
            return row.get(name)
        load = model.get(_load_of(key))
        return None if load is None else load[_OF_LOAD[name]]

    chosen = _WORKERS.chosen(model.of_kind("worker"), query, value)
    return _live(site, chosen, query, _with_load)


_OF_LOAD = {"cpu": "cpu", "memory_used": "memory", "processing": "processing"}


def _load_of(key: str) -> str:
    return "load" + key.removeprefix("worker")


def _with_load(model: ReadModel, key: str) -> bytes:
    """A worker with its load, and beside that what it may be sorted by."""
    load = model.get(_load_of(key))
    beside = orjson.dumps(
        {n: None if load is None else load[field] for n, field in _OF_LOAD.items()}
    )
    told = b"null" if load is None else model.json(_load_of(key))
    parts = (told, beside[1:-1], _keyed(model, key)[1:])
    return b'{"load":%b,%b,%b' % parts


async def _coordinators(site: Site, query: Query) -> Any:
    return site.coordinators()


async def _alerts(site: Site, query: Query) -> Any:
    return {"at": site.standing_at, "items": [one.plain() for one in site.alerts()]}


async def _runs(site: Site, query: Query) -> Any:
    asked = (query["suite"], query["status"], query["offset"], query["limit"])
    total, rows = await site.results.ask(
        lambda pages, connection: pages.runs(connection, *asked), nothing=(0, [])
    )
    return page_of(rows, total, query)


async def _run(site: Site, query: Query) -> Any:
    return await site.results.ask(
        lambda pages, connection: pages.run(connection, query["run"])
    )


async def _cases(site: Site, query: Query) -> Any:
    def question(pages: Any, connection: Any) -> Any:
        from dtf_dask.runs.results.pages import CasesQuery

        return pages.cases(connection, query["run"], CasesQuery.of(query))

    total, rows = await site.results.ask(question)
    return page_of(rows, total, query)


async def _attempts(site: Site, query: Query) -> Any:
    def question(pages: Any, connection: Any) -> Any:
        from dtf_dask.runs.results.pages import attempts_of

        end = query["offset"] + query["limit"]
        return attempts_of(connection, query["run"], query["case"], end)

    rows = await site.results.ask(question)
    return paged(rows, len(rows), query)


async def _artifacts(site: Site, query: Query) -> Any:
    def question(pages: Any, connection: Any) -> Any:
        from dtf_dask.runs.results.pages import artifacts_of

        return artifacts_of(connection, query["run"], query["case"])

    rows = await site.results.ask(question)
    return paged(rows, len(rows), query)


async def _log(site: Site, query: Query) -> Any:
    def question(pages: Any, connection: Any) -> Any:
        from dtf_dask.runs.results.pages import texts

        asked = (query["case"], query["number"], query["worker"], query["chars"])
        return texts(connection, query["run"], *asked)

    found = await site.results.ask(question)
    if found is None:
        raise refused(
            404,
            f"run {query['run']:.100} has no attempt {query['number']} of"
            f" {query['case']!r:.200} on that worker",
        )
    return found


async def _history(site: Site, query: Query) -> Any:
    def question(pages: Any, connection: Any) -> Any:
        from dtf_dask.runs.results.pages import history

        end = query["offset"] + query["limit"]
        return history(connection, query["suite"], query["case"], end)

    rows = await site.results.ask(question, nothing=[])
    return paged(rows, len(rows), query)


ENDPOINTS = (
    Endpoint(
        "/snapshot",
        "All there is to be seen now; /events tells what changes after its id.",
        schemas.SNAPSHOT,
        _snapshot,
    ),
    Endpoint(
        "/cluster",
        "The whole in some numbers.",
        schemas.record("cluster"),
        _cluster,
        missing=True,
    ),
    Endpoint(
        "/workers",
        "Workers: what they are, how busy they are, and with what.",
        schemas.live_page(
            schemas.record(
                "worker",
                cpu=schemas.maybe(schemas.NUMBER),
                memory_used=schemas.maybe(schemas.WHOLE),
                processing=schemas.maybe(schemas.WHOLE),
                load=schemas.maybe(schemas.ANY_OBJECT),
            )
        ),
        _workers,
        _WORKERS.parameters(),
    ),
    *(
        Endpoint(
            *(path, words, schemas.live_page(schemas.record(kind))),
            *(_listed(kind, listing), listing.parameters()),
        )
        for path, words, kind, listing in (
            ("/queue", "What waits, and why, the most urgent first.", "kind", _QUEUE),
            ("/classes", "Priority classes.", "class", _CLASSES),
            ("/live-runs", "Runs as the scheduler sees them.", "run", _LIVE_RUNS),
            (
                "/breakers",
                "Circuit breakers that are not closed.",
                "breaker",
                _BREAKERS,
            ),
            ("/failovers", "How long nobody led, by term.", "failover", _FAILOVERS),
            ("/actions", "What was asked for, and became of it.", "action", _ACTIONS),
        )
    ),
    Endpoint(
        "/coordinators",
        "The coordinators, as this one sees them.",
        schemas.COORDINATORS,
        _coordinators,
    ),
    Endpoint("/alerts", "What is wrong, the worst first.", schemas.ALERTS, _alerts),
    Endpoint(
        "/runs",
        "Runs with results on this node, newest first.",
        schemas.page(schemas.RUN),
        _runs,
        (
            *PAGE,
            Text("suite", "Only those of this suite."),
            Choice("status", "Only those that stand so.", _STATUSES),
        ),
    ),
    Endpoint("/runs/{run}", "A run.", schemas.RUN_IN_FULL, _run, missing=True),
    Endpoint(
        "/runs/{run}/cases",
        "The cases of a run that have an attempt.",
        schemas.page(schemas.CASE),
        _cases,
        CASES,
        missing=True,
    ),
    Endpoint(
        "/runs/{run}/attempts",
        "The attempts of a case in a run, without what they wrote.",
        schemas.page(schemas.ATTEMPT),
        _attempts,
        (*PAGE, _CASE),
        missing=True,
    ),
    Endpoint(
        "/runs/{run}/artifacts",
        "The files that the attempts of a case left; `dtf results show` says where.",
        schemas.page(schemas.ARTIFACT),
        _artifacts,
        (*PAGE, _CASE),
        missing=True,
    ),
    Endpoint(
        "/runs/{run}/log",
        "What an attempt wrote and why it failed, whether its worker lives or not.",
        schemas.LOG,
        _log,
        (
            _CASE,
            Whole("number", "Of the attempt.", 1, 10**6, 1),
            Text("worker", "The worker's name, if several ran it."),
            Whole("chars", "Of each text; its end is given.", 1, _CHARS_MAX, 100_000),
        ),
        missing=True,
    ),
    Endpoint(
        "/history",
        "The last attempts of a case over all runs, newest first.",
        schemas.page(schemas.ATTEMPT),
        _history,
        (*PAGE, Text("suite", "The suite's name.", required=True), _CASE),
    ),
    *PAST,
    *RUNNING,
)

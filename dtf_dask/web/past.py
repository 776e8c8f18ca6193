"""What the API serves of how it was: numbers over time, attempts, cases over runs."""

from __future__ import annotations

import time
from typing import Any

from dtf_dask.view.series import LEVELS
from dtf_dask.web import schemas
from dtf_dask.web.endpoint import CASES, Endpoint, Query
from dtf_dask.web.listing import page_of
from dtf_dask.web.parameters import Choice, Text, Whole
from dtf_dask.web.site import Site

_TIME_MAX = 4 * 10**10
_STEPS = [str(level.step_s) for level in LEVELS]
_SPAN_S = 600
_ATTEMPTS_MAX = 5_000

_SUITE = Text("suite", "The suite's name.", required=True)
_RUNS = Whole("runs", "How many runs back.", 1, 100, 20)
_COUNT = Whole("limit", "How many at most.", 1, 200, 50)


async def _series(site: Site, query: Query) -> Any:
    step_s, since = int(query["step"]), query["since"]
    points = site.series.points(step_s)
    length = max(map(len, points.values.values()), default=0)
    over = max(0, min(length, (since - points.start_s) // step_s))
    return {
        "start_s": points.start_s + over * step_s,
        "step_s": step_s,
        "values": {name: found[over:] for name, found in points.values.items()},
    }


async def _timeline(site: Site, query: Query) -> Any:
    end = query["end"] or time.time()
    start = query["start"] or end - _SPAN_S

    def question(pages: Any, connection: Any) -> Any:
        from dtf_dask.runs.results.trends import timeline

        return timeline(connection, start, end, query["run"], query["limit"])

    rows, more = await site.results.ask(question, nothing=([], False))
    return {"start": start, "end": end, "more": more, "items": rows}


async def _grid(site: Site, query: Query) -> Any:
    def question(pages: Any, connection: Any) -> Any:
        from dtf_dask.runs.results.pages import CasesQuery
        from dtf_dask.runs.results.trends import past

        asked = CasesQuery.of(query)
        total, rows = pages.cases(connection, query["run"], asked)
        names = [row["case_id"] for row in rows]
        runs, found = past(connection, query["run"], names, query["runs"])
        return total, runs, [{**row, "past": found[row["case_id"]]} for row in rows]

    total, runs, rows = await site.results.ask(question)
    return {**page_of(rows, total, query), "runs": runs}


async def _flaky(site: Site, query: Query) -> Any:
    return await _by_kind(site, query, "flaky")


async def _slowest(site: Site, query: Query) -> Any:
    return await _by_kind(site, query, "slowest")


async def _figures(site: Site, query: Query) -> Any:
    def question(pages: Any, connection: Any) -> Any:
        from dtf_dask.runs.results.figures import figures

        asked = (query["suite"], query["case"], query["runs"], query["limit"])
        return figures(connection, *asked)

    return {"items": await site.results.ask(question, nothing=[])}


async def _by_kind(site: Site, query: Query, what: str) -> Any:
    kinds = {one["name"]: one["kind"] for _, one in site.model.of_kind("worker")}

    def question(pages: Any, connection: Any) -> Any:
        from dtf_dask.runs.results import trends

        asked = (query["suite"], query["runs"], kinds, query["limit"])
        return getattr(trends, what)(connection, *asked)

    return {"items": await site.results.ask(question, nothing=[])}


_GROUPS = schemas.many(
    schemas.whole_object(
        kind=schemas.TEXT,
        passed=schemas.WHOLE,
        failed=schemas.WHOLE,
        mean_s=schemas.maybe(schemas.NUMBER),
    )
)
_CAME_TO = schemas.whole_object(
    outcome=schemas.TEXT, duration_s=schemas.NUMBER, flaky=schemas.FLAG
)

PAST = (
    Endpoint(
        "/series",
        "How the cluster's numbers went; counts are per second, null is a gap.",
        schemas.whole_object(
            start_s=schemas.WHOLE,
            step_s=schemas.WHOLE,
            values=schemas.named(schemas.many(schemas.maybe(schemas.NUMBER))),
        ),
        _series,
        (
            Choice("step", "Seconds of each point.", _STEPS, _STEPS[0]),
            Whole("since", "Only from then on, in s since 1970.", 0, _TIME_MAX, 0),
        ),
    ),
    Endpoint(
        "/timeline",
        "Attempts that ran in a time, by when they began; the latest, if too many.",
        schemas.whole_object(
            start=schemas.NUMBER,
            end=schemas.NUMBER,
            more=schemas.FLAG,
            items=schemas.many(
                schemas.whole_object(
                    **{
                        name: schemas.ATTEMPT["properties"][name]
                        for name in (
                            *("run", "case_id", "number", "worker", "where"),
                            *("outcome", "detail", "started_at", "duration_s"),
                        )
                    }
                )
            ),
        ),
        _timeline,
        (
            Whole("start", "From then on; 0: for 10 minutes.", 0, _TIME_MAX, 0),
            Whole("end", "Until then, in s since 1970; 0: now.", 0, _TIME_MAX, 0),
            Text("run", "Only those of this run."),
            Whole("limit", "How many at most.", 1, _ATTEMPTS_MAX, 2_000),
        ),
        missing=True,
    ),
    Endpoint(
        "/runs/{run}/grid",
        "Its cases, with what they came to in it and in the runs before it.",
        schemas.whole_object(
            total=schemas.WHOLE,
            offset=schemas.WHOLE,
            limit=schemas.WHOLE,
            items=schemas.many(
                schemas.whole_object(
                    **schemas.CASE["properties"],
                    past=schemas.many(schemas.maybe(_CAME_TO)),
                )
            ),
            runs=schemas.many(
                schemas.whole_object(
                    run=schemas.TEXT, started_at=schemas.NUMBER, status=schemas.TEXT
                )
            ),
        ),
        _grid,
        (*CASES, Whole("runs", "How many runs, with itself.", 1, 50, 12)),
        missing=True,
    ),
    Endpoint(
        "/flaky",
        "Cases that passed and failed on the same code in the last runs.",
        schemas.whole_object(
            items=schemas.many(
                schemas.whole_object(
                    case_id=schemas.TEXT,
                    passed=schemas.WHOLE,
                    failed=schemas.WHOLE,
                    runs=schemas.WHOLE,
                    last_seen_at=schemas.NUMBER,
                    groups=_GROUPS,
                )
            )
        ),
        _flaky,
        (_SUITE, _RUNS, _COUNT),
    ),
    Endpoint(
        "/slowest",
        "Cases that took longest to pass in the last runs.",
        schemas.whole_object(
            items=schemas.many(
                schemas.whole_object(
                    case_id=schemas.TEXT,
                    passed=schemas.WHOLE,
                    mean_s=schemas.NUMBER,
                    max_s=schemas.NUMBER,
                    groups=_GROUPS,
                )
            )
        ),
        _slowest,
        (_SUITE, _RUNS, _COUNT),
    ),
    Endpoint(
        "/figures",
        "Numbers that tests recorded, from run to run; what changed most first.",
        schemas.whole_object(
            items=schemas.many(
                schemas.whole_object(
                    case_id=schemas.TEXT,
                    name=schemas.TEXT,
                    last=schemas.NUMBER,
                    before=schemas.maybe(schemas.NUMBER),
                    points=schemas.many(
                        schemas.whole_object(
                            run=schemas.TEXT, at=schemas.NUMBER, value=schemas.NUMBER
                        )
                    ),
                )
            )
        ),
        _figures,
        (_SUITE, Text("case", "Only those of this case."), _RUNS, _COUNT),
    ),
)

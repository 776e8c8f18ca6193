"""What tests that run have written so far, asked of their workers by who leads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dtf_dask.view.read_model import ReadModel
from dtf_dask.view.tails import ITEMS_MAX, TEXT_BYTES_MAX, asked_for, run_of
from dtf_dask.web import schemas
from dtf_dask.web.endpoint import Endpoint, Query
from dtf_dask.web.parameters import Text
from dtf_dask.web.problem import refused
from dtf_dask.web.site import Site

ANSWER_S = 8.0


async def _tail(site: Site, query: Query) -> Any:
    run, workers = _found(site.model, query["run"])
    items: Any = []
    if workers:
        question = asked_for(run, query["case"], workers)
        answer = await site.acting.question(question, ANSWER_S)
        if answer is None:
            raise refused(
                503, "no scheduler answers that could ask workers", Retry_After="2"
            )
        items = answer["items"]
    return {"run": run, "case_id": query["case"], "items": list(items)}


def _found(model: ReadModel, said: str) -> tuple[str, list[str]]:
    """A run that goes on, or that is over, and the workers that run batches of it."""
    busy: dict[str, list[str]] = {}
    for key, load in model.of_kind("load"):
        worker: Mapping[str, Any] = model.get("worker" + key.removeprefix("load")) or {}
        for run in {run_of(one["key"]) for one in load["running"]}:
            busy.setdefault(run, []).append(worker.get("address", ""))
    seen = {record["run"]: record for _, record in model.of_kind("run")}
    begun = {
        run: record["started_at"] or 0.0
        for run, record in seen.items()
        if record["status"] == "running"
    }
    names = sorted({*busy, *begun} - {""})
    if said == "last":
        names = sorted(begun, key=begun.__getitem__)[-1:] or names[-1:]
    elif said in names or said in seen:
        names = [said]
    else:
        names = [one for one in names if one.startswith(said)]
    if len(names) == 1:
        return names[0], busy.get(names[0], [])
    many = "several runs that go on begin with" if names else "no run goes on that is"
    raise refused(404, f"{many} {said!r:.100}; /log has what attempts left that ended")


_TAIL = schemas.whole_object(
    run=schemas.TEXT,
    case_id=schemas.TEXT,
    items=schemas.many(
        schemas.whole_object(
            case_id=schemas.TEXT,
            worker=schemas.TEXT,
            host=schemas.TEXT,
            for_s=schemas.NUMBER,
            stdout=schemas.TEXT,
            stderr=schemas.TEXT,
        )
    ),
)

RUNNING = (
    Endpoint(
        "/runs/{run}/tail",
        "What a case that runs now has written so far, by its worker, at most"
        f" {ITEMS_MAX}: of each text the last {TEXT_BYTES_MAX // 1024} KiB."
        " Nothing if it does not run, or writes where nothing is kept (pytest -s)."
        " If none is named: which cases run now, and since when, without texts.",
        _TAIL,
        _tail,
        (Text("case", "The id of a case; none: all that run."),),
        missing=True,
    ),
)

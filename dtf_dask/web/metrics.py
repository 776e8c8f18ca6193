"""What Prometheus reads of a node and of its cluster, beside the API."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib import resources

from dtf_dask import __version__
from dtf_dask.view.figures import Figure, exposition, of_cluster, of_node
from dtf_dask.web.site import Site
from dtf_dask.web.visitor import Visitor

PATH = "/metrics"
DASHBOARD = f"{PATH}/grafana.json"
_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics(Visitor):
    """All figures, as of now."""

    async def get(self) -> None:
        """Answer."""
        self.query()
        await self.answer(exposition(figures(self.site)), _TYPE)

    head = get


class Dashboard(Visitor):
    """A dashboard of Grafana that shows them."""

    async def get(self) -> None:
        """Answer."""
        self.query()
        await self.answer(dashboard())

    head = get


def dashboard() -> bytes:
    """As Grafana imports it."""
    return (resources.files("dtf_dask.web") / "grafana.json").read_bytes()


def figures(site: Site) -> Iterator[Figure]:
    """Those of a site, by its own clock and that of the scheduler."""
    if "role" in site.standing:
        yield from of_node(site.standing)
    told = [(one.level, one.rule) for one in site.alerts()]
    yield from of_cluster(site.model, site.now, told)
    for name, words, number in (
        ("age_seconds", "How old what the scheduler says is.", _age_s(site)),
        ("readers", "Who follows events at this node.", len(site.readers)),
    ):
        if number is not None:
            yield Figure(f"dtf_web_{name}", "gauge", words, (), (((), float(number)),))
    yield Figure(
        *("dtf_build_info", "gauge", "What runs here.", ("version",)),
        (((__version__,), 1.0),),
    )


def _age_s(site: Site) -> float | None:
    """How long ago this node applied what it knows; None if it knows nothing."""
    return max(0.0, time.time() - site.model.at) if site.model.at else None

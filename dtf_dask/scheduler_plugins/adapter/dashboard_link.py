"""From Dask's own dashboard to dtf's pages, and back."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

from distributed import Scheduler
from tornado.web import RequestHandler

logger = logging.getLogger(__name__)

NAME = "dtf"
"""Of the entry in the dashboard's bar, and of the path behind it."""
_DASHBOARD = "distributed.dashboard.scheduler"
_NOBODY = (
    "No coordinator serves pages: start one with 'dtf coordinator --web PORT', or all"
    " with 'dtf dev --web PORT'.\n"
)


class _ToPages(RequestHandler):
    """Sends who comes to the pages of the node that leads."""

    def initialize(self, where: Callable[[], str]) -> None:
        self.where = where

    def get(self) -> None:
        url = self.where()
        if url:
            self.redirect(url)
        else:
            self.set_status(404)
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(_NOBODY)


def link(scheduler: Scheduler, where: Callable[[], str]) -> None:
    """Have the dashboard show where dtf's pages are.

    Parameters
    ----------
    where
        The URL as of now; empty if there is none.
    """
    dashboard: Any = sys.modules.get(_DASHBOARD)
    if dashboard is None:  # this scheduler has none
        return
    try:
        rule = (rf"/{NAME}/?", _ToPages, {"where": where})
        scheduler.http_application.add_handlers(".*$", [rule])
        shown = dashboard.template_variables(scheduler)["pages"]
        if NAME not in shown:
            shown.append(NAME)
    except (AttributeError, KeyError, TypeError) as error:
        # It is a link: nothing else is worse without it.
        logger.info("Dask's dashboard has no link to dtf's pages: %r", error)


def dashboard_url(scheduler: Scheduler) -> str:
    """Where Dask's dashboard of a scheduler is; empty if it has none."""
    server: Any = scheduler.services.get("dashboard")
    if server is None or sys.modules.get(_DASHBOARD) is None:
        return ""
    host = getattr(server, "address", "")
    if host in ("", "0.0.0.0", "::"):
        host = scheduler.host
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{server.port}/status"

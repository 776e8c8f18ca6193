"""From Dask's own dashboard to dtf's pages, and back."""

from __future__ import annotations

import logging
import sys
from typing import Any

from distributed import Scheduler
from tornado.web import RedirectHandler

logger = logging.getLogger(__name__)

NAME = "dtf"
"""Of the entry in the dashboard's bar, and of the path behind it."""
_TO = "dtf_pages"
_DASHBOARD = "distributed.dashboard.scheduler"


def link(scheduler: Scheduler, url: str) -> None:
    """Have the dashboard show where dtf's pages are."""
    dashboard: Any = sys.modules.get(_DASHBOARD)
    if dashboard is None:  # this scheduler has none
        return
    try:
        application = scheduler.http_application
        to = application.settings.get(_TO)
        if to is None:
            to = application.settings[_TO] = {"permanent": False}
            rule = (rf"/{NAME}/?", RedirectHandler, to)
            application.add_handlers(".*$", [rule])
        to["url"] = url  # another web process may serve by now
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

"""The views that the window has, in their order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from monitor_app.models.language import mark
from monitor_app.models.session import Session
from monitor_app.views.alerts import Alerts
from monitor_app.views.case import Case
from monitor_app.views.coordinators import Coordinators
from monitor_app.views.overview import Overview
from monitor_app.views.queue import Queue
from monitor_app.views.runs import Runs
from monitor_app.views.theme import Theme
from monitor_app.views.view import View
from monitor_app.views.workers import Workers


@dataclass(frozen=True, slots=True)
class Page:
    """One of them.

    Parameters
    ----------
    name
        By which other views open it, and what is kept of it.
    title
        In English; it is translated when it is shown.
    """

    name: str
    title: str
    make: Callable[[Session, Theme], View]


PAGES = (
    Page("overview", mark("Overview"), Overview),
    Page("runs", mark("Runs"), Runs),
    Page("case", mark("Case"), Case),
    Page("workers", mark("Workers"), Workers),
    Page("queue", mark("Queue"), Queue),
    Page("coordinators", mark("Coordinators"), Coordinators),
    Page("alerts", mark("Alerts"), Alerts),
)

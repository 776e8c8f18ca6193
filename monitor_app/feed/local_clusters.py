"""Clusters that are served on this machine: which processes listen for whom."""

from __future__ import annotations

from collections.abc import Iterator

import psutil

from monitor_app.feed.calls import Caller, CallError
from monitor_app.feed.place import Place

_PROCESS = "dtf_dask.web.process"
_ASKED_S = 2.0


def listening() -> Iterator[Place]:
    """Where web processes of coordinators listen that may be looked at."""
    for process in psutil.process_iter(["cmdline"]):
        if _PROCESS not in (process.info["cmdline"] or ()):
            continue
        try:
            connections = process.net_connections("tcp")
        except psutil.Error:
            continue
        for one in connections:
            if one.status == psutil.CONN_LISTEN:
                yield Place("http", one.laddr.ip, one.laddr.port)


def clusters() -> list[tuple[str, list[Place]]]:
    """The clusters that are served here: their names, and where each is."""
    found: dict[tuple[str, str], list[Place]] = {}
    for place in listening():
        caller = Caller(place, call_s=_ASKED_S)
        try:
            told = caller.get("/coordinators")
            key = (str(told["cluster"]), str(told["contact"]))
        except (CallError, KeyError, TypeError):
            continue
        finally:
            caller.close()
        found.setdefault(key, []).append(place)
    return [(name, places) for (name, _), places in sorted(found.items())]

"""The HTTP server of a web process: who is let in, what is answered, and its limits."""

from __future__ import annotations

import json
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.web import Application

from dtf_dask import __version__
from dtf_dask.view.actions import ACTIONS
from dtf_dask.view.records import record_key
from dtf_dask.web import metrics, wire
from dtf_dask.web.acting import ID_HEADER, read_action
from dtf_dask.web.endpoints import ENDPOINTS
from dtf_dask.web.openapi import SINCE, described
from dtf_dask.web.pages import handlers as pages
from dtf_dask.web.pages.assets import Assets
from dtf_dask.web.paths import BASE
from dtf_dask.web.problem import refused
from dtf_dask.web.readers import Reader, Readers
from dtf_dask.web.site import Site
from dtf_dask.web.visitor import Visitor
from dtf_dask.web.visitors import HEADERS

HEADER_BYTES_MAX = 16 * 1024
BODY_BYTES_MAX = 2**20
CONNECTIONS_MAX = 1_000
IDLE_S = 75.0
BODY_S = 10.0
"""How long a request may take to come."""


class Server(HTTPServer):
    """The server, with a bound on how many are connected, readers of events too.

    It is below the 1,024 files that a process may have by default: who takes
    connections without a file for them is kept busy by them.
    """

    readers: Readers

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """A connection comes (tornado calls this)."""
        if len(self._connections) + len(self.readers) >= CONNECTIONS_MAX:
            stream.close()
            return
        super().handle_stream(stream, address)


def served(site: Site) -> Server:
    """A server of a site, which listens nowhere yet."""
    routes: list[Any] = [
        (_pattern(one.path), Answers, {"site": site, "endpoint": one})
        for one in ENDPOINTS
    ]
    routes += [
        (f"{BASE}/actions/({'|'.join(ACTIONS)})", Actions, {"site": site}),
        (f"{BASE}/events", Events, {"site": site}),
        (f"{BASE}/openapi.json", Description, {"site": site}),
        (metrics.PATH, metrics.Metrics, {"site": site}),
        (metrics.DASHBOARD, metrics.Dashboard, {"site": site}),
        *pages.routes(site),
        (".*", Nothing, {"site": site}),
    ]
    application = Application(
        routes, log_function=lambda handler: None, assets=Assets()
    )
    server = Server(
        application,
        max_header_size=HEADER_BYTES_MAX,
        max_body_size=BODY_BYTES_MAX,
        idle_connection_timeout=IDLE_S,
        body_timeout=BODY_S,
    )
    server.readers = site.readers
    return server


def _pattern(path: str) -> str:
    return BASE + path.replace("{run}", "([^/]+)")


def description() -> dict[str, Any]:
    """What `/openapi.json` says."""
    return described(
        __version__,
        BASE,
        [
            (
                *(one.path, one.words, one.schema),
                *(one.in_path, one.parameters, one.missing),
            )
            for one in ENDPOINTS
        ],
    )


class Answers(Visitor):
    """What an endpoint answers."""

    async def get(self, *path: str) -> None:
        """Answer."""
        endpoint = self.endpoint
        assert endpoint is not None
        query = self.query(*endpoint.parameters)
        for parameter, text in zip(endpoint.in_path, path, strict=True):
            query[parameter.name] = text
        found = await endpoint.answer(self.site, query)
        await self.answer(found if isinstance(found, bytes) else _json(found))

    head = get


class Actions(Visitor):
    """What somebody has done."""

    allowed = ("POST", "OPTIONS")

    async def post(self, action: str) -> None:
        """Have it done by whoever leads."""
        self.query()
        headers = self.request.headers
        asked = read_action(
            *(action, headers.get(ID_HEADER), headers.get("Content-Type", "")),
            *(self.request.body, f"{self.request.remote_ip} at {self.site.name}"),
        )
        status, record = await self.site.acting.act(asked)
        self.set_status(status)
        await self.answer(_json({"key": record_key("action", asked.id), **record}))


class Description(Visitor):
    """The description of the API."""

    async def get(self) -> None:
        """Answer."""
        self.query()
        await self.answer(_json(description()))

    head = get


class Events(Visitor):
    """What changes, as it does."""

    async def get(self) -> None:
        """Tell it until the reader is gone."""
        site = self.site
        since = self.query(SINCE)["since"]
        last = self.request.headers.get("Last-Event-ID") or since or None
        if site.readers.full:
            raise refused(
                *(503, f"{len(site.readers)} follow already: follow another node"),
                Retry_After="5",
            )
        # Taken from tornado, which would copy each event for each reader.
        stream = self.detach()
        if stream.closed():
            return
        stream.write(_head())
        reader = Reader(stream, site.whole)
        with site.readers.place():
            why = await site.beginning(last, reader.tell)
            if why is not None:
                reader.reset(why)
            await site.readers.follow(reader)


class Nothing(Visitor):
    """What is not there."""

    def prepare(self) -> None:
        """Refuse."""
        super().prepare()
        raise refused(
            404, f"nothing is at {self.request.path!r:.200}: see {BASE}/openapi.json"
        )


def _head() -> bytes:
    headers = {
        **HEADERS,
        "Content-Type": "text/event-stream",
        "Connection": "close",
        "X-Accel-Buffering": "no",
    }
    lines = [f"{name}: {value}" for name, value in headers.items()]
    first = "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""])
    return first.encode() + b"retry: %d\n\n" % wire.RETRY_MS


def _json(value: Any) -> bytes:
    return _TO_JSON(value).encode()


_TO_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode

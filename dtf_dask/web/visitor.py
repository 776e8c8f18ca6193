"""What all requests to a web process have in common: who is let in, how it answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from tornado.http1connection import HTTP1Connection
from tornado.web import HTTPError, RequestHandler

from dtf_dask.web import problem, readers
from dtf_dask.web.endpoint import Endpoint
from dtf_dask.web.parameters import read_query
from dtf_dask.web.problem import Problem, RefusedError, refused
from dtf_dask.web.site import Site
from dtf_dask.web.visitors import HEADERS, turned_away

_LOG = logging.getLogger(__name__)

_GZIP_FROM_BYTES = 4_000


class Visitor(RequestHandler):
    """What all answers have in common."""

    allowed: Sequence[str] = ("GET", "HEAD", "OPTIONS")

    def initialize(self, site: Site, endpoint: Endpoint | None = None) -> None:
        """Tornado calls this first."""
        self.site = site
        self.endpoint = endpoint

    def set_default_headers(self) -> None:
        """Of every answer."""
        self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        """Turn away who is not let in, whatever is asked for."""
        why = turned_away(self.request.headers, self.request.path)
        if why is not None:
            raise RefusedError(why)
        if self.request.method not in self.allowed:
            raise self.not_allowed()

    def not_allowed(self) -> RefusedError:
        """That there is no such method here."""
        there = ", ".join(self.allowed)
        return refused(405, f"{self.request.method} is none of {there}", Allow=there)

    def options(self, *path: str) -> None:
        """What may be done."""
        self.set_header("Allow", ", ".join(self.allowed))
        self.set_status(204)

    def query(self, *known: Any) -> dict[str, Any]:
        """The values of the query."""
        try:
            said = {
                name: [one.decode() for one in values]
                for name, values in self.request.query_arguments.items()
            }
        except UnicodeDecodeError:
            raise refused(400, "the query holds what is no UTF-8") from None
        return read_query(known, said)

    async def answer(self, body: bytes, kind: str = "application/json") -> None:
        """Send it."""
        self.set_header("Content-Type", kind)
        self.set_header("Vary", "Accept-Encoding")
        accepted = self.request.headers.get("Accept-Encoding", "")
        if len(body) >= _GZIP_FROM_BYTES and "gzip" in accepted:
            self.set_header("Content-Encoding", "gzip")
            body = self.site.packed(body)
        await self.sent(body)

    async def sent(self, body: bytes | None = None) -> None:
        """Send it; who does not take it is left, or it would be kept for him."""
        written = self.finish(body)
        await asyncio.wait([written], timeout=readers.STUCK_S)
        if not written.done():
            connection = self.request.connection
            assert isinstance(connection, HTTP1Connection)
            connection.close()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say what is wrong, in the form that all problems have."""
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, RefusedError):
            found = error.problem
        elif isinstance(error, HTTPError) and status_code == 405:
            found = self.not_allowed().problem
        elif isinstance(error, HTTPError):
            found = Problem(status_code, error.log_message or "it makes no sense")
        else:
            found = Problem(500, "this is a defect of dtf; its log says more")
        self.set_status(found.status)
        for name, value in found.headers.items():
            self.set_header(name, value)
        self.set_header("Content-Type", problem.CONTENT_TYPE)
        self.finish(found.body())

    def log_exception(self, *error: Any) -> None:
        """Write down defects, and nothing of who asks for what is not there."""
        if not isinstance(error[1], RefusedError | HTTPError):
            _LOG.error("a defect of dtf: %.200r", self.request.path, exc_info=error)

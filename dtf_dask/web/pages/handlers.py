"""What serves the pages: one document for all of them, and the files it needs.

They hold nothing of the cluster: the browser reads that of the API, and draws it.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from dtf_dask.web.pages.assets import Asset, Assets
from dtf_dask.web.parameters import Text
from dtf_dask.web.paths import HERE, PAGES
from dtf_dask.web.problem import refused
from dtf_dask.web.site import Site
from dtf_dask.web.visitor import Visitor

NAMES = ("runs", "workers", "scheduling", "flaky", "coordinators", "trends")

_CLUSTER = Text("cluster", "The tag of its ids.")
_KEEP_S = 365 * 86_400
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'{more}",
        "img-src 'self' data:",
        # Other nodes of this machine are asked whether they are there.
        "connect-src 'self' http://127.0.0.1:* http://localhost:*",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


class Sends(Visitor):
    """What sends files."""

    async def send(self, asset: Asset, nonce: str = "") -> None:
        """Answer with a file; styles that are made have the nonce, if there is one."""
        more = f" 'nonce-{nonce}'" if nonce else ""
        self.set_header("Content-Security-Policy", _POLICY.format(more=more))
        self.set_header("Content-Type", asset.content_type)
        self.set_header("Vary", "Accept-Encoding")
        body = asset.body
        if "gzip" in self.request.headers.get("Accept-Encoding", ""):
            self.set_header("Content-Encoding", "gzip")
            # The first time it takes a while.
            body = await asyncio.to_thread(lambda: asset.gzipped)
        await self.sent(body)


class Page(Sends):
    """The document of all pages."""

    async def get(self) -> None:
        """Answer; which page it is, is read by the browser."""
        # What BokehJS makes of styles has it: see bokeh_styles.js.
        nonce = secrets.token_urlsafe(16)
        shell: Asset = self.settings["assets"].shell
        body = shell.body.replace(b"{nonce}", nonce.encode())
        await self.send(Asset(body, shell.content_type), nonce)

    head = get


class File(Sends):
    """A file of the document."""

    async def get(self, folder: str, name: str) -> None:
        """Answer."""
        assets: Assets = self.settings["assets"]
        asset = assets.get(folder, name)
        if asset is None:
            raise refused(404, f"there is no file {name!r:.100} of these pages")
        self.set_header("Cache-Control", f"private, max-age={_KEEP_S}, immutable")
        await self.send(asset)

    head = get


class Here(Visitor):
    """That a node of a cluster serves here: whoever names the cluster may hear it."""

    async def get(self) -> None:
        """Answer; browsers tell pages of other nodes of it, and no others."""
        if self.query(_CLUSTER)["cluster"] == self.site.tag:
            self.set_header("Cross-Origin-Resource-Policy", "cross-origin")
        self.set_status(204)
        await self.sent()

    head = get


def routes(site: Site) -> list[Any]:
    """Of an application with `Assets` in its settings."""
    return [
        (rf"{PAGES}(?:/|/(?:{'|'.join(NAMES)})/?)?", Page, {"site": site}),
        (rf"{PAGES}/((?:static|bokeh)-[\w.+-]+)/([\w.-]+)", File, {"site": site}),
        (HERE, Here, {"site": site}),
    ]

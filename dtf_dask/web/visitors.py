"""Which requests are let in, by what their headers say of where they come from. Pure.

The pages are served on loopback, to who works on this machine. Any page of the world
may send a browser there, under its own name (DNS rebinding) or by a link; it must
neither read anything nor have anything done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address

from dtf_dask.web.paths import BASE, HERE, PAGES
from dtf_dask.web.problem import Problem

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(:\d{1,5})?", re.A)

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every answer: it is kept nowhere, runs nothing, and stands in no other page."""


def is_loopback(host: str) -> bool:
    """Whether only this machine is reached by it.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("[::1]"), is_loopback("example.org")
    (True, True, False)
    """
    name = host.removeprefix("[").removesuffix("]").lower()
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def turned_away(headers: Mapping[str, str], path: str) -> Problem | None:
    """Why a request is not let in, if it is not."""
    host = headers.get("Host", "")
    found = _HOST.fullmatch(host)
    if found is None or not is_loopback(found[1]):
        return Problem(
            421,
            f"nothing is served as {host!r:.100}: ask for 127.0.0.1 or localhost;"
            " from another machine through a tunnel (ssh -L)",
        )
    origin = headers.get("Origin")
    if origin is not None and origin.lower() not in (
        f"http://{host.lower()}",
        f"https://{host.lower()}",
    ):
        return Problem(403, f"a page of {origin!r:.100} reads nothing here")
    elsewhere = headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")
    if elsewhere and path != HERE and not _is_link(headers, path):
        return Problem(403, "a page of another place reads nothing here")
    if "//" in path or "/../" in f"{path}/" or "/./" in f"{path}/" or "\\" in path:
        return Problem(404, "no path holds an empty part, '.' or '..'")
    return None


def _is_link(headers: Mapping[str, str], path: str) -> bool:
    """Whether somebody follows a link to a page: who has the link reads nothing."""
    return (
        headers.get("Sec-Fetch-Mode") == "navigate"
        and headers.get("Sec-Fetch-Dest") == "document"
        and f"{path}/".startswith(f"{PAGES}/")
        and not path.startswith(BASE)
    )

"""Where a cluster is read: an address as somebody writes it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from dtf_dask.errors import UsageError
from monitor_app.feed.reasons import reason

BASE = "/dtf/api/v1"
"""What all paths of the API begin with."""

_PAGES = "/dtf"
_PORTS = {"http": 80, "https": 443}
_NO_ADDRESS = reason("that is no address")
_SCHEDULERS = reason(
    "schedulers are there; say where the pages of the cluster are, as `dtf dev --web"
    " 8700` or `dtf coordinator --web 8700` serves them"
)


@dataclass(frozen=True, slots=True)
class Place:
    """The web process of a coordinator.

    Parameters
    ----------
    prefix
        Of all its paths: what a proxy puts before them.
    """

    scheme: str
    host: str
    port: int
    prefix: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.prefix}"

    @property
    def netloc(self) -> str:
        """For the header ``Host``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def path(self, path: str, query: dict[str, object] | None = None) -> str:
        """A path of the API, with its query; parts of it are to be quoted before."""
        words = {name: value for name, value in (query or {}).items() if value != ""}
        told = f"?{urlencode(words)}" if words else ""
        return f"{self.prefix}{BASE}{path}{told}"


def part(text: str) -> str:
    """A text as one part of a path."""
    return quote(text, safe="")


def parse_place(text: str) -> Place:
    """What somebody typed: ``HOST:PORT``, or the URL of a page or of the API.

    Raises
    ------
    UsageError
        It is none, and why.

    Examples
    --------
    >>> str(parse_place("127.0.0.1:8700")), str(parse_place("https://ci.lab/x/dtf/runs"))
    ('http://127.0.0.1:8700', 'https://ci.lab:443/x')
    """
    text = text.strip()
    scheme = text.partition("://")[0].lower() if "://" in text else ""
    if scheme in ("dtf", "tcp", "tls"):
        raise UsageError(f"{text:.200}: {_SCHEDULERS}: http://127.0.0.1:8700")
    try:
        split = urlsplit(text if scheme else f"http://{text}")
        place = _read(split)
    except ValueError as error:
        raise UsageError(f"{text!r:.200}: {_NO_ADDRESS}: {error}") from None
    return place


def _read(split: SplitResult) -> Place:
    if split.scheme not in _PORTS:
        raise ValueError(reason("it begins with neither http:// nor https://"))
    if not split.hostname or any(one.isspace() for one in split.netloc):
        raise ValueError(reason("it names no machine"))
    if split.username or split.password:
        raise ValueError(reason("a password is not written into an address"))
    port = split.port
    prefix, pages, _ = f"{split.path}/".partition(f"{_PAGES}/")
    if not pages:
        prefix = split.path
    return Place(
        *(split.scheme, split.hostname, port or _PORTS[split.scheme]),
        prefix.rstrip("/"),
    )

"""``dtf://h1:p1,h2:p2,h3:p3``: the coordinators of a cluster, as one address. Pure.

The address never changes over a failover, and so nothing that was given it has to. It
may end in the name of the cluster, ``dtf://h1:p1,h2:p2/lab``: then no other is met.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from dtf_dask.ha.handshake import CLUSTER

SCHEME = "dtf"
COORDINATORS_MAX = 9
TEXT_LENGTH_MAX = 4_096
PREFIX = f"{SCHEME}://"
_PORT_MAX = 65_535
_SHOWN = 200
_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?")
_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True, order=True)
class Coordinator:
    """Where one coordinator listens while it leads. IPv6 has no brackets here."""

    host: str
    port: int

    def __str__(self) -> str:
        """Host and port, as they are written in addresses."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Contact:
    """The coordinators of a cluster, in the order in which they were named."""

    coordinators: tuple[Coordinator, ...]
    cluster: str = ""

    def __str__(self) -> str:
        """The whole address."""
        named = ",".join(map(str, self.coordinators))
        return f"{PREFIX}{named}" + (f"/{self.cluster}" if self.cluster else "")


def is_contact(text: str) -> bool:
    """Whether an address without its scheme names several coordinators, or a cluster.

    What is not may be one coordinator, or where a worker listens: ``"10.0.0.1:0"``.
    """
    return "," in text or "/" in text


def parse_contact(text: str) -> Contact:
    """Read an address, with ``dtf://`` or without.

    Raises
    ------
    ValueError
        Saying what is wrong with it, and where.

    Examples
    --------
    >>> str(parse_contact("dtf://A:8786,[::1]:8786/lab"))
    'dtf://a:8786,[::1]:8786/lab'
    """
    if not isinstance(text, str):
        raise ValueError(f"an address is text, not {type(text).__name__}")
    if len(text) > TEXT_LENGTH_MAX:
        raise ValueError(
            f"an address of {len(text)} characters; {TEXT_LENGTH_MAX} are the most"
        )
    named, slash, cluster = text.removeprefix(PREFIX).partition("/")
    if slash and not re.fullmatch(CLUSTER, cluster):
        raise _wrong(text, f"{cluster!r} is no name for a cluster")
    if not named:
        raise _wrong(text, "it names no coordinator: dtf://HOST:PORT,HOST:PORT,...")
    parts = named.split(",")
    if len(parts) > COORDINATORS_MAX:
        raise _wrong(
            text, f"{len(parts)} coordinators; {COORDINATORS_MAX} are the most"
        )
    found: list[Coordinator] = []
    for part in parts:
        one = _coordinator(text, part)
        if one in found:
            raise _wrong(text, f"{one} is named twice")
        found.append(one)
    return Contact(tuple(found), cluster)


def _coordinator(text: str, part: str) -> Coordinator:
    if not part:
        raise _wrong(text, "there is nothing between two commas, or after the last")
    if part.startswith("["):
        bracketed, _, port = part[1:].partition("]")
        host = _ipv6(text, bracketed)
        if not port.startswith(":"):
            raise _wrong(text, f"{part!r} has no port: [{bracketed}]:8786")
        port = port[1:]
    else:
        name, colon, port = part.rpartition(":")
        if ":" in name:
            raise _wrong(text, f"{part!r}: IPv6 needs brackets, as in [::1]:8786")
        if not colon:
            raise _wrong(text, f"{part!r} has no port: {part}:8786")
        if not _NAME.fullmatch(name):
            raise _wrong(text, f"{name!r} is no host")
        host = name.lower()
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= _PORT_MAX:
        raise _wrong(text, f"{port!r} is no port: from 1 to {_PORT_MAX}")
    return Coordinator(host, int(port))


def _ipv6(text: str, host: str) -> str:
    try:
        return str(ipaddress.IPv6Address(host))
    except ValueError:
        raise _wrong(text, f"{host!r} is no IPv6 address") from None


def _wrong(text: str, reason: str) -> ValueError:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    if len(reason) > 2 * _SHOWN:
        reason = f"{reason[:_SHOWN]}...{reason[-_SHOWN:]}"
    return ValueError(f"{shown!r} is no address of coordinators: {reason}")

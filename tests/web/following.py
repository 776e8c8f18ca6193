"""Who reads a web process over a socket: requests, and events as they come."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any, NamedTuple

from dtf_dask.ha.dialing import Address
from dtf_dask.web.paths import BASE

WAIT_S = 60.0


class Told(NamedTuple):
    """One event."""

    id: str
    name: str
    json: Any


class Answer(NamedTuple):
    """What was answered."""

    status: int
    headers: dict[str, str]
    json: Any


def asked(
    address: Address,
    path: str,
    method: str = "GET",
    *,
    body: bytes | None = None,
    **headers: str,
) -> Answer:
    """The answer to one request."""
    connection = HTTPConnection(*address, timeout=WAIT_S)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, BASE + path, body, headers=named)
        answer = connection.getresponse()
        body = answer.read()
        found = json.loads(body) if body else None
        return Answer(answer.status, dict(answer.getheaders()), found)
    finally:
        connection.close()


@contextmanager
def following(address: Address, last: str = "") -> Iterator[Iterator[Told]]:
    """Events from when one was last here."""
    line = f"Last-Event-ID: {last}\r\n" if last else ""
    with socket.create_connection(address, WAIT_S) as connection:
        connection.sendall(
            f"GET {BASE}/events HTTP/1.1\r\nHost: localhost\r\n{line}\r\n".encode()
        )
        with connection.makefile("rb") as file:
            first = file.readline()
            assert b" 200 " in first, first + file.read(1_000)
            while file.readline().strip():
                pass
            yield _events(file)


def _events(file: Any) -> Iterator[Told]:
    fields: dict[str, str] = {}
    for raw in file:
        line = raw.decode().rstrip("\n")
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield Told(
                fields.get("id", ""), fields["event"], json.loads(fields["data"])
            )
            fields = {}
        else:
            fields = {}


def until(what: Any, wait_s: float = 2 * WAIT_S) -> Any:
    """Ask until there is an answer."""
    ends = time.monotonic() + wait_s
    while not (found := what()):
        assert time.monotonic() < ends
        time.sleep(0.1)
    return found

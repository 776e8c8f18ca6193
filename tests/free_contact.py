"""Where the coordinators of a test listen."""

from __future__ import annotations

import contextlib
import socket

from dtf_dask.comm.address import Contact, parse_contact

LOOPBACK = "127.0.0.1"


def free_contact(count: int = 3, cluster: str = "") -> Contact:
    """An address of ports at which nobody listens."""
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(count):
            made = stack.enter_context(socket.socket())
            made.bind((LOOPBACK, 0))
            ports.append(made.getsockname()[1])
    text = ",".join(f"{LOOPBACK}:{port}" for port in ports)
    return parse_contact(text + (f"/{cluster}" if cluster else ""))

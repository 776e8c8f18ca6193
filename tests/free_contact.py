"""Where the coordinators of a test listen."""

from __future__ import annotations

from dtf_dask.cli.free_ports import free_ports
from dtf_dask.comm.address import Contact, parse_contact

LOOPBACK = "127.0.0.1"


def free_contact(count: int = 3, cluster: str = "") -> Contact:
    """An address of ports at which nobody listens, and that no connection is given."""
    text = ",".join(f"{LOOPBACK}:{port}" for port in free_ports(count, above=()))
    return parse_contact(text + (f"/{cluster}" if cluster else ""))

"""A worker that is away: for how long that may be, and whether it is there at all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from distributed.comm.addressing import get_address_host_port

from dtf_dask.settings import HaSettings
from dtf_dask.standby.lease import Leases, LeaseTerms
from dtf_dask.submission.table import Key

_PROBES_S = (0.02, 0.1, 0.25, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class AwayTerms:
    """How patient a scheduler is with workers.

    Parameters
    ----------
    grace_s
        How long one whose connection broke may stay away.
    leases
        What is left to it for longer.
    takeover_s
        How long those of a leader before are waited for.
    """

    grace_s: float
    leases: LeaseTerms
    takeover_s: float


def away_terms(ha: HaSettings) -> AwayTerms:
    """As it is configured."""
    terms = LeaseTerms(after_s=ha.lease_after_s, lease_s=ha.lease_s)
    return AwayTerms(ha.reconnect_grace_s, terms, ha.takeover_grace_s)


@dataclass(slots=True)
class Absence:
    """One worker that is away."""

    since: float
    ran_s: dict[Key, float]
    leases: Leases | None = None
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def over(self) -> None:
        for task in self.tasks:
            if task is not asyncio.current_task():
                task.cancel()


async def process_is_gone(address: str, grace_s: float) -> bool:
    """Find out, for a while, whether nobody listens at an address any more."""
    host, port = get_address_host_port(address)
    for delay_s in (*_PROBES_S, *(1.0 for _ in range(int(grace_s)))):
        await asyncio.sleep(delay_s)
        try:
            _, writer = await asyncio.wait_for(
                asyncio.open_connection(host, port), grace_s
            )
        except ConnectionRefusedError:
            return True
        except (OSError, TimeoutError):
            continue
        writer.close()
    return False


def own_leases(ws: Any) -> dict[Key, float]:
    """What tasks on a worker say that their lease is."""
    own = {}
    for ts in ws.processing:
        said = (ts.annotations or {}).get("dtf")
        lease = said.get("lease") if isinstance(said, Mapping) else None
        if isinstance(lease, int | float) and not isinstance(lease, bool):
            own[ts.key] = float(lease)
    return own


def is_here(address: str) -> bool:
    """Whether it is on this machine, so that a refused connection is no partition."""
    try:
        return ip_address(get_address_host_port(address)[0]).is_loopback
    except ValueError:
        return False

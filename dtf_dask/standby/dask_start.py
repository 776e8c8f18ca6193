"""Dask's scheduler, made without letting anybody in, and made to listen later."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from distributed import Scheduler
from distributed.comm.registry import get_backend
from distributed.security import Security

from dtf_dask.comm.address import PREFIX
from dtf_dask.preload import MODULE

_SCHEME = PREFIX.removesuffix("://")
_STARTS = (
    *("self._clear_task_state()", "for addr in self._start_address:"),
    *("await self.preloads.start()", "plugin.start(self)"),
    "self.start_periodic_callbacks()",
)


def broken() -> tuple[str, ...]:
    """Say what a scheduler does otherwise, as it starts, than it was known to do."""
    source = inspect.getsource(Scheduler.start_unsafe)
    return tuple(
        f"{text} in Scheduler.start_unsafe" for text in _STARTS if text not in source
    )


def make_scheduler(
    listens_at: str, tls: Mapping[str, str] | None, options: Mapping[str, Any]
) -> Scheduler:
    """A scheduler that nobody can reach yet, but by HTTP.

    Parameters
    ----------
    listens_at
        Where it will listen: host and port.
    tls
        Files of ``authority``, ``certificate`` and ``key``.
    options
        ``dashboard``: where its pages are; ``preload``: modules that it is to load.

    Raises
    ------
    RuntimeError
        ``dtf://`` does not know this version of Dask.
    """
    get_backend(_SCHEME)  # looked for now: it takes a while, and may not be there
    security = None
    if tls is not None:
        security = Security(
            require_encryption=True,
            tls_ca_file=tls["authority"],
            tls_scheduler_cert=tls["certificate"],
            tls_scheduler_key=tls["key"],
        )
    host, _, port = listens_at.rpartition(":")
    dashboard = options.get("dashboard")
    scheduler = Scheduler(
        host=host.strip("[]"),
        port=int(port),
        protocol=_SCHEME,
        security=security,
        dashboard=bool(dashboard),
        dashboard_address=dashboard or "127.0.0.1:0",
        preload=[one for one in options.get("preload") or () if one != MODULE],
    )
    # When it listens it knows tasks already, and is not to forget what belongs to them.
    scheduler._clear_task_state = lambda: None  # type: ignore[method-assign]
    return scheduler


async def listen(scheduler: Scheduler) -> None:
    """Let others in, and have the preloads of users start."""
    await scheduler.start()

"""A nanny that starts while nobody leads, or as a leader dies: it waits for the next.

A nanny of Dask speaks to the scheduler once, as it starts, over one connection: it says
that it is there, hears of plugins, and says when its worker runs. This stands in for
that connection. `broken` says what has changed of it in Dask.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from typing import Any

from distributed import Nanny
from distributed.comm import connect
from distributed.comm.core import Comm

_PAUSE_S = 0.05
_CALLED = ("rpc", "connect", "write", "read", "close")
_SAID = ("register_nanny", "nanny-plugins")


def broken(nanny: Nanny) -> tuple[str, ...]:
    """Say what is missing of what is used; empty if all is there."""
    code = inspect.unwrap(Nanny.start_unsafe).__code__
    said = {
        word
        for one in code.co_consts
        for word in (one if isinstance(one, tuple) else (one,))
        if isinstance(word, str)
    }
    missing = [
        f"{name} in Nanny.start_unsafe" for name in _CALLED if name not in code.co_names
    ]
    missing += [f"{word!r} as a nanny says it" for word in _SAID if word not in said]
    if not hasattr(getattr(nanny, "rpc", None), "__dict__"):
        missing.append("a Nanny.rpc whose methods can be replaced")
    missing += [
        f"Nanny.{name}"
        for name in ("scheduler_addr", "scheduler", "connection_args")
        if not hasattr(nanny, name)
    ]
    return tuple(missing)


def wait_for_leaders(nanny: Nanny, patience_s: float) -> None:
    """Have a nanny that is about to start outlive the leaders that it meets."""
    pool = nanny.rpc
    own = pool.connect

    async def connected(addr: str, timeout: float | None = None) -> Any:
        if addr != nanny.scheduler.addr:
            return await own(addr, timeout)
        del vars(pool)["connect"]  # once: what follows are calls as of any server
        return _Registration(nanny, patience_s)

    vars(pool)["connect"] = connected


class _Registration:
    """Looks to a nanny like one connection, to whoever leads."""

    name = ""

    def __init__(self, nanny: Nanny, patience_s: float) -> None:
        self._nanny = nanny
        self._patience_s = patience_s
        self._asked: dict[str, Any] | None = None
        self._comm: Comm | None = None

    async def write(self, message: dict[str, Any], **options: Any) -> None:
        """Say something; what is said after the first no leader has to hear."""
        if self._asked is None:
            self._asked = message
        elif self._comm is not None:
            with contextlib.suppress(OSError):
                await self._comm.write(message)

    async def read(self, **options: Any) -> Any:
        """What a leader answers to the first."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._patience_s
        while True:
            try:
                self._comm = await connect(
                    self._nanny.scheduler.addr,
                    timeout=max(0.1, until_s - loop.time()),
                    **self._nanny.connection_args,
                )
                self._comm.name = self.name
                await self._comm.write(dict(self._asked or {}))
                return await self._comm.read()
            except OSError:
                if loop.time() > until_s:
                    raise
            await asyncio.sleep(_PAUSE_S)

    async def close(self) -> None:
        """End it."""
        if self._comm is not None:
            await self._comm.close()

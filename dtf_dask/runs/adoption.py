"""Where runners report that the controller forked from its own collected session."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import Sequence

from dtf_dask.worker_plugins.runner.process import (
    RunnerLink,
    RunnerLostError,
    offer_runner,
)

_WAIT_S = 10.0


class AdoptionPort:
    """A socket in a folder that only this user can enter; a token opens it.

    Attributes
    ----------
    path, token
        What a forked runner needs to report here.
    """

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="dtf-")
        self.path = os.path.join(self._folder, "runners")
        self.token = secrets.token_hex(16)
        self._came: dict[str, asyncio.Event] = {}
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        self._server = await asyncio.start_unix_server(
            self._adopt, self.path, limit=2**22
        )

    async def expect(self, slots: Sequence[str]) -> None:
        """Wait for the runners of these slots.

        Those that do not come in time are started by their worker instead.
        """
        coming = [self._event(slot).wait() for slot in slots]
        try:
            await asyncio.wait_for(asyncio.gather(*coming), _WAIT_S)
        except TimeoutError:
            pass

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _adopt(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        link = RunnerLink(reader, writer)
        try:
            _, frame = await link.receive()
        except RunnerLostError:
            writer.close()
            return
        token = str(frame.get("token"))
        if frame.get("op") != "adopt" or not secrets.compare_digest(token, self.token):
            writer.close()
            return
        offer_runner(frame["run"], frame["slot"], link)
        self._event(frame["slot"]).set()

    def _event(self, slot: str) -> asyncio.Event:
        return self._came.setdefault(slot, asyncio.Event())

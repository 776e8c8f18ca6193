"""The worker's side of a runner: start or adopt the process, talk to it, end it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

from dtf_dask.errors import ProtocolError
from dtf_dask.frames import Frame, FrameBuffer, decode, pack

_CHUNK = 256 * 1024
_CLOSE_GRACE_S = 1.0


class RunnerLostError(Exception):
    """The runner process itself is gone."""


class RunnerLink:
    """A connection to a runner process.

    ``pid`` is known for one that was started here, and from its greeting for one that
    was adopted.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        process: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self._reader, self._writer, self._process = reader, writer, process
        self._buffer = FrameBuffer()
        self._waiting: list[tuple[bytes, Frame]] = []
        self.lock = asyncio.Lock()
        self.pid = process.pid if process is not None else 0
        self.greeted = False

    def send(self, frame: dict[str, Any]) -> None:
        """Queue a frame; a broken connection shows when reading."""
        if not self._writer.is_closing():
            self._writer.write(pack(frame))

    async def receive(self) -> tuple[bytes, Frame]:
        """The next frame, packed and read; `RunnerLostError` when there is none."""
        while not self._waiting:
            try:
                chunk = await self._reader.read(_CHUNK)
            except OSError as error:
                raise RunnerLostError(str(error)) from error
            if not chunk:
                raise RunnerLostError(self.death())
            try:
                raws = list(self._buffer.split(chunk))
                self._waiting = [(raw, decode(raw[4:])) for raw in raws]
            except ProtocolError as error:
                raise RunnerLostError(str(error)) from error
        return self._waiting.pop(0)

    def pending(self) -> bool:
        """Whether a frame is here already."""
        return bool(self._waiting)

    async def frames(self) -> AsyncIterator[tuple[bytes, Frame]]:
        while True:
            yield await self.receive()

    def death(self) -> str:
        """How it ended, in words."""
        code = self._process.poll() if self._process is not None else None
        if code is None:
            return "the runner process ended"
        if code < 0:
            return f"the runner process was killed by {signal.Signals(-code).name}"
        return f"the runner process ended with code {code}"

    async def close(self) -> None:
        """End it, politely at first."""
        self.send({"op": "close"})
        try:
            await asyncio.wait_for(self._writer.drain(), _CLOSE_GRACE_S)
        except (OSError, TimeoutError):
            pass
        self._writer.close()
        if self._process is not None:
            try:
                await asyncio.to_thread(self._process.wait, _CLOSE_GRACE_S)
            except subprocess.TimeoutExpired:
                self.kill()
                await asyncio.to_thread(self._process.wait)

    def kill(self) -> None:
        """End it at once; its children die with it."""
        if self._process is not None:
            self._process.kill()
        elif self.pid:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._writer.close()


async def start_runner(spec: dict[str, Any]) -> RunnerLink:
    """Start a process that collects the suite once and then waits for batches."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-P", "-m", "dtf_dask.worker_plugins.runner.bootstrap"]
    process = subprocess.Popen(
        [*command, str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    theirs.close()
    ours.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=ours, limit=2**22)
    link = RunnerLink(reader, writer, process)
    link.send(spec)
    return link


# Runners that a client on this machine forked from its own collected session, by
# (run, slot). The driver puts them here; a worker of the same process takes them.
_adoptable: dict[tuple[str, str], RunnerLink] = {}


def offer_runner(run_id: str, slot: str, link: RunnerLink) -> None:
    """Let the worker that serves ``slot`` take this runner instead of starting one."""
    _adoptable[run_id, slot] = link


async def obtain_runner(spec: dict[str, Any]) -> RunnerLink:
    """An adopted runner for ``(run, slot)``, or a new one."""
    link = _adoptable.pop((spec["run"], spec["slot"]), None)
    return link if link is not None else await start_runner(spec)


def forget_runners(run_id: str) -> list[RunnerLink]:
    """Take back what was offered for a run and never used."""
    keys = [key for key in _adoptable if key[0] == run_id]
    return [_adoptable.pop(key) for key in keys]

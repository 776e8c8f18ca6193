"""The worker's side of a runner: start or adopt the process, talk to it, end it."""

from __future__ import annotations

import asyncio
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

from dtf_dask.errors import ProtocolError
from dtf_dask.frames import HEADER_BYTES, Frame, FrameBuffer, decode, pack
from dtf_dask.worker_plugins.runner.process_life import (
    await_end,
    kill_tree,
    signal_name,
)

_CHUNK = 256 * 1024
_CLOSE_GRACE_S = 1.0


class RunnerLostError(Exception):
    """The runner process itself is gone."""


class RunnerLink:
    """A connection to a runner process.

    ``pid`` is known for one that was started here, and from the kernel for one that
    was adopted; never from what the process says: it may be killed by it.
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
        self.pid = process.pid if process is not None else _peer_pid(writer)

    def send(self, frame: dict[str, Any]) -> None:
        """Queue a frame; a broken connection shows when reading."""
        if not self._writer.is_closing():
            self._writer.write(pack(frame))

    async def receive(self) -> tuple[bytes, Frame]:
        """The next frame, packed and read; `RunnerLostError` when there is none."""
        while not self._waiting:
            try:
                chunk = await self._reader.read(_CHUNK)
            except OSError:
                chunk = b""
            if not chunk:
                raise RunnerLostError(await asyncio.to_thread(self._death))
            try:
                raws = list(self._buffer.split(chunk))
                self._waiting = [(raw, _checked(raw)) for raw in raws]
            except ProtocolError as error:
                raise RunnerLostError(str(error)) from error
        return self._waiting.pop(0)

    def pending(self) -> bool:
        """Whether a frame is here already."""
        return bool(self._waiting)

    async def frames(self) -> AsyncIterator[tuple[bytes, Frame]]:
        while True:
            yield await self.receive()

    def _death(self) -> str:
        """How it ended, in words; its channel closes a moment before it is gone."""
        if self._process is None:
            return "the runner process ended"
        try:
            code = self._process.wait(_CLOSE_GRACE_S)
        except subprocess.TimeoutExpired:
            return "the runner process closed its channel"
        if code < 0:
            return f"the runner process was killed by {signal_name(-code)}"
        return f"the runner process ended with code {code}"

    async def close(self) -> None:
        """End it, politely at first."""
        self.send({"op": "close"})
        try:
            await asyncio.wait_for(self._writer.drain(), _CLOSE_GRACE_S)
        except (OSError, TimeoutError):
            pass
        self._writer.close()
        if self._process is None:
            if self.pid and not await asyncio.to_thread(
                await_end, self.pid, _CLOSE_GRACE_S
            ):
                await self.kill()
            return
        try:
            await asyncio.to_thread(self._process.wait, _CLOSE_GRACE_S)
        except subprocess.TimeoutExpired:
            await self.kill()

    async def kill(self) -> None:
        """End it at once with all that it started, and reap it."""
        self._writer.close()
        await asyncio.to_thread(self._kill)

    def _kill(self) -> None:
        if self._process is None:
            if self.pid:
                kill_tree(self.pid)
            return
        if self._process.poll() is None:
            kill_tree(self.pid)
        self._process.wait()


def _checked(raw: bytes) -> Frame:
    """A frame whose fields are of the types that this side relies on."""
    frame = decode(raw[HEADER_BYTES:])
    if not isinstance(frame, dict) or not isinstance(frame.get("op"), str):
        raise ProtocolError("the runner sent a frame without an operation")
    if frame["op"] in ("case", "crash") and not isinstance(frame.get("i"), int):
        raise ProtocolError("the runner told of a test without its number")
    if frame["op"] == "revoked":
        numbers = frame.get("numbers")
        if not isinstance(numbers, list) or not all(
            isinstance(number, int) for number in numbers
        ):
            raise ProtocolError("the runner gave back something that is no test")
    return frame


def _peer_pid(writer: asyncio.StreamWriter) -> int:
    """Which process is at the other end of a local socket; 0 if that is not known."""
    peer = writer.get_extra_info("socket")
    if not hasattr(socket, "SO_PEERCRED"):
        return 0  # not Linux
    try:
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    except OSError:
        return 0
    return int(struct.unpack("3i", credentials)[0])


async def start_runner(spec: dict[str, Any]) -> RunnerLink:
    """Start a process that collects the suite once and then waits for batches."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-P", "-m", "dtf_dask.worker_plugins.runner.bootstrap"]
    try:
        # On this thread, for about a millisecond: the process dies with the thread
        # that started it while it collects (`process_life.die_with_parent`).
        process = subprocess.Popen(
            [*command, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        ours.close()
        raise RunnerLostError(f"no runner could be started: {error}") from error
    finally:
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

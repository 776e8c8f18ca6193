"""A process beside a node that shares a socket with it, and never outlives its use."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

GONE = "its end of the socket is closed"

_STDERR = 2


@asynccontextmanager
async def child_process(
    command: Sequence[str],
) -> AsyncIterator[tuple[Process, socket.socket]]:
    """A process in a group of its own, and our end of the socket.

    The number of its end is added to the command. The group is killed in the end, at
    once, and reaped.

    Raises
    ------
    OSError
        If none can be started.
    """
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(*command, str(theirs.fileno())),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=_STDERR,
                start_new_session=True,
            )
    except BaseException:
        ours.close()
        raise
    ours.setblocking(False)
    try:
        yield process, ours
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())


def why_ended(why: str, code: int | None) -> str:
    """Why a process ended: what its link says, or how it ended if that is `GONE`."""
    if why != GONE or code is None:
        return why
    return (
        f"it was killed by signal {-code}" if code < 0 else f"it ended with code {code}"
    )

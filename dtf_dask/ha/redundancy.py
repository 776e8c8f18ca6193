"""`RedundancyManager`: a node of the ledger in a process of its own, looked after.

It starts the process, says how it stands, starts it again when it dies, and ends it.
What a node does is in its process alone, so that nothing that happens here (a long
collection of garbage, a graph that is unpickled) ever delays a heartbeat.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections import deque
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dtf_dask.errors import (
    ConfigurationError,
    NodeProcessError,
    PeerUnavailableError,
    UsageError,
)
from dtf_dask.ha.ledger.queries import Get
from dtf_dask.ha.node_config import parse_address, read_config
from dtf_dask.ha.places import NODES, decode_place
from dtf_dask.ha.process_time import Start
from dtf_dask.ha.remote_ledger import RemoteLedger

_LOG = logging.getLogger(__name__)

START_S = 30.0
STOP_S = 10.0
_RESTART_S, _RESTART_MAX_S = 0.2, 10.0
_STEADY_S = 30.0
_LINES_KEPT = 50
_LAST_WORDS_S, _LOOK_S = 2.0, 1.0
_LOOK_UP_S, _STALE_S = 2.0, 3600.0  # whoever is asked may know it for long


class RedundancyManager:
    """One node of a cluster: its process, started, supervised and stopped.

    Parameters
    ----------
    folder
        The node's, as ``dtf ha init`` makes it.
    this_time
        What its process is told beside what the folder says; see `node_config`.
    """

    def __init__(
        self, folder: str | Path, this_time: Mapping[str, Any] | None = None
    ) -> None:
        self.folder = Path(folder)
        self._this_time = dict(this_time or {})
        self.config = read_config(self.folder)
        self.restarts = 0
        self.last_exit: int | None = None
        """The code with which the process ended last."""
        self.names: dict[int, str] = dict(self.config.names.items())
        """What nodes are called; a new one as whom it took the place of."""
        self.ledger = RemoteLedger(
            dict(self.config.clients.items()),
            self.config.security(),
            reads_from=self.config.node,
        )
        self._process: asyncio.subprocess.Process | None = None
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._reader: asyncio.Task[None] | None = None
        self._supervisor: asyncio.Task[None] | None = None

    async def __aenter__(self) -> RedundancyManager:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        process = self._process
        return process.pid if process and process.returncode is None else None

    async def start(self) -> None:
        """Start the process and wait until the node takes part.

        Raises
        ------
        NodeProcessError
            It ended, or did not get so far in time: the message has its last words.
        """
        if self._supervisor is not None:
            raise ConfigurationError(f"the node in {self.folder} is started already")
        await self._launch()
        loop = asyncio.get_running_loop()
        self._supervisor = loop.create_task(self._supervise())

    async def stop(self) -> None:
        """End the process; a node that leads hands over first."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.gather(supervisor, return_exceptions=True)
        await self.ledger.close()
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_S)
            except TimeoutError:
                _LOG.warning(
                    "node %d does not end within %.0f s, and is killed: what was"
                    " acknowledged is on its disk",
                    *(self.config.node, STOP_S),
                )
                process.kill()
        await self._ended(process)

    async def status(self) -> dict[str, Any]:
        """How the node stands: see `NodeStatus`.

        Raises
        ------
        PeerUnavailableError
            It does not answer.
        """
        return await self.ledger.status(self.config.node)

    async def cluster_status(self) -> dict[int, dict[str, Any] | str]:
        """How each node stands, or why it cannot be said.

        Nodes that were added are asked, too, where others know of them; of those that
        were removed nothing is said, unless they answer.
        """
        told = await self._told(self.config.clients)
        members = _members(told)
        added = [node for node in members if node not in told]
        for node in added:
            await self._look_up(node)
        told |= await self._told(added)
        return {
            node: one
            for node, one in sorted(told.items())
            if node in members or not members or not isinstance(one, str)
        }

    async def _told(self, nodes: Collection[int]) -> dict[int, dict[str, Any] | str]:
        async def one(node: int) -> dict[str, Any] | str:
            try:
                return await self.ledger.status(node)
            except (PeerUnavailableError, UsageError) as error:
                return str(error)

        said = await asyncio.gather(*map(one, nodes))
        return dict(zip(nodes, said, strict=True))

    async def _look_up(self, node: int) -> None:
        """Have the ledger say where a node is that this folder does not know."""
        answer = await self.ledger.read(
            Get(NODES, str(node)), _LOOK_UP_S, stale_max_s=_STALE_S
        )
        for _, record in answer.records if answer is not None else ():
            value = record.value
            place = decode_place(value) if isinstance(value, bytes) else None
            if place is not None:
                host, port = place.address
                where = (host, port + 1)
                self.ledger.set_address(node, where)
                clients, names = self.config.clients, self.config.names
                before = [names[one] for one in names if clients[one] == where]
                if before:
                    self.names[node] = before[0]

    async def _launch(self) -> None:
        try:
            words = ["--supervised"]
            if self._this_time:
                words += ["--this-time", json.dumps(self._this_time)]
            self._process = process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "dtf_dask.ha.node_process", str(self.folder), *words),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise NodeProcessError(
                f"no process for the node in {self.folder}: {error}"
            ) from error
        assert process.stderr is not None
        loop = asyncio.get_running_loop()
        self._reader = loop.create_task(self._read(process.stderr))
        ready = await self._started(process)
        for note in ready.get("notes", ()):
            _LOG.warning("node %d: %s", self.config.node, note)
        self._update_address(ready)

    async def _started(self, process: asyncio.subprocess.Process) -> dict[str, Any]:
        """What it says as it is ready, however slowly it comes up."""
        loop = asyncio.get_running_loop()
        start = Start(process.pid, loop.time(), START_S)
        ready = loop.create_task(self._ready(process))
        try:
            while not ready.done():
                await asyncio.wait([ready], timeout=_LOOK_S)
                if not ready.done() and (why := start.hangs(loop.time())):
                    ready.cancel()
                    process.kill()
                    await self._ended(process)
                    raise NodeProcessError(
                        f"the node in {self.folder} was ended: {why}{self._said()}"
                    )
            return await ready
        finally:
            ready.cancel()

    async def _ready(self, process: asyncio.subprocess.Process) -> dict[str, Any]:
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line:
            await self._ended(process)
            raise NodeProcessError(
                f"the node in {self.folder} ended with code {process.returncode}"
                f"{self._said()}"
            )
        try:
            ready: dict[str, Any] = json.loads(line)
        except ValueError as error:
            process.kill()
            await self._ended(process)
            raise NodeProcessError(
                f"the node in {self.folder} said {line[:100]!r} where it says that it"
                " is ready"
            ) from error
        return ready

    def _update_address(self, ready: dict[str, Any]) -> None:
        address = ready.get("clients")
        if address:
            self.ledger.set_address(self.config.node, parse_address(address))

    async def _ended(self, process: asyncio.subprocess.Process) -> None:
        # What it left behind, and is stopped, holds its ends of the pipes open: neither
        # of the two waits would end by itself.
        while process.returncode is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await process.wait()
        self.last_exit = process.returncode
        if self._reader is not None:
            _, open_still = await asyncio.wait([self._reader], timeout=_LAST_WORDS_S)
            for one in open_still:
                one.cancel()

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await stream.readline()
            except ValueError:
                continue  # too long for a line: what was read of it is dropped
            if not line:
                return
            text = line.decode("utf-8", "replace").rstrip()
            self._lines.append(text)
            _LOG.info("node %d: %s", self.config.node, text)

    def _end(self) -> str:
        """How it ended; its last words are no reason where others killed it."""
        if self.last_exit == -signal.SIGKILL:
            return f"ended with code {self.last_exit}: it was killed (SIGKILL)"
        return f"ended with code {self.last_exit}{self._said()}"

    def _said(self) -> str:
        return ": " + self._lines[-1] if self._lines else ""

    async def _supervise(self) -> None:
        """Start the process again when it dies, at growing intervals."""
        loop = asyncio.get_running_loop()
        pause_s = _RESTART_S
        while True:
            process = self._process
            assert process is not None
            since = loop.time()
            await self._ended(process)
            if loop.time() - since > _STEADY_S:
                pause_s = _RESTART_S
            _LOG.error(
                "node %d %s; it is started again in %.1f s",
                *(self.config.node, self._end(), pause_s),
            )
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _RESTART_MAX_S)
            self.restarts += 1
            try:
                await self._launch()
            except NodeProcessError as error:
                _LOG.error("%s", error)


def _members(told: Mapping[int, Mapping[str, Any] | str]) -> set[int]:
    """Who belongs to the cluster, as of who has applied most of its ledger."""
    answers = [one for one in told.values() if not isinstance(one, str)]
    if not answers:
        return set()
    newest = max(answers, key=lambda one: int(one["applied"]))
    words = ("voters", "voters_outgoing", "learners")
    return {int(node) for word in words for node in newest[word]}

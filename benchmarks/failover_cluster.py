"""Coordinators and workers in processes of their own, whose leader can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import psutil
from distributed import Security

from dtf_dask.cli.free_ports import free_ports
from dtf_dask.cli.ha_prepare import make_coordinators
from dtf_dask.errors import DtfError
from dtf_dask.ha.coordinators import numbered
from dtf_dask.ha.node_config import NodeConfig, read_config
from dtf_dask.ha.remote_ledger import RemoteLedger

START_S = 60.0
_ASK_S = 0.02
_HOST = "127.0.0.1"
_LAG_MAX = 100


class Coordinator:
    """One of them: its folder, and its processes while they live."""

    def __init__(
        self, config: NodeConfig, log: Path, environment: Mapping[str, str]
    ) -> None:
        self.config = config
        self.environment = environment
        self.node = int(config.node)
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self._file: BinaryIO | None = None

    def start(self) -> None:
        """Start its process; the scheduler's is started by that."""
        assert self.process is None
        self._file = self.log.open("ab")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "dtf_dask.ha.node_process"),
                *(str(self.config.folder), "--supervised"),
            ],
            stdin=subprocess.PIPE,
            stdout=self._file,
            stderr=self._file,
            env=dict(self.environment),
            start_new_session=True,
        )

    def processes(self) -> list[psutil.Process]:
        """Those that live: the node's, and the scheduler's."""
        if self.process is None:
            return []
        try:
            node = psutil.Process(self.process.pid)
            return [*node.children(recursive=True), node]
        except psutil.NoSuchProcess:
            return []

    def signal(self, signum: int) -> None:
        """To all its processes at once."""
        for one in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                os.kill(one.pid, signum)

    def signal_node(self, signum: int) -> None:
        """To the node's process alone."""
        if self.process is not None:
            self.process.send_signal(signum)

    @property
    def lives(self) -> bool:
        """Whether the node's process has not ended."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """All its processes are gone when this returns."""
        self.signal(signal.SIGKILL)
        process, self.process = self.process, None
        if process is not None:
            process.wait()
            assert process.stdin is not None
            process.stdin.close()
        if self._file is not None:
            self._file.close()


class FailoverCluster:
    """Coordinators by number, workers by name, and a client of their ledger.

    Parameters
    ----------
    folder
        For all that they keep, and say.
    tls
        Whether clients and workers speak TLS with them; coordinators among themselves
        always do.
    environment, coordinators_environment
        What is added to that of workers, and of coordinators.
    host, ports
        Where coordinators say that they are; loopback and free ports if not said.
    asked_at
        The host at which the ledger is asked, if that is another one.
    preload
        Modules for the schedulers.
    python
        The interpreter of the workers, if they need more than this one has.
    """

    def __init__(
        self,
        folder: Path,
        count: int = 3,
        *,
        tls: bool = True,
        environment: Mapping[str, str] | None = None,
        coordinators_environment: Mapping[str, str] | None = None,
        host: str = _HOST,
        ports: Sequence[int] = (),
        asked_at: str = "",
        preload: Sequence[str] = (),
        python: Path | str = sys.executable,
    ) -> None:
        self.folder = folder
        names = "abcdefghi"[:count]
        places = {
            name: (host, port)
            for name, port in zip(names, ports or free_ports(count), strict=True)
        }
        options = {"dashboard": f"{_HOST}:0", "tls": tls, "preload": list(preload)}
        made = make_coordinators(folder, "lab", numbered(places), options)
        (folder / "logs").mkdir()
        self.coordinators = {
            int(config.node): Coordinator(
                config,
                folder / "logs" / f"{config.names[config.node]}.log",
                {**os.environ, **(coordinators_environment or {})},
            )
            for config in made
        }
        self.contact = made[0].contact
        self.security = _security(folder / "clients") if tls else None
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {**os.environ, **(environment or {})}
        self._tls = tls
        self._python = str(python)
        self._asked_at = asked_at
        self._ledger = self._client()

    async def __aenter__(self) -> FailoverCluster:
        try:
            for one in self.coordinators.values():
                one.start()
            await self.whole()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End all."""
        for name in list(self.workers):
            self.kill_worker(name)
        for one in self.coordinators.values():
            one.kill()
        await self._ledger.close()

    def _client(self) -> RemoteLedger:
        """Of the ledger of these coordinators."""
        configs = [one.config for one in self.coordinators.values()]
        asked = {int(one.node): one.clients[one.node] for one in configs}
        return RemoteLedger(
            {
                node: (self._asked_at or host, port)
                for node, (host, port) in asked.items()
            },
            configs[0].security(),
        )

    # -- coordinators ----------------------------------------------------------------

    async def standing(self) -> dict[int, dict[str, Any]]:
        """How each stands that answers."""

        async def one(node: int) -> dict[str, Any] | None:
            try:
                async with asyncio.timeout(1.0):
                    return await self._ledger.status(node)
            except (DtfError, TimeoutError):
                return None

        nodes = [node for node, c in self.coordinators.items() if c.process is not None]
        found = await asyncio.gather(*map(one, nodes))
        return {
            node: said
            for node, said in zip(nodes, found, strict=True)
            if said is not None
        }

    async def leader(self, wait_s: float = START_S) -> Coordinator:
        """Whose scheduler lets others in."""
        async with asyncio.timeout(wait_s):
            while True:
                standing = await self.standing()
                leads = [
                    (said["term"], node)
                    for node, said in standing.items()
                    if said["role"] == "leader" and said["scheduler"]["role"] == "leads"
                ]
                if leads:
                    return self.coordinators[max(leads)[1]]
                await asyncio.sleep(_ASK_S)

    async def whole(self, wait_s: float = START_S) -> dict[str, Any]:
        """Wait until one leads, and the others follow and shadow; the leader's word."""
        async with asyncio.timeout(wait_s):
            while True:
                standing = await self.standing()
                roles = sorted(said["scheduler"]["role"] for said in standing.values())
                others = len(self.coordinators) - 1
                if roles == ["leads"] + ["shadow"] * others:
                    (first,) = (
                        said
                        for said in standing.values()
                        if said["scheduler"]["role"] == "leads"
                    )
                    lags = first["lag"].values()
                    settled = first["scheduler"]["settled_after_s"] >= 0
                    if (
                        settled
                        and len(lags) == others
                        and max(lags, default=0) < _LAG_MAX
                    ):
                        return first
                await asyncio.sleep(_ASK_S)

    async def replace(self, lost: Coordinator, folder: Path) -> None:
        """Run a new coordinator where another one was, whose folder may be gone."""
        new = Coordinator(read_config(folder), lost.log, lost.environment)
        del self.coordinators[lost.node]
        self.coordinators[new.node] = new
        await self._ledger.close()
        self._ledger = self._client()
        new.start()

    # -- workers ---------------------------------------------------------------------

    def start_worker(self, name: str, threads: int = 1, *more: str) -> None:
        """Start one; it looks for the leader until it finds it.

        It ends with this process, however that came about: its input ends.
        """
        words = [self._python, "-m", "dtf_dask.cli.dev_child", "worker", self.contact]
        words += ["--name", name, "--nthreads", str(threads), "--no-nanny"]
        words += ["--no-dashboard", "--memory-limit", "0", *more]
        if self._tls:
            own = self.folder / "workers"
            words += [
                *("--tls-ca-file", str(own / "authority.pem")),
                *("--tls-cert", str(own / "certificate.pem")),
                *("--tls-key", str(own / "certificate.key")),
            ]
        log = (self.folder / "logs" / f"{name}.log").open("ab")
        with log:
            self.workers[name] = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self.folder,
                start_new_session=True,
            )

    def kill_worker(self, name: str) -> None:
        """It is gone when this returns, with all that it started."""
        process = self.workers.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdin is not None
        process.stdin.close()

    def client_environment(self) -> dict[str, str]:
        """What a process needs in its environment to be let in."""
        if not self._tls:
            return {}
        own, tls = self.folder / "clients", "DASK_DISTRIBUTED__COMM__TLS__"
        return {
            "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
            f"{tls}CA_FILE": str(own / "authority.pem"),
            f"{tls}CLIENT__CERT": str(own / "certificate.pem"),
            f"{tls}CLIENT__KEY": str(own / "certificate.key"),
        }

    # -- what was said ---------------------------------------------------------------

    def logged(self) -> str:
        """The last lines of all logs, for who looks for a cause."""
        parts = []
        for path in sorted((self.folder / "logs").iterdir()):
            lines = path.read_text(errors="replace").splitlines()[-20:]
            parts.append(f"-- {path.name}\n" + "\n".join(lines))
        return "\n".join(parts)


def now_s() -> float:
    """The clock of `failover_tasks`."""
    return time.monotonic()


def _security(folder: Path) -> Security:
    return Security(
        tls_ca_file=str(folder / "authority.pem"),
        tls_client_cert=str(folder / "certificate.pem"),
        tls_client_key=str(folder / "certificate.key"),
        require_encryption=True,
    )

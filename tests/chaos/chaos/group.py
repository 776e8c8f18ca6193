"""The nodes that are tried: processes, folders, disks, clocks, and proxies before them.

Nodes are numbered; some belong to the cluster, the others are spare. A node is real in
all: `RedundancyManager` runs it, and it knows the others by their proxies.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import mmap
import os
import shutil
import struct
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from chaos.proxies import Address, Name, Net, Proxy, connected_to, owner_of_port
from dtf_dask.errors import DtfError
from dtf_dask.ha.node_config import NodeConfig
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.ha.redundancy import RedundancyManager
from dtf_dask.ha.remote_ledger import RemoteLedger
from dtf_dask.security.authority import Authority

CLUSTER = "chaos"
SITES = ("site-a", "site-b", "site-c")
"""Where clients are: each reaches each node on a way of its own."""

_PEER_PORT, _CLIENT_PORT = 20_000, 21_000
_DISK_BYTES = 640 * 2**20
_DISKS = 3
_CLONE_NEWNS = 0x20000
_MS_REMOUNT, _MS_REC, _MS_PRIVATE = 32, 16_384, 1 << 18
_LOGGER = "dtf_dask.ha.redundancy"
_ALARMS = ("a defect of dtf", "Traceback", " stops: ")


class Clock:
    """How far a node's clocks are ahead, in a file that its process looks at."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(struct.pack("dd", 0.0, 0.0))
        with path.open("r+b") as file:
            self._ahead = mmap.mmap(file.fileno(), 16)

    def jump(self, *, wall_s: float = 0.0, steady_s: float = 0.0) -> None:
        """Set the wall clock's lead; move the monotonic one forward."""
        _, steady = struct.unpack_from("dd", self._ahead)
        struct.pack_into("dd", self._ahead, 0, wall_s, steady + abs(steady_s))


class Member:
    """One node: what it is, and what runs of it."""

    def __init__(self, node: int, folder: Path, clock: Clock) -> None:
        self.node = node
        self.folder = folder
        self.clock = clock
        self.manager: RedundancyManager | None = None
        self.own_disk = False
        """Whether its folder is a small disk of its own."""
        self.disk_filled = False
        self.excused_until = 0.0
        """Until when its process may end by itself: its disk is full."""
        self.kills = 0
        self.exits: list[int] = []
        self.last_lines: deque[str] = deque(maxlen=20)
        self.log: TextIO | None = None

    @property
    def pid(self) -> int | None:
        """Of the process; None if there is none now."""
        return None if self.manager is None else self.manager.pid

    def signal(self, signum: int) -> None:
        """Send one to the process, if there is one."""
        pid = self.pid
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signum)

    def fill_disk(self) -> None:
        """Leave no room on it: it is made as small as what is on it."""
        self.disk_filled = True
        self.excused_until = float("inf")
        while True:
            found = os.statvfs(self.folder)
            used = (found.f_blocks - found.f_bfree) * found.f_frsize
            if not _mount(self.folder, used, again=True):
                return  # else something was written meanwhile

    def free_disk(self) -> None:
        """Give the room back."""
        wrong = _mount(self.folder, _DISK_BYTES, again=True)
        if wrong:
            raise OSError(wrong)
        self.disk_filled = False
        self.excused_until = time.monotonic() + 15.0


class Group:
    """A cluster of real nodes on this machine, and spare ones.

    Parameters
    ----------
    folder
        For all that they keep.
    count
        How many nodes belong to the cluster.
    spares
        How many more there may be.
    """

    def __init__(self, folder: Path, count: int, spares: int = 2) -> None:
        self.folder = folder
        self.net = Net()
        self.members: dict[int, Member] = {}
        self.belonging = set(range(1, count + 1))
        """The nodes that are to be in the cluster."""
        self.proxies: dict[int, Proxy] = {}
        self.sites: dict[str, dict[int, Proxy]] = {}
        self.no_disks = ""
        """Why no node has a disk of its own; empty if some have."""
        self.alarms: list[str] = []
        """What no node should ever say or do."""
        self.moved = self.restored = 0
        """How many nodes were replaced, and brought up by a snapshot of others."""
        self.ledgers: dict[RemoteLedger, str] = {}
        """The clients that live, and where."""
        self._listens: dict[int, Address] = {}
        self._serves: dict[int, Address] = {}
        self._authority = Authority(folder / "authority")
        self._mounts: list[Path] = []
        nodes = range(1, count + spares + 1)
        clocks = folder / "clocks"
        clocks.mkdir()
        (folder / "logs").mkdir()
        for node in nodes:
            own = folder / str(node)
            own.mkdir()
            self.members[node] = Member(node, own, Clock(clocks / str(node)))
        hook = str(Path(__file__).parents[1] / "node_hook")
        known = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = f"{hook}:{known}" if known else hook
        os.environ["DTF_CHAOS_CLOCKS"] = str(clocks)

    async def start(self) -> None:
        """Make all that is needed and start the cluster."""
        self._authority.create(CLUSTER)
        self._authority.issue(f"dtf://{CLUSTER}/client/chaos", self.folder / "client")
        self._listen_to_nodes()
        said, real = _own_hosts()
        os.environ["DTF_CHAOS_HOSTS"] = f"{said} {real}"
        for node in self.members:
            self._listens[node] = (real, _PEER_PORT + node)
            self._serves[node] = (real, _CLIENT_PORT + node)
            proxy = Proxy(self.net, node, self._listens[node], self._node_at)
            self.proxies[node] = proxy
            await proxy.start((said, _PEER_PORT + node))
        for site in SITES:
            self.sites[site] = {}
            for node in self.members:
                proxy = Proxy(self.net, node, self._serves[node], lambda _, s=site: s)
                self.sites[site][node] = proxy
                await proxy.start()
        self._make_disks()
        for node in self.belonging:
            self.prepare(node, joins=False)
        await asyncio.gather(*(self.run(node) for node in self.belonging))

    def prepare(self, node: int, *, joins: bool) -> None:
        """Make an empty folder for a node that has not run yet."""
        member = self.members[node]
        for path in member.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        self._authority.issue(f"dtf://{CLUSTER}/node/{node}", member.folder)
        own = NodeId(node)
        # Its own address too is that of its proxy; it listens elsewhere.
        known = self.belonging | {node}
        peers = {NodeId(one): self.proxies[one].address for one in known}
        for ledger, site in self.ledgers.items():
            ledger.set_address(node, self._reached(site, node))
        clients = {NodeId(one): self._serves[one] for one in known}
        NodeConfig(member.folder, CLUSTER, own, peers, clients, joins).write()

    async def run(self, node: int) -> None:
        """Start the process of a node."""
        manager = RedundancyManager(self.members[node].folder)
        self.members[node].manager = manager
        await manager.start()

    async def halt(self, node: int) -> None:
        """End the process of a node, for good."""
        member = self.members[node]
        if member.manager is not None:
            await member.manager.stop()
            member.manager = None

    async def close(self) -> None:
        """End everything."""
        for member in self.members.values():
            member.signal(_SIGCONT)
        await asyncio.gather(*(self.halt(node) for node in self.members))
        proxies = [*self.proxies.values()]
        for site in self.sites.values():
            proxies += site.values()
        await asyncio.gather(*(proxy.close() for proxy in proxies))
        for member in self.members.values():
            if member.log is not None:
                member.log.close()
        for path in self._mounts:
            _umount(path)

    # Who talks to whom

    def direct(self) -> RemoteLedger:
        """A client that nothing disturbs, to look after the cluster with."""
        nodes = {node: self._serves[node] for node in sorted(self.belonging)}
        return self._client(nodes, None)

    @asynccontextmanager
    async def client(
        self, site: str, reads_from: int | None
    ) -> AsyncIterator[RemoteLedger]:
        """A client somewhere; it reaches nodes through proxies.

        It is told where nodes are that come while it lives: it cannot find out itself.
        """
        nodes = {node: self._reached(site, node) for node in sorted(self.belonging)}
        known = reads_from if reads_from in nodes else None
        async with self._client(nodes, known) as ledger:
            self.ledgers[ledger] = site
            try:
                yield ledger
            finally:
                del self.ledgers[ledger]

    def _reached(self, site: str, node: int) -> Address:
        return self.sites[site][node].address

    def _client(
        self, nodes: Mapping[int, Address], reads_from: int | None
    ) -> RemoteLedger:
        from distributed import Security

        own = self.folder / "client"
        security = Security(
            require_encryption=True,
            tls_ca_file=str(own / "authority.pem"),
            tls_scheduler_cert=str(own / "certificate.pem"),
            tls_scheduler_key=str(own / "certificate.key"),
        )
        return RemoteLedger(nodes, security, reads_from)

    def _node_at(self, port: int) -> Name | None:
        return owner_of_port(port, self._pids())

    def _pids(self) -> dict[int, Name]:
        return {one.pid: one.node for one in self.members.values() if one.pid}

    def past_the_proxies(self) -> list[Name]:
        """Which nodes talk to others on ways of their own: there are to be none."""
        return connected_to(self._listens.values(), self._pids())

    # How they stand

    async def statuses(self) -> dict[int, dict[str, Any]]:
        """Of the nodes that answer, those that are to leave too."""
        running = [one for one in self.members.values() if one.pid is not None]
        nodes = {one.node: self._serves[one.node] for one in running}
        if not nodes:
            return {}
        async with self._client(nodes, None) as ledger:

            async def one(node: int) -> dict[str, Any] | None:
                try:
                    return await ledger.status(node, 1.0)
                except DtfError:
                    return None

            told = await asyncio.gather(*map(one, nodes))
        return {node: it for node, it in zip(nodes, told, strict=True) if it}

    async def leader(self) -> int:
        """Who leads now, in the latest term; 0 if nobody says so."""
        found = [
            (one["term"], node)
            for node, one in (await self.statuses()).items()
            if one["role"] == "leader"
        ]
        return max(found)[1] if found else 0

    # Disks

    def _make_disks(self) -> None:
        """Give the first nodes small disks of their own."""
        self.no_disks = _private_mounts()
        for node in sorted(self.members)[:_DISKS]:
            if self.no_disks:
                return
            member = self.members[node]
            self.no_disks = _mount(member.folder, _DISK_BYTES)
            if not self.no_disks:
                member.own_disk = True
                self._mounts.append(member.folder)

    # What nodes say

    def _listen_to_nodes(self) -> None:
        logger = logging.getLogger(_LOGGER)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(_Ear(self))

    def heard(self, record: logging.LogRecord) -> None:
        """Something was said by a node, or of one."""
        text = record.getMessage()
        arguments = record.args
        node = arguments[0] if isinstance(arguments, tuple) and arguments else None
        member = self.members.get(node) if isinstance(node, int) else None
        if member is None or not isinstance(arguments, tuple):
            self._not_started(text)
            return
        if member.log is None:
            path = self.folder / "logs" / f"node-{node}.log"
            member.log = path.open("a", encoding="utf-8", buffering=1)
        member.log.write(text + "\n")
        member.last_lines.append(text)
        if "ended with code" in str(record.msg):
            self._ended(member, int(str(arguments[1])), text)
        elif any(alarm in text for alarm in _ALARMS):
            self.alarms.append(text)

    def _ended(self, member: Member, code: int, text: str) -> None:
        member.exits.append(code)
        injected = code == -9 and member.exits.count(-9) <= member.kills
        if not injected and time.monotonic() > member.excused_until:
            self.alarms.append(text)

    def _not_started(self, text: str) -> None:
        """A process did not get so far that it takes part.

        If it ended this is said once more, by its supervisor; if not it was stopped.
        """
        known = ("ended with code", "it was not ready")
        if not any(words in text for words in known):
            self.alarms.append(text)


class _Ear(logging.Handler):
    def __init__(self, group: Group) -> None:
        super().__init__(logging.INFO)
        self._group = group

    def emit(self, record: logging.LogRecord) -> None:
        self._group.heard(record)


_SIGCONT = 18


def _private_mounts() -> str:
    """Have mounts of this process and its children end with them; or why not."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "mounting small disks takes root on Linux"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0:
        return f"no mounts of its own: {os.strerror(ctypes.get_errno())}"
    if libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None) != 0:
        return f"no private mounts: {os.strerror(ctypes.get_errno())}"
    return ""


def _mount(path: Path, size: int, *, again: bool = False) -> str:
    """Put a small disk there, or give one another size; or why not."""
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={size},mode=0700".encode()
    flags = _MS_REMOUNT if again else 0
    if libc.mount(b"tmpfs", bytes(path), b"tmpfs", flags, options) != 0:
        return f"no small disk of {size} bytes: {os.strerror(ctypes.get_errno())}"
    return ""


def _umount(path: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.umount2(bytes(path), 2)  # MNT_DETACH: whatever still has it open


def _own_hosts() -> tuple[str, str]:
    """Addresses of loopback of which no other process has a port.

    A port of a node that is killed must be free when it is started again, whatever
    connections are made on this machine meanwhile.
    """
    high, low = divmod(os.getpid() % 65_000, 250)
    own = f"{high % 250 + 1}.{low + 1}"
    return f"127.78.{own}", f"127.77.{own}"

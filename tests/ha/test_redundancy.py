"""Nodes in processes of their own: started, killed, started again, ended."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from dtf_dask.errors import ConfigurationError, NodeProcessError, UsageError
from dtf_dask.ha import process_time, redundancy
from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import PUT
from dtf_dask.ha.ledger.outcomes import Code
from dtf_dask.ha.ledger.queries import Get
from dtf_dask.ha.node_config import NodeConfig, parse_address, read_config
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.ha.redundancy import RedundancyManager
from dtf_dask.security.authority import Authority

WAIT_S = 60.0


def made_nodes(folder: Path, count: int) -> list[Path]:
    """Folders of nodes that have not run yet."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2 * count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    authority = Authority(folder / "authority")
    authority.create("lab")
    nodes = [NodeId(n + 1) for n in range(count)]
    peers = {node: ("127.0.0.1", ports[node - 1]) for node in nodes}
    clients = {node: ("127.0.0.1", ports[count + node - 1]) for node in nodes}
    for node in nodes:
        own = folder / str(node)
        authority.issue(f"dtf://lab/node/{node}", own)
        NodeConfig(own, "lab", node, peers, clients).write()
    return [folder / str(node) for node in nodes]


def put(key: str) -> bytes:
    """A command that writes a record."""
    return encode_command(PUT, "tests", key, b"value")


async def written(manager: RedundancyManager, key: str) -> None:
    """Write until it is acknowledged."""
    while True:
        (outcome,) = await manager.ledger.propose([put(key)], WAIT_S)
        if outcome.code is Code.OK:
            return
        assert outcome.code is Code.UNKNOWN


async def is_written(manager: RedundancyManager, key: str) -> bool:
    """Whether a linearizable read finds it."""
    answer = await manager.ledger.read(Get("tests", key), WAIT_S)
    assert answer is not None
    return bool(answer.records)


def test_a_node_loads_nothing_of_dask(tmp_path: Path) -> None:
    """Its process is small: what runs there serves clients and nothing else."""

    async def run() -> str:
        (folder,) = made_nodes(tmp_path, 1)
        async with RedundancyManager(folder) as manager:
            await written(manager, "one")
            return Path(f"/proc/{manager.pid}/maps").read_text()

    mapped = asyncio.run(run())
    assert "_ssl" in mapped
    assert not [one for one in ("numpy", "tornado", "psutil") if one in mapped]


@pytest.mark.logs("ended with code -9")
def test_a_node_that_is_killed_is_started_again(tmp_path: Path) -> None:
    """With all that it acknowledged; others lead meanwhile; none outlives its end."""

    async def run() -> list[int]:
        managers = [RedundancyManager(one) for one in made_nodes(tmp_path, 3)]
        await asyncio.gather(*(one.start() for one in managers))
        try:
            await written(managers[0], "before")
            leader = int((await managers[0].status())["leader"])
            victim = managers[leader - 1]
            assert victim.pid is not None
            os.kill(victim.pid, signal.SIGKILL)
            other = managers[leader % 3]
            await written(other, "after")
            assert await is_written(other, "before")
            while not victim.restarts or victim.pid is None:
                await asyncio.sleep(0.05)
            assert victim.last_exit == -signal.SIGKILL
            while True:
                status = (await other.cluster_status())[leader]
                if not isinstance(status, str) and status["leader"]:
                    break
                await asyncio.sleep(0.05)
            assert await is_written(victim, "after")
            pids = [one.pid for one in managers if one.pid]
            assert len(pids) == 3
            return pids
        finally:
            await asyncio.gather(*(one.stop() for one in managers))

    pids = asyncio.run(asyncio.wait_for(run(), 90))
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


def test_a_leader_that_is_stopped_is_left(tmp_path: Path) -> None:
    """Its connections stand, and it says nothing: clients do not wait for their time.

    What was asked of it may have been done; what is asked then, another does.
    """

    async def run() -> None:
        managers = [RedundancyManager(one) for one in made_nodes(tmp_path, 3)]
        await asyncio.gather(*(one.start() for one in managers))
        stopped: int | None = None
        try:
            client = managers[0].ledger
            await written(managers[0], "before")
            leader = managers[int((await managers[0].status())["leader"]) - 1]
            stopped = leader.pid
            assert stopped is not None
            os.kill(stopped, signal.SIGSTOP)
            (outcome,) = await client.propose([put("during")], timeout_s=3_600)
            assert outcome.code in (Code.UNKNOWN, Code.OK)
            (outcome,) = await client.propose([put("after")], timeout_s=3_600)
            assert outcome.code is Code.OK
            os.kill(stopped, signal.SIGCONT)
            assert await is_written(leader, "after")
        finally:
            if stopped is not None:
                os.kill(stopped, signal.SIGCONT)
            await asyncio.gather(*(one.stop() for one in managers))

    asyncio.run(asyncio.wait_for(run(), 60))


@pytest.mark.logs("does not end within")
def test_what_is_stopped_is_ended_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that hears no signal, and what runs beside it: soon nothing is there."""
    monkeypatch.setattr(redundancy, "STOP_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as free:
        where = "127.0.0.1:{1}".format(*free.getsockname())

    async def run() -> list[psutil.Process]:
        (folder,) = made_nodes(tmp_path, 1)
        manager = RedundancyManager(folder, {"web": where})
        await manager.start()
        while (await manager.status())["web"]["role"] != "serves":
            await asyncio.sleep(0.02)
        node = psutil.Process(manager.pid)
        family = [*node.children(recursive=True), node]
        assert len(family) == 2
        for one in family:
            one.suspend()
        await manager.stop()
        assert manager.last_exit == -signal.SIGKILL
        return family

    family = asyncio.run(asyncio.wait_for(run(), 60))
    _, left = psutil.wait_procs(family, WAIT_S)
    assert left == []


def test_a_node_that_cannot_start_says_why(tmp_path: Path) -> None:
    """In the words of its process: here, that another one has the folder."""
    (folder,) = made_nodes(tmp_path, 1)

    async def run() -> None:
        async with RedundancyManager(folder):
            with pytest.raises(NodeProcessError, match="in use by process"):
                await RedundancyManager(folder).start()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_node_that_computes_as_it_starts_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slowly it comes up; one that does nothing is ended, and that is said."""
    (folder,) = made_nodes(tmp_path, 1)
    spent = itertools.count()
    monkeypatch.setattr(redundancy, "START_S", 0.01)
    monkeypatch.setattr(redundancy, "_LOOK_S", 0.02)
    monkeypatch.setattr(process_time, "cpu_s", lambda pid: next(spent))

    async def run() -> None:
        async with RedundancyManager(folder) as manager:
            await written(manager, "a")
        monkeypatch.setattr(process_time, "cpu_s", lambda pid: 0.0)
        with pytest.raises(NodeProcessError, match="did nothing for"):
            await RedundancyManager(folder).start()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_prometheus_reads_a_node(tmp_path: Path) -> None:
    """Where its file says so: figures by the names of Prometheus."""
    (folder,) = made_nodes(tmp_path, 1)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    replace(read_config(folder), metrics=address).write()

    async def run() -> str:
        async with RedundancyManager(folder) as manager:
            await written(manager, "a")
            url = f"http://{address[0]}:{address[1]}/metrics"
            return await asyncio.to_thread(lambda: urlopen(url).read().decode())

    text = asyncio.run(asyncio.wait_for(run(), 60))
    figures = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert figures["dtf_ledger_leader"] == 1
    assert figures["dtf_ledger_voters"] == 1
    assert figures["dtf_ledger_quorum_left"] == 0
    assert figures["dtf_ledger_elections_won_total"] == 1
    assert figures["dtf_ledger_applied_index"] >= 3
    assert figures["dtf_ledger_sync_p50_seconds"] > 0


@pytest.mark.logs("no figures are served at")
def test_a_node_runs_without_figures_if_it_must(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another program has the port: that is said, and is no reason to do without the
    node."""
    (folder,) = made_nodes(tmp_path, 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
        replace(read_config(folder), metrics=address).write()

        async def run() -> None:
            async with RedundancyManager(folder) as manager:
                await written(manager, "a")
                assert (await manager.status())["metrics"] == ""

        asyncio.run(asyncio.wait_for(run(), 60))
    assert f"no figures are served at 127.0.0.1:{address[1]}" in caplog.text


def test_a_node_ends_with_who_started_it(tmp_path: Path) -> None:
    """However that ended: here, by kill -9."""
    (folder,) = made_nodes(tmp_path, 1)
    code = f"""
        import asyncio
        from dtf_dask.ha.redundancy import RedundancyManager

        async def run():
            manager = RedundancyManager({str(folder)!r})
            await manager.start()
            print(manager.pid, flush=True)
            await asyncio.sleep(600)

        asyncio.run(run())
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    node = psutil.Process(int(owner.stdout.readline()))
    owner.kill()
    owner.wait()
    owner.stdout.close()
    deadline = time.monotonic() + WAIT_S
    while node.is_running() and node.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the node outlived its owner"
        time.sleep(0.05)


def _one_node(more: str) -> str:
    return (
        '{"cluster": "lab", "node": 1, "peers": {"1": "h:1"}, "clients": {"1": "h:2"}, '
        + more
        + "}"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expecting value"),
        ("[]", "no object"),
        ('{"cluster": "lab"}', "node is missing"),
        ('{"cluster": "../x", "node": 1, "peers": {}, "clients": {}}', "no name"),
        ('{"cluster": "lab", "node": 0, "peers": {}, "clients": {}}', "no node"),
        ('{"cluster": "lab", "node": "1", "peers": {}, "clients": {}}', "no number"),
        ('{"cluster": "lab", "node": 1, "peers": {}, "clients": {}}', "1 to 99"),
        (
            '{"cluster": "lab", "node": 1, "peers": {"2": "h:1"}, "clients": {}}',
            "1 to 99",
        ),
        (
            '{"cluster": "lab", "node": 1, "peers": {"2": "h:1"},'
            ' "clients": {"1": "h:1"}}',
            "does not say where node 1",
        ),
        ('{"cluster": "lab", "node": 1, "nonsense": 2}', "unknown: nonsense"),
        (
            '{"cluster": "lab", "node": 1, "peers": {"1": "h:1"},'
            ' "clients": {"1": "h:1"}, "content_keep_s": "1h"}',
            "content_keep_s is a number of seconds from 10",
        ),
        (_one_node('"schedulers": {"2": "h:3"}'), "that of node 1 listens"),
        (_one_node('"schedulers": {"1": "h:3"}, "scheduler": 1'), "holds no object"),
        (_one_node('"scheduler": {"sing": true}'), "sing is none of dashboard: str"),
        (_one_node('"scheduler": {"tls": "yes"}'), "tls is none of"),
        (_one_node('"scheduler": {"preload": [1]}'), "names of modules"),
        (_one_node('"names": {"1": 2}'), "names by node"),
        ("[" * 100_000, "node.json"),
    ],
)
def test_a_file_of_no_sense_is_refused_in_words(
    tmp_path: Path, text: str, said: str
) -> None:
    """With the file's name and what is wrong."""
    (tmp_path / "node.json").write_text(text)
    with pytest.raises(ConfigurationError, match=said) as raised:
        read_config(tmp_path)
    assert "node.json" in str(raised.value)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """The file holds all that a node is."""
    (folder,) = made_nodes(tmp_path, 1)
    config = read_config(folder)
    assert (config.cluster, config.node, config.joins) == ("lab", 1, False)
    config.write()
    assert read_config(folder) == config
    whole = replace(
        config,
        names={NodeId(1): "a"},
        schedulers={NodeId(1): ("::1", 8786), NodeId(2): ("h", 8786)},
        scheduler={"dashboard": ":8787", "preload": ["one.py"], "tls": True},
    )
    whole.write()
    assert read_config(folder) == whole
    assert whole.contact == "dtf://[::1]:8786,h:8786/lab"
    told = whole.scheduler_hello()
    assert told["listens_at"] == "[::1]:8786"
    assert told["options"] == {
        "dashboard": ":8787",
        "preload": ["one.py"],
        "names": {"1": "a"},
        "results": str(folder),
        "web": "",
    }
    assert told["tls"]["key"] == str(folder / config.key)
    assert replace(whole, scheduler={}).scheduler_hello()["tls"] is None


@pytest.mark.parametrize("text", ["", "host", "host:", ":1", "host:70000", "host:x", 1])
def test_addresses_of_no_sense(text: object) -> None:
    """An address has a host and a port."""
    with pytest.raises(ValueError, match="no address"):
        parse_address(text)


def test_addresses_of_ipv6() -> None:
    """Their hosts stand in brackets."""
    assert parse_address("[::1]:80") == ("::1", 80)


def test_an_authority_is_made_once(tmp_path: Path) -> None:
    """A second one would make all certificates of the first worthless."""
    authority = Authority(tmp_path)
    authority.create("lab")
    with pytest.raises(ConfigurationError, match="made once"):
        authority.create("lab")
    key = tmp_path / "authority.key"
    assert key.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "dtf://lab/node/",
        "http://lab/node/1",
        "dtf://lab/root/1",
        "dtf://a b/node/1",
    ],
)
def test_certificates_have_an_owner(tmp_path: Path, uri: str) -> None:
    """A node or a client of a cluster, and nothing else."""
    authority = Authority(tmp_path)
    authority.create("lab")
    with pytest.raises(UsageError, match=r"no owner|no name"):
        authority.issue(uri, tmp_path / "x")


def test_without_an_authority_nothing_is_signed(tmp_path: Path) -> None:
    """It says which folder was looked in."""
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Authority(tmp_path).issue("dtf://lab/node/1", tmp_path / "x")

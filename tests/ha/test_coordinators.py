"""Coordinators by name: what is read, prepared, refused, and how they stand."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dtf_dask.cli.main import dtf
from dtf_dask.cli.status import standing_of_leader
from dtf_dask.cli.status_text import Standing, status_lines
from dtf_dask.errors import DtfError
from dtf_dask.ha.coordinators import parse_coordinators
from dtf_dask.ha.node_config import read_config
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.ha.scheduler_status import SchedulerStatus

PEERS = "a=127.0.0.1:8786,b=127.0.0.1:8796,c=127.0.0.1:8806"


def run(*words: object) -> Result:
    """A command of dtf, in this process."""
    return CliRunner().invoke(dtf, [*map(str, words)])


def refused(*words: object) -> str:
    """The words with which a command of dtf is refused."""
    result = run(*words)
    assert isinstance(result.exception, DtfError), result.output
    return str(result.exception)


def test_coordinators_are_read_in_any_order() -> None:
    """Names are given numbers by their own order, and ports by the scheduler's."""
    found = parse_coordinators("b=host2, c=[::1]:9000,a=host1:8700")
    assert found == parse_coordinators("a=host1:8700,b=host2:8786,c=[::1]:9000")
    assert found.number("b") == 2
    assert found.peers[NodeId(3)] == ("::1", 9004)
    assert found.clients[NodeId(1)] == ("host1", 8705)
    assert parse_coordinators(str(found)) == found
    assert not found.local
    assert parse_coordinators("a=localhost,b=127.0.0.2").local


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1 to 9 coordinators"),
        ("host1,host2", "'host1' is no NAME=HOST:PORT"),
        ("a=host1,a=host2", "two coordinators are called 'a'"),
        ("a=host1:x", "no address"),
        ("a=", "no address"),
        ("a=h:65531", "5 above are used"),
        ("a=h:0", "5 above are used"),
        ("a=h:8786,b=h:8786", "would both use h:8786"),
        ("a=h:8786,b=h:8790", "a and b would both use h:8790"),
        ("/=h", "no NAME=HOST"),
        (",".join(f"n{n}=h{n}" for n in range(10)), "1 to 9 coordinators"),
    ],
)
def test_coordinators_of_no_sense(text: str, said: str) -> None:
    """It is said what is wrong."""
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_coordinators(text)


def test_folders_are_prepared_for_all(tmp_path: Path) -> None:
    """One for each coordinator, one for clients, one for workers; once."""
    made = run("ha", "prepare", tmp_path / "new", "--peers", PEERS, "--cluster", "lab")
    assert made.exit_code == 0, made.output
    contact = "dtf://127.0.0.1:8786,127.0.0.1:8796,127.0.0.1:8806/lab"
    assert contact in made.output
    config = read_config(tmp_path / "new" / "b")
    assert (config.node, config.contact, config.cluster) == (2, contact, "lab")
    assert config.scheduler == {"dashboard": "127.0.0.1:8787", "tls": False}
    for one in ("a", "c", "clients", "workers"):
        assert (tmp_path / "new" / one / "certificate.key").exists()
    assert "an authority is made once" in refused(
        "ha", "prepare", tmp_path / "new", "--peers", PEERS
    )
    issued = run("ha", "issue", tmp_path / "new", "ci", "--cluster", "lab")
    assert issued.exit_code == 0
    assert "exists already" in refused("ha", "issue", tmp_path / "new", "ci")
    others = PEERS.replace("c=127.0.0.1", "c=far.lab")
    run("ha", "prepare", tmp_path / "far", "--peers", others)
    assert read_config(tmp_path / "far" / "a").scheduler["tls"] is True


def test_wrong_peers_and_folders_are_refused(tmp_path: Path) -> None:
    """A coordinator starts only as what it was prepared for, and says why not."""
    run("ha", "prepare", tmp_path, "--peers", PEERS, "--cluster", "lab")
    start = ("coordinator", "--data")
    assert "'dtf ha prepare' makes" in refused(*start, tmp_path / "new")
    assert "is that of coordinator a of cluster lab, and --node says b" in refused(
        *start, tmp_path / "a", "--node", "b"
    )
    other = PEERS.replace("8806", "8816")
    said = refused(*start, tmp_path / "a", "--node", "a", "--peers", other)
    assert PEERS in said
    assert other in said
    run("ha", "init", tmp_path / "plain", "--node", "127.0.0.1:8790")
    assert "a ledger without schedulers" in refused(
        *start, tmp_path / "plain" / "node-1"
    )


def test_another_clusters_data_is_refused(tmp_path: Path) -> None:
    """What a coordinator of another cluster kept is not gone on with."""
    code = [sys.executable, "-c", "from dtf_dask.cli.main import main; main()"]
    for cluster in ("one", "two"):
        run(
            "ha",
            "prepare",
            tmp_path / cluster,
            "--peers",
            "a=127.0.0.1",
            "--cluster",
            cluster,
        )
    for one in _made_log(tmp_path / "one" / "a"):
        one.rename(tmp_path / "two" / "a" / one.name)
    done = subprocess.run(
        [*code, "coordinator", "--data", str(tmp_path / "two" / "a")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 48, done.stderr
    assert "belongs to node 1 of cluster 'one'" in done.stderr.splitlines()[-1]


def _made_log(folder: Path) -> list[Path]:
    from dtf_dask.ha.node_folder import create_node
    from dtf_dask.ha.wal_opening import LogIdentity

    before = {*folder.iterdir()}
    create_node(str(folder), LogIdentity("one", NodeId(1)), [NodeId(1)])
    return [*({*folder.iterdir()} - before)]


def status(raft: str, **scheduler: Any) -> dict[str, Any]:
    """A `NodeStatus` as the commands get it."""
    return {
        "role": raft,
        "term": 5,
        "voters": (1, 2, 3),
        "active": (2,),
        "quorum_left": 0 if raft == "leader" else None,
        "lag": {2: 0, 3: 17} if raft == "leader" else {},
        "scheduler": asdict(replace(SchedulerStatus("shadow"), **scheduler)),
    }


def test_how_a_cluster_stands_is_said() -> None:
    """Who leads, since when, what it cost, and what is wrong, in words and as JSON."""
    led = status(
        "leader",
        role="leads",
        term=5,
        led_at_s=1_000_000_000.0,
        without_leader_s=0.11,
        leading_after_s=0.07,
        tasks=7031,
        settled_after_s=0.35,
        workers=3,
        missing=1,
        crashes=1,
        last_end="it has not answered for 3.6 s",
    )
    looping = status("follower", role="pausing", alarm="its scheduler ended 3 times")
    standing = Standing(
        "lab",
        "dtf://h:1",
        {1: "a", 2: "b", 3: "c"},
        {1: led, 2: looping, 3: "no route"},
        {"workers": 3, "clients": 1, "tasks": {"memory": 7, "processing": 2}},
    )
    text = "\n".join(one.plain for one in status_lines(standing, 100))
    words = " ".join(text.split())
    assert "Cluster lab: a leads since" in words
    assert "after 0.11 s without a leader" in words
    assert "with 7,031 tasks known; 3 workers back after 0.35 s, 1 not." in words
    assert "Now 3 workers, 1 client, tasks" in words
    assert "tasks: 7 memory, 2 processing" in words
    assert "a leads 5 1 it has not answered for 3.6 s" in words
    assert "! b: its scheduler ended 3 times" in words
    assert "! c does not answer: no route" in words
    first = Standing("lab", "", {}, {1: status("leader", role="leads")}, {})
    fresh = "\n".join(one.plain for one in status_lines(first, 100))
    assert "there was nothing to take over" in " ".join(fresh.split())
    plain = json.loads(json.dumps(standing.plain()))
    assert (plain["leader"], plain["term"]) == ("a", 5)
    assert plain["takeover"]["leading_after_s"] == 0.07
    assert len(plain["alarms"]) == 3
    seen = Standing("lab", "", {}, {1: led}, {}, seen_by=1)
    assert "3 is not heard of" in seen.alarms
    assert "if one more coordinator fails, none can lead" in seen.alarms
    lost = {"level": "warning", "rule": "worker-lost", "words": "worker w was lost"}
    seen.view = {"alerts": [lost, {**lost, "rule": "quorum", "words": "twice"}]}
    text = "\n".join(one.plain for one in status_lines(seen, 100))
    assert "! worker w was lost" in text
    assert "twice" not in text
    alone = {**led, "voters": (1,), "active": ()}
    assert Standing("lab", "", {}, {1: alone}, {}, seen_by=1).alarms == []


def test_that_none_leads_is_said() -> None:
    """A leader of Raft whose scheduler lets nobody in is none for users."""
    standing = Standing("lab", "", {}, {1: status("leader", role="starting")}, {})
    assert standing.plain()["leader"] is None
    text = "\n".join(one.plain for one in status_lines(standing, 100))
    assert "no scheduler leads" in text


def test_who_has_just_begun_to_lead_is_asked_again() -> None:
    """Until its node has told it that it leads; before that none would seem to."""
    waits, leads = {**status("leader", role="shadow")}, status("leader", role="leads")
    said = [{}, waits, leads]

    async def ask(op: str) -> dict[str, Any]:
        told = said.pop(0)
        rest = {"workers": 1, "clients": 0, "tasks": {}}
        return {"cluster": "lab", "address": "dtf://h:1", "names": {"1": "a"}} | {
            "node": 1,
            "status": told,
            **rest,
        }

    standing = asyncio.run(standing_of_leader(ask))
    assert said == []
    assert standing.leader == 1
    text = "\n".join(one.plain for one in status_lines(standing, 100))
    assert "Cluster lab: a leads since" in text


def test_what_is_neither_folder_nor_address_is_no_cluster_that_is_down() -> None:
    """It is said what is wrong with it, and nobody is told to start a scheduler."""
    words = refused("status", "no-such-folder")
    assert words == (
        "no-such-folder is no address of a scheduler: missing port number in address"
        " 'no-such-folder'"
    )
    assert "'x' is no port: from 1 to 65535" in refused("status", "dtf://host:x")


@pytest.mark.parametrize("act", ["remove", "transfer"])
def test_a_coordinator_is_named_where_members_change(tmp_path: Path, act: str) -> None:
    """By its name, as `dtf status` calls it, or by its number."""
    nobody = "a=127.0.0.1:1,b=127.0.0.1:11,c=127.0.0.1:21"
    run("ha", "prepare", tmp_path, "--cluster", "lab", "--peers", nobody)
    for node in ("b", "2"):
        words = refused("ha", act, tmp_path / "a", node, "--timeout", "0.2")
        assert "nothing was done" in words
    for node, said in (("x", "no node is called 'x'"), ("0", "nodes count from 1")):
        wrong = run("ha", act, tmp_path / "a", node)
        assert wrong.exit_code == 2
        assert said in wrong.output


def test_an_api_is_served_to_this_machine_only(tmp_path: Path) -> None:
    """Where others would reach it, it is refused, with the way there is."""
    run("ha", "prepare", tmp_path, "--peers", PEERS, "--cluster", "lab")
    done = CliRunner().invoke(
        dtf, ["coordinator", "--data", str(tmp_path / "a"), "--web", "0.0.0.0:8800"]
    )
    assert done.exit_code == 2
    assert "127.0.0.1:8800" in done.output
    assert "ssh -L" in done.output.replace("\n", " ")
    assert read_config(tmp_path / "a").web is None

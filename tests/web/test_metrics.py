"""What Prometheus reads of a web process, and what Grafana asks it for."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from site_room import SiteRoom, record

from dtf_dask.ha.local_ledger import LocalLedger
from dtf_dask.ha.node_status import NodeStatus
from dtf_dask.view.figures import exposition, of_node
from dtf_dask.web.metrics import dashboard

HOSTILE = 'a"b\\c\nd\u202e'
LABELS = {"state", "class", "status", "outcome", "level", "rule", "peer", "version"}


def read(room: SiteRoom, path: str) -> tuple[int, str, str]:
    connection = HTTPConnection(*room.address, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        kind = answer.getheader("Content-Type") or ""
        return answer.status, kind, answer.read().decode()
    finally:
        connection.close()


def gpu(id: str) -> dict[str, object]:
    return {"id": id, "util": 0.5, "memory": 3, "memory_total": 4, "temperature": 70}


@pytest.fixture
def filled(room: SiteRoom, tmp_path: Path) -> SiteRoom:
    """A site of a cluster in which there is something of each kind."""
    room.begin(
        record(
            "cluster",
            at=100.0,
            workers=2,
            waiting=7,
            ended=5,
            tasks={"waiting": 7},
            pressure={"bound": 50},
        ),
        record("class", "c", name=HOSTILE, waiting=7, since=90.0, latest=130.0),
        *(
            record("worker", f"w{n}", name=f"w{n}", status="running", shut="odd")
            for n in range(300)
        ),
        *(
            record("load", f"w{n}", temperature=40.0 + n, gpus=[gpu("a"), gpu(f"b{n}")])
            for n in range(2)
        ),
        record("run", "r", status="running", counts={"passed": 3}),
        record("breaker", "b", state="open"),
        record("action", "a", state="done"),
        *(
            record("failover", str(n), at=float(n), term=n, without_leader_s=n / 10)
            for n in (3, 4)
        ),
    )
    room.stand(**{**asdict(standing(tmp_path)), "quorum_left": 1})
    return room


def standing(folder: Path) -> NodeStatus:
    """How a node stands that leads."""
    import asyncio

    async def found() -> NodeStatus:
        async with LocalLedger(str(folder / "node")) as ledger:
            return NodeStatus.of(ledger.node)

    return asyncio.run(found())


def test_the_cluster_and_the_node_are_told_in_prometheus_words(
    filled: SiteRoom,
) -> None:
    """Each name once, with its kind; labels do not grow with the cluster."""
    status, kind, text = read(filled, "/metrics")
    assert (status, kind.partition(";")[0]) == (200, "text/plain")
    families = {one.name: one for one in text_string_to_metric_families(text)}
    values = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for one in families.values()
        for sample in one.samples
    }
    assert values["dtf_tasks_ended_total",] == 5
    assert values["dtf_class_waiting", HOSTILE] == 7
    assert values["dtf_class_waited_seconds", HOSTILE] == pytest.approx(10, abs=60)
    assert values["dtf_workers_by_status", "running"] == 300
    assert (values["dtf_gpus",], values["dtf_gpu_memory_used_bytes",]) == (3, 9)
    assert values["dtf_gpu_utilization_ratio",] == 0.5
    assert values["dtf_gpu_temperature_max_celsius",] == 70
    assert values["dtf_worker_temperature_max_celsius",] == 41
    assert values["dtf_failover_without_leader_seconds",] == 0.4
    assert values["dtf_alerts", "warning", "worker-shut"] > 1
    assert "dtf_ledger_term" in families
    assert text.count("# TYPE dtf_class_waiting ") == 1
    labels = {
        name for one in families.values() for s in one.samples for name in s.labels
    }
    assert labels <= LABELS
    for one in families.values():
        assert len(one.samples) <= 100, one.name
        assert one.documentation.endswith(".")
        assert re.fullmatch(r"dtf_[a-z0-9_]+", one.name)
        assert (one.type == "counter") == any(
            sample.name.endswith("_total") for sample in one.samples
        )


def test_each_figure_that_the_dashboard_names_is_there(filled: SiteRoom) -> None:
    """With the labels by which it is summed and named."""
    _, _, text = read(filled, "/metrics")
    there: dict[str, set[str]] = {"dtf_ledger_peer_lag_entries": {"peer"}}
    for one in text_string_to_metric_families(text):
        for sample in one.samples:
            there.setdefault(sample.name, set()).update(sample.labels)
    status, kind, served = read(filled, "/metrics/grafana.json")
    assert (status, kind) == (200, "application/json")
    shown = json.loads(served)
    assert shown == json.loads(dashboard())
    panels = [one for one in shown["panels"] if one["type"] != "row"]
    assert len({one["id"] for one in shown["panels"]}) == len(shown["panels"])
    assert all(one["description"] and one["title"] for one in panels)
    named = set()
    for target in (target for one in panels for target in one["targets"]):
        names = set(re.findall(r"dtf_[a-z0-9_]+", target["expr"]))
        assert names, target
        assert names <= there.keys(), names - there.keys()
        named |= names
        labels = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        (summed,) = re.findall(r"by \(([\w, ]+)\)", target["expr"]) or [""]
        labels |= set(filter(None, summed.split(", ")))
        assert labels - {"instance"} <= set().union(*(there[name] for name in names))
    assert len(named) > 30


def test_a_site_that_knows_nothing_yet_says_so(room: SiteRoom) -> None:
    """There is an answer before there is a scheduler, or a first ping."""
    status, _, text = read(room, "/metrics")
    assert status == 200
    assert "dtf_build_info{version=" in text
    assert "dtf_workers " not in text


def test_figures_are_written_as_they_are_read() -> None:
    """Whatever a label holds; each number in full."""
    status = {"lag": {2: 2**40}, "elections": 0}
    (lag,) = [one for one in of_node(_With(status)) if one.name.endswith("lag_entries")]
    (family,) = text_string_to_metric_families(exposition([lag]).decode())
    assert [(one.labels, one.value) for one in family.samples] == [
        ({"peer": "2"}, 2.0**40)
    ]


class _With(dict[str, object]):
    """A status of which all else is nothing."""

    def __missing__(self, name: str) -> object:
        if name in ("scheduler", "web"):
            return _With(role="", crashes=0, alarm="")
        return () if name == "voters" else 0

"""A payload of 50 MB on three nodes: kept by most of them, named, and read again."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from ledger_cluster import cluster, cpu_s, rss_mb

from dtf_dask.ha.large_values import put_value, value_bytes
from dtf_dask.ha.ledger.outcomes import Code
from dtf_dask.ha.ledger.queries import Get

BYTES = 50_000_000


async def measure(turns: int, say: Callable[[str, Any], None]) -> dict[str, Any]:
    """Seconds until it is acknowledged, and until it is read; elections meanwhile."""
    put_s: list[float] = []
    got_s: list[float] = []
    cpus: list[float] = []
    async with cluster(3) as made, made.client() as ledger:
        whole = await made.whole(ledger)
        for turn in range(turns):
            content = os.urandom(BYTES)
            before, since = cpu_s(made.processes), time.perf_counter()
            outcome = await put_value(ledger, "bench", f"large{turn}", content, 60.0)
            put_s.append(time.perf_counter() - since)
            cpus.append(cpu_s(made.processes) - before)
            assert outcome.code is Code.OK, outcome
            since = time.perf_counter()
            answer = await ledger.read(Get("bench", f"large{turn}"), 60.0)
            assert answer is not None
            ((_, record),) = answer.records
            found = await value_bytes(ledger, record.value, 60.0)
            got_s.append(time.perf_counter() - since)
            assert found == content
        elections = (await made.whole(ledger))["term"] - whole["term"]
        rss = round(rss_mb(made.processes), 1)
    result = {
        "put_s_median": round(statistics.median(put_s), 2),
        "put_s_worst": round(max(put_s), 2),
        "get_s_median": round(statistics.median(got_s), 2),
        "nodes_cpu_s": round(statistics.median(cpus), 2),
        "elections": elections,
        "rss_mb": rss,
    }
    say("a payload of 50 MB on 3 nodes", result)
    return result

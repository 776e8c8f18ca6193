"""What open pages cost: a browser that shows them, and the scheduler of a cluster."""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from failover_cluster import FailoverCluster

from dtf_dask.cli.free_ports import free_ports

PAGES = 20
CONTEXTS = 4
PATIENCE_MS = 180_000
SETTLED_S = 5.0
"""Browsers, as it were: pages of one share what they ask for."""
_FIRST = "performance.getEntriesByName('dtf-first-data')[0]?.startTime"
_BEGUN = "html[data-begun]"


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        found = started.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        try:
            yield found
        finally:
            found.close()


def opened(context: Any, url: str) -> Any:
    """A page, as soon as it has data."""
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(url, wait_until="commit")
    page.wait_for_selector(_BEGUN, state="attached")
    return page


def first_data_ms(found: Any, url: str, times: int) -> list[float]:
    """From the click to a page with data, by a browser that was never there."""
    took = []
    for _ in range(times):
        context = found.new_context()
        took.append(opened(context, url).evaluate(_FIRST))
        context.close()
    return took


def pages(follow_s: float, times: int) -> dict[str, Any]:
    """One coordinator with a worker; its scheduler with no page open, and with 20."""
    if shutil.which("chromium") is None:
        return {"pages": "there is no Chromium"}
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        cluster = FailoverCluster(Path(folder), 1, tls=False)
        (coordinator,) = cluster.coordinators.values()
        (port,) = free_ports(1)
        coordinator.config = replace(coordinator.config, web=("127.0.0.1", port))
        coordinator.config.write()
        runner.run(cluster.__aenter__())
        try:
            cluster.start_worker("w")
            scheduler, web = _processes(coordinator)
            with browser() as found:
                url = f"http://127.0.0.1:{port}/dtf/"
                took = first_data_ms(found, url, times)
                without = _cpu_percent(scheduler, follow_s)
                contexts = [found.new_context() for _ in range(CONTEXTS)]
                for n in range(PAGES):
                    opened(contexts[n % CONTEXTS], url)
                time.sleep(SETTLED_S)
                web_before = _cpu_s(web)
                began = time.perf_counter()
                with_pages = _cpu_percent(scheduler, follow_s)
                web_s = (_cpu_s(web) - web_before) / (time.perf_counter() - began)
        finally:
            runner.run(cluster.close())
    return {
        "page_first_data_ms_median": round(statistics.median(took)),
        "page_first_data_ms_worst": round(max(took)),
        "scheduler_cpu_percent_0_pages": without,
        "scheduler_cpu_percent_20_pages": round(with_pages - without, 2),
        "web_cpu_percent_20_pages": round(100 * web_s, 1),
    }


def _processes(coordinator: Any) -> tuple[psutil.Process, psutil.Process]:
    by = {
        word: one
        for one in coordinator.processes()
        for word in ("standby.process", "web.process")
        if any(word in part for part in one.cmdline())
    }
    return by["standby.process"], by["web.process"]


def _cpu_s(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def _cpu_percent(process: psutil.Process, for_s: float) -> float:
    before, began = _cpu_s(process), time.perf_counter()
    time.sleep(for_s)
    return round(100 * (_cpu_s(process) - before) / (time.perf_counter() - began), 2)

"""What policies answer does not depend on the order of sets or on hashes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

EVENTS = """
import random
from dtf_dask.scheduler_plugins.policies.breaker import Breakers
from dtf_dask.scheduler_plugins.policies.estimate import Estimates
from dtf_dask.scheduler_plugins.policies.placement import Placement
from dtf_dask.scheduler_plugins.policies.quota import Tenants

rng, now = random.Random(3), 0.0
estimates, tenants, breakers = Estimates(), Tenants(), Breakers()
placement = Placement(estimates)
tenants.threads, breakers.workers = 50, 20
for _ in range(5000):
    now += rng.random()
    name = f"f{rng.randrange(9)}.py::t{rng.randrange(99)}"
    group = f"g{rng.randrange(5)}"
    worker, tenant = f"w{rng.randrange(20)}", f"t{rng.randrange(6)}"
    if not breakers.allows(worker, name, group, now):
        breakers.started(worker, name, group, now)
        tenants.started(tenant, (), now)
        bad = worker in ("w3", "w4") and rng.random() < 0.8
        breakers.ended(worker, name, group, "failed" if bad else "done", now + 1)
        tenants.ended(tenant, (), now + 1)
        estimates.learn(name, group, rng.expovariate(1.0), "normal")
    print(estimates.of(name, group, 1.0), placement.score(name, group), end=" ")
    print(tenants.offset_s(tenant, now), breakers.rows(now), breakers.take_notices())
"""


@pytest.mark.timeout(60)
def test_the_same_events_have_the_same_answers_under_two_hash_seeds() -> None:
    """Two processes with unlike hashes print the same, and breakers did open."""
    traces = [
        subprocess.run(
            [sys.executable, "-c", EVENTS],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert traces[0] == traces[1]
    assert "circuit breaker is open" in traces[0]

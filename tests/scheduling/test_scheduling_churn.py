"""Random programs on a cluster that changes: all ends, and nothing is left behind."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import dask
import pytest
from dask_room import Room, advert, room, run
from distributed.core import Status


def work(number: int, pause_s: float, *inputs: object) -> int:
    time.sleep(pause_s)
    if number % 11 == 0:
        raise ValueError(number)
    return number


def wishes(rng: random.Random, keys: list[str], inputs: list[str]) -> dict[str, Any]:
    """What one task asks; now and then nonsense."""
    found: dict[str, Any] = {}
    if rng.random() < 0.3:
        found["gpus"] = 1
    if rng.random() < 0.3:
        found["class"] = rng.choice(["interactive", "release", "normal", "nightly"])
    if rng.random() < 0.1:
        found["exclusive"] = True
    if rng.random() < 0.1:
        found["timeout"] = 0.05
    if rng.random() < 0.2:
        found["retries"] = rng.randrange(3)
    if rng.random() < 0.1 and keys:
        found["after"] = rng.sample(keys, 1)
    if rng.random() < 0.2:
        word = rng.choice(["skip", "run", "fail"])
        found["on_upstream_failure"] = word
        if rng.random() < 0.5 and (near := [*inputs, *found.get("after", ())]):
            found["on_upstream_failure"] = {rng.choice(near): word, "*": "run"}
    if rng.random() < 0.05:
        found["hardware"] = rng.choice(["gpu.cont > 1", "memory >= 1 and"])
    return {"dtf": found} if found else {}


def submit(made: Room, rng: random.Random, futures: list[Any], number: int) -> None:
    inputs = rng.sample(futures, min(len(futures), rng.choice([0, 0, 1, 2])))
    keys = [future.key for future in futures[-5:]]
    with dask.annotate(**wishes(rng, keys, [one.key for one in inputs])):
        options = {"retries": 1} if rng.random() < 0.1 else {}
        pause_s = rng.choice([0.0, 0.0, 0.01, 0.1])
        futures.append(
            made.client.submit(
                work, number, pause_s, *inputs, key=f"work-{number}", **options
            )
        )


async def change(made: Room, rng: random.Random, step: int) -> None:
    """Something happens to a worker."""
    what, live = rng.random(), [w for w in made.workers if w.status == Status.running]
    if what < 0.3 or len(live) < 2:
        said = advert(gpus=rng.randrange(3))
        await made.worker(f"n{step}", said, nthreads=rng.randrange(1, 4))
    elif what < 0.5:
        await rng.choice(live).close()
    elif what < 0.7:
        await made.client.retire_workers([rng.choice(live).address])
    else:
        worker = rng.choice(live)
        worker.status = Status.paused
        await asyncio.sleep(0.05)
        if worker.status == Status.paused:
            worker.status = Status.running


@pytest.mark.parametrize("seed", range(2))
def test_churn(seed: int) -> None:
    """Submissions, failures, timeouts, cancellations; workers that come and go."""

    async def check() -> None:
        rng = random.Random(seed)
        async with room(advert(gpus=1), advert(), threads=2) as made:
            futures: list[Any] = []
            for step in range(60):
                for _ in range(rng.randrange(6)):
                    submit(made, rng, futures, len(futures))
                if rng.random() < 0.2 and futures:
                    await rng.choice(futures).cancel()
                if rng.random() < 0.2:
                    await change(made, rng, step)
                if rng.random() < 0.1:
                    key = rng.choice(futures).key if futures else "none"
                    await made.client.scheduler.dtf_explain(keys=[key])
                await asyncio.sleep(0.01)
            await made.worker("last", advert(gpus=2), nthreads=2)
            live = [future for future in futures if not future.cancelled()]
            done = asyncio.gather(*live, return_exceptions=True)
            await asyncio.wait_for(done, 60)
            assert made.plugin.failure == ""
            made.scheduler.validate_state()
            engine: Any = made.plugin.engine
            engine.check()
            made.scheduler.remove_client(made.client.id)
            await made.until(lambda: not engine._core.running, 20)
            assert not engine._core.lanes.tasks
            assert made.plugin.keeper is not None
            assert not made.plugin.keeper.holding.tasks
            assert all(post.own == 0 for post in made.plugin.keeper.holding.posts.all())

    run(check)

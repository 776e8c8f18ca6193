"""Actors: their hardware is heeded; what cannot be kept for them is refused."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import dask
import pytest
from dask_room import Room, advert, room, run
from distributed import get_worker

from dtf_dask.errors import TaskRefusedError


@contextlib.asynccontextmanager
async def rooms(*adverts: Any, **options: Any) -> AsyncIterator[Room]:
    """Actors speak by way of the client that is current."""
    async with room(*adverts, **options) as made:
        with made.client.as_current():
            yield made


class Counter:
    def __init__(self, *inputs: object) -> None:
        self.where = str(get_worker().name)
        self.n = 0

    def increment(self) -> int:
        self.n += 1
        return self.n

    def home(self) -> str:
        return self.where


def test_an_actor_lives_where_its_hardware_is() -> None:
    """However many there are, and whatever Dask thinks of those workers' load."""

    async def check() -> None:
        async with rooms(advert(), advert(gpus=1), advert(), threads=2) as made:
            with dask.annotate(dtf={"hardware": "gpu.count >= 1", "tenant": "ada"}):
                futures = [
                    made.client.submit(Counter, actor=True, key=f"actor-{n}")
                    for n in range(20)
                ]
            plain = made.client.submit(Counter, actor=True)
            actors = await made.client.gather(futures)
            assert {await actor.home() for actor in actors} == {"w1"}
            assert await actors[3].increment() == 1
            assert await (await plain).increment() == 1
            answer = (await made.client.scheduler.dtf_explain(keys=["actor-3"]))[0]
            assert answer["needs"] == "gpu.count >= 1"
            assert "places actors" in answer["why"]
            assert made.plugin.failure == ""
            made.scheduler.remove_client(made.client.id)
            await made.until(lambda: not made.scheduler.tasks)
            assert made.plugin.keeper is not None
            assert not made.plugin.keeper.intake.actors._wishes

    run(check)


def test_an_actor_is_not_where_a_worker_does_not_accept_it() -> None:
    """What a worker says of the tasks it takes is said of actors, too."""

    async def check() -> None:
        async with rooms(advert(accept="class == 'nightly'"), advert()) as made:
            with dask.annotate(dtf={"class": "release"}):
                futures = [
                    made.client.submit(Counter, actor=True, key=f"actor-{n}")
                    for n in range(8)
                ]
            actors = await made.client.gather(futures)
            assert {await actor.home() for actor in actors} == {"w1"}

    run(check)


@pytest.mark.parametrize("later", ["worker", "device"])
def test_an_actor_waits_for_its_hardware(later: str) -> None:
    """A worker that joins, or that has more than it had, gets it.

    Dask's own checks of itself hold that actors never wait, which with its
    `resources=` they do; they are off here.
    """

    async def check() -> None:
        async with rooms(advert()) as made:
            made.scheduler.validate = False
            with dask.annotate(dtf={"hardware": "gpu.count >= 1"}):
                future = made.client.submit(Counter, actor=True, key="waits")
            await made.until(lambda: made.held() == 1)
            if later == "worker":
                await made.worker("late", advert(gpus=1))
            else:
                told = {**advert(gpus=1), "worker": made.workers[0].address}
                made.workers[0].log_event("dtf-hardware", told)
            actor = await asyncio.wait_for(future, 60)
            assert await actor.home() == ("late" if later == "worker" else "w0")
            assert made.plugin.failure == ""

    run(check)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"gpus": 1}, "gpus cannot be accounted for an actor's life"),
        ({"memory": "1 GiB", "exclusive": True}, "memory, exclusive cannot be"),
        ({"gang": {"name": "x", "size": 2}}, "gang cannot"),
        ({"hardware": "gpu.cont > 1"}, "gpu.count"),
    ],
)
def test_what_cannot_be_kept_for_an_actor_is_refused(asked: Any, words: str) -> None:
    """At once and in words, and whoever depends on it fails; nothing is left."""

    async def check() -> None:
        async with rooms(advert(gpus=1)) as made:
            with dask.annotate(dtf=asked):
                future = made.client.submit(Counter, actor=True, key="refused")
            behind = made.client.submit(str, future, key="behind")
            for one in (future, behind):
                with pytest.raises(TaskRefusedError, match=words):
                    await asyncio.wait_for(one, 60)
            assert await made.client.submit(sum, [1, 2]) == 3
            assert made.plugin.failure == ""
            made.scheduler.validate_state()

    run(check)

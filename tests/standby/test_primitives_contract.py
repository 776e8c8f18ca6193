"""The seams of coordination: what they use of Dask is there, or nothing is touched."""

from __future__ import annotations

import asyncio
import importlib.metadata

import pytest
from distributed import Scheduler
from free_contact import LOOPBACK

from dtf_dask.durable import dask_asking
from dtf_dask.standby import dask_primitives
from dtf_dask.standby.applying import Applier
from dtf_dask.standby.durability import Durability
from dtf_dask.standby.primitives import Primitives


def scheduler() -> Scheduler:
    return Scheduler(dashboard=False, dashboard_address=f"{LOOPBACK}:0")


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


def test_the_installed_dask_has_what_the_seams_use() -> None:
    """Names, arguments and call sites, of the scheduler's side and of calls."""

    async def check() -> None:
        made = scheduler()
        assert dask_primitives.broken(made) == ()
        await made.close()

    asyncio.run(check())
    assert dask_asking.broken() == ()
    installed = version(importlib.metadata.version("distributed"))
    for seam in (dask_primitives, dask_asking):
        oldest, newest = map(version, seam.VERSIONS)
        assert oldest <= installed <= newest


def test_a_dask_that_is_not_as_known_is_left_alone() -> None:
    """What is missing is named, and no handler was replaced."""

    async def check() -> None:
        made = scheduler()
        del made.extensions["queues"]
        before = dict(made.handlers)
        applier = Applier(made, lambda _: None)
        durability = Durability(applier, lambda _: asyncio.Future(), {}, print)
        with pytest.raises(RuntimeError, match="the extension queues"):
            await Primitives.install(made, durability)
        assert made.handlers == before
        await made.close()

    asyncio.run(check())


def test_values_stay_closed() -> None:
    """What is serialized within a value is not opened when it is kept or restored."""
    from distributed.protocol.serialize import Serialized, to_serialize

    opened = dask_primitives.unpacked(
        dask_primitives.packed({"in": to_serialize(object), "plain": (1, b"2", None)})
    )
    assert isinstance(opened["in"], Serialized)
    assert opened["plain"] == (1, b"2", None)
    again = dask_primitives.unpacked(dask_primitives.packed(opened))
    assert isinstance(again["in"], Serialized)

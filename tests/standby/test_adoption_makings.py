"""A key that is used again: nothing of the task before is taken for the one after."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dtf_dask.durable.inventory import Erred, Held, Inventory, Running
from dtf_dask.durable.makings import NONE
from dtf_dask.standby.adoption import Known, plan
from dtf_dask.submission.table import Key

KEYS, WORKERS, MARKS = "xyz", ("a", "b"), (NONE, 1, 2)


@dataclasses.dataclass
class World:
    """A scheduler that knows some tasks, as `plan` looks at it."""

    tasks: dict[str, Known]
    holders: dict[str, set[str]]

    def known(self, key: Key) -> Known | None:
        return self.tasks.get(str(key))

    def needs(self, key: Key) -> Iterable[Key]:
        return ()

    def has(self, worker: str, key: Key) -> bool:
        return worker in self.holders.get(str(key), ())

    def held_by(self, worker: str) -> Iterable[Key]:
        return [key for key, who in sorted(self.holders.items()) if worker in who]

    def processing_on(self, worker: str) -> Iterable[Key]:
        return [
            key
            for key, one in self.tasks.items()
            if one.standing == "processing" and one.worker == worker
        ]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    tasks, holders = {}, {}
    for key in draw(st.sets(st.sampled_from(KEYS))):
        standing: Any = draw(st.sampled_from(["open", "processing", "memory", "erred"]))
        worker = draw(st.sampled_from(WORKERS)) if standing == "processing" else ""
        run_id = draw(st.integers(-1, 3))
        made = draw(st.sampled_from(MARKS))
        value = standing in ("open", "memory") and draw(st.booleans())
        tasks[key] = Known(standing, worker, run_id, made, value)
        if standing == "memory":
            holders[key] = draw(st.sets(st.sampled_from(WORKERS)))
    return World(tasks, holders)


@st.composite
def inventories(draw: st.DrawFn, worker: str) -> Inventory:
    columns: dict[str, list[Any]] = {"memory": [], "running": [], "erred": []}
    for key in draw(st.sets(st.sampled_from(KEYS))):
        run, made = draw(st.integers(0, 3)), draw(st.sampled_from(MARKS))
        what = draw(st.sampled_from(list(columns)))
        columns[what].append(
            {
                "memory": Held(key, 8, "int", run, made),
                "running": Running(key, run, 1.0, False, made=made),
                "erred": Erred(key, run, b"", b"", "", "", made),
            }[what]
        )
    return Inventory(worker, 1, *(tuple(one) for one in columns.values()))


BROUGHT = st.fixed_dictionaries({one: inventories(one) for one in WORKERS})


def items(inventory: Inventory) -> dict[Key, Held | Running | Erred]:
    every = (*inventory.memory, *inventory.running, *inventory.erred)
    return {one.key: one for one in every}


def is_other(known: Known, brought: Held | Running | Erred) -> bool:
    untold = known.value and brought.made == NONE
    return known.made != brought.made and not untold


@settings(max_examples=400)
@given(worlds(), BROUGHT)
def test_what_is_of_another_making_is_freed_and_is_else_as_if_it_was_not_brought(
    world: World, brought: dict[str, Inventory]
) -> None:
    """The plan is that of the inventories without it, with its frees. A scattered value
    may be that of a worker which has not heard of its mark, and is told then."""
    made = plan(brought, world)
    alike, others = {}, {}
    for worker, inventory in brought.items():
        mine = {
            key
            for key, one in items(inventory).items()
            if key in world.tasks and is_other(world.tasks[str(key)], one)
        }
        others[worker] = mine
        alike[worker] = dataclasses.replace(
            inventory,
            memory=tuple(one for one in inventory.memory if one.key not in mine),
            running=tuple(one for one in inventory.running if one.key not in mine),
            erred=tuple(one for one in inventory.erred if one.key not in mine),
        )
    without = plan(alike, world)
    for part in dataclasses.fields(made):
        if part.name not in ("free", "freed"):
            assert getattr(made, part.name) == getattr(without, part.name), part.name
    for worker in WORKERS:
        freed = set(without.free.get(worker, ())) | others[worker]
        assert set(made.free.get(worker, ())) == freed
        for key in made.untold.get(worker, ()):
            assert (
                items(brought[worker])[key].made == NONE != world.tasks[str(key)].made
            )

"""What is left of a journal makes the tasks and wishes that the whole of it made.

A made-up scheduler of few keys plays random operations, in random records; after each
the records that are left are played from the start.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

import pytest

from dtf_dask.standby.living import HELD_UP_MAX, Living

KEYS = "abcdefgh"
Op = tuple[str, str, tuple[tuple[str, tuple[str, ...]], ...], tuple[str, ...]]
"""Kind, client, rows (a key and what it needs), keys."""


@dataclass
class World:
    """Tasks with what they need, and who wants what."""

    tasks: dict[str, set[str]] = field(default_factory=dict)
    wishes: set[tuple[str, str]] = field(default_factory=set)
    made: list[str] = field(default_factory=list)
    forgot: list[str] = field(default_factory=list)
    void: list[tuple[str, str]] = field(default_factory=list)
    buried: dict[str, set[str]] | None = None
    """What was forgotten, where it may have to be revived."""
    revived: set[str] = field(default_factory=set)

    def act(self, op: Op) -> None:
        kind, client, rows, keys = op
        self.made, self.forgot, self.void = [], [], []
        if kind == "table":
            for key, needs in rows:
                known = key in self.tasks and key not in self.revived
                if not known and all(map(self._is_there, needs)):
                    self.revived.discard(key)
                    self.tasks[key] = set(needs)
                    self.made.append(key)
        if kind in ("table", "desire"):
            self.wishes |= {(client, key) for key in keys if self._is_there(key)}
        elif kind == "release":
            self._deny({(client, key) for key in keys})
        elif kind == "gone":
            self._deny({wish for wish in self.wishes if wish[0] == client})
        elif kind == "cancel":
            above = set(keys)
            while (
                more := {key for key, needs in self.tasks.items() if needs & above}
                - above
            ):
                above |= more
            self._deny({wish for wish in self.wishes if wish[1] in above})
        self._forget()

    def _is_there(self, key: str) -> bool:
        buried = self.buried or {}
        lost = key not in self.tasks and key in buried
        if lost and all(map(self._is_there, buried[key])):
            self.tasks[key] = buried.pop(key)
            self.revived.add(key)
        return key in self.tasks

    def _deny(self, wishes: set[tuple[str, str]]) -> None:
        self.void = sorted(wishes & self.wishes)
        self.wishes -= wishes

    def _forget(self) -> None:
        while unneeded := (
            self.tasks.keys()
            - {key for _, key in self.wishes}
            - {need for needs in self.tasks.values() for need in needs}
        ):
            for key in sorted(unneeded):
                needs = self.tasks.pop(key)
                self.revived.discard(key)
                if self.buried is not None:
                    self.buried[key] = needs
                self.forgot.append(key)


class Trial:
    """A world, its journal, and what `Living` says of it."""

    def __init__(self) -> None:
        self.world = World()
        self.living = Living()
        self.records: dict[int, list[bytes]] = {}
        self.ops: list[Op] = []

    def write(self, ops: Iterable[Op]) -> None:
        number = len(self.ops) + 1
        record: list[bytes] = []
        corrected: list[Op] = []
        self.living.begin(number, 1, 0.0)
        for op in ops:
            self.ops.append(op)
            packed = str(len(self.ops) - 1).encode()
            record.append(packed)
            self.world.act(op)
            # A real scheduler forgets while it acts.
            for key in self.world.forgot:
                self.living.forgotten(key)
            kind, client, _, keys = op
            made = [key for key in self.world.made if key in self.world.tasks]
            if kind in ("table", "desire"):
                wanted = [one for one in keys if one in self.world.tasks]
                vain = tuple(one for one in keys if one not in self.world.tasks)
                if vain:
                    corrected.append(("release", client, (), vain))
                self.living.asserted(packed, client, made, wanted, vain)
            elif kind == "error":
                known = [key for key in keys if key in self.world.tasks]
                self.living.described(1, packed, known)
            elif kind == "gone":
                self.living.left(packed, [client])
            elif kind == "release":
                self.living.denied(packed, [(client, key) for key in keys])
            else:
                # A cancellation goes up to what depends on its keys by then: what it
                # made void is written after it, for it does not do the same again.
                void = self.world.void
                for one in sorted({client for client, _ in void}):
                    taken = tuple(key for client, key in void if client == one)
                    corrected.append(("release", one, (), taken))
                self.living.denied(packed, [])
        self.living.end()
        self.records[number] = record
        if corrected:
            self.write(corrected)

    def cut(self) -> None:
        for gone in self.living.take_gone():
            if gone.rest:
                self.records[gone.number] = list(gone.rest)
            else:
                del self.records[gone.number]
            self.check()

    def check(self) -> None:
        again = World(buried={})
        for number in sorted(self.records):
            for packed in self.records[number]:
                again.act(self.ops[int(packed)])
        assert again.tasks == self.world.tasks
        assert again.wishes == self.world.wishes


def shapes(random: Random, world: World) -> dict[str, tuple[str, ...]]:
    """What tasks need: while they are known what they did, later perhaps not."""
    return {
        key: tuple(sorted(world.tasks[key]))
        if key in world.tasks
        else tuple(one for one in KEYS if one < key and random.random() < 0.3)
        for key in KEYS
    }


def random_op(random: Random, needs: dict[str, tuple[str, ...]]) -> Op:
    keys = tuple(sorted(random.sample(KEYS, random.randint(1, 3))))
    client = random.choice("xyz")
    kind = random.choices(
        ("table", "release", "desire", "cancel", "gone", "error"), (8, 8, 3, 1, 1, 2)
    )[0]
    rows = tuple((key, needs[key]) for key in keys)
    if kind == "gone":
        return kind, client, (), ()
    return kind, client, rows if kind == "table" else (), keys


@pytest.mark.parametrize("seed", range(20))
def test_what_is_left_makes_the_same(seed: int) -> None:
    """Whatever was asked, in whatever records, and after each record that goes."""
    random = Random(seed)
    trial = Trial()
    for _ in range(100):
        needs = shapes(random, trial.world)
        count = random.choice((1, 1, 2, 5))
        trial.write([random_op(random, needs) for _ in range(count)])
        if random.random() < 0.5:
            trial.cut()
    for client in "xyz":
        trial.write([("gone", client, (), ())])
    trial.cut()
    assert trial.world.tasks == {}
    assert trial.records == {}
    assert len(trial.living) == 0


def test_a_journal_does_not_grow_by_what_is_over() -> None:
    """One wish that stays, beside others that share records with it, keeps little."""
    trial = Trial()
    trial.write([("table", "x", (("a", ()), ("b", ())), ("a", "b"))])
    most = 0
    for _ in range(20 * HELD_UP_MAX):
        trial.write(
            [("table", "x", (("c", ("a",)),), ("c",)), ("desire", "y", (), ("b",))]
        )
        trial.write([("release", "x", (), ("c",)), ("desire", "y", (), ("a",))])
        trial.write([("release", "y", (), ("a", "b"))])
        trial.cut()
        most = max(most, sum(map(len, trial.records.values())))
    assert most <= 2 * HELD_UP_MAX
    assert trial.world.tasks.keys() == {"a", "b"}


def test_a_wish_that_was_void_twice_at_once_stays_void() -> None:
    """What says so the second time matters for as long as a record has that wish, as
    what says so the first time is of one that was before it."""
    living = Living()
    living.begin(1, 1, 1.0)
    living.turn(1.0)
    living.asserted(b"stays" * 100, "c", ["a"], ["a"])
    for at_s in (1.1, 1.3):
        living.turn(at_s)
        living.asserted(b"asks", "c", ["x"], ["x"])
        living.turn(at_s + 0.1)
        living.void("c", ["x"], at_s)
        living.forgotten("x")
    living.end()
    living.begin(2, 1, 2.0)
    for at_s, upto_s in ((2.0, 1.2), (2.1, 1.4)):
        living.turn(at_s)
        living.denied_upto(b"void up to %.1f" % upto_s, "c", ["x"], upto_s)
    living.end()
    assert living.take_gone() == []

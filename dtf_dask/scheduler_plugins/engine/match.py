"""What tasks need, interned and compared with what workers are. Pure.

Here is only what does not change from moment to moment: whether an idle worker
could run a task. A refusal is a tuple of reasons, in words; an empty one is a yes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dtf_dask.quantities import format_size
from dtf_dask.scheduler_plugins.engine.terms import Ask, Gpu, Need, Offer

AMOUNT_MAX = 1e15
"""The largest amount that anybody may ask for, of anything."""

_OWN = ("cpu", "memory", "gpu", "gpu_memory")
_KIND_FACTS = ("os.name", "cpu.arch", "cpu.model")


class Shape:
    """What room a task takes on a worker. Equal shapes are one object."""

    __slots__ = (
        *("cpu", "custom", "devices", "exclusive", "gpu", "gpu_memory", "memory"),
        *("plain",),
    )

    def __init__(
        self,
        cpu: float,
        memory: float,
        gpu: int,
        gpu_memory: float,
        custom: tuple[tuple[str, float], ...],
        exclusive: bool,
    ) -> None:
        self.cpu = cpu
        self.memory = memory
        self.gpu = gpu
        self.gpu_memory = gpu_memory
        self.devices = max(gpu, 1 if gpu_memory else 0)  # on how many it runs
        self.custom = custom
        self.exclusive = exclusive
        # Only what takes one thread and nothing else may wait on a worker: all that a
        # worker runs leaves it room sooner or later.
        self.plain = cpu == 1 and not (memory or gpu or gpu_memory or custom)
        self.plain = self.plain and not exclusive


class Want:
    """A need, read: its shape and what it asks of a worker's facts."""

    __slots__ = (
        *("hardware", "hungry", "need", "prefer", "shape"),
        *("tokens", "workers"),
    )

    def __init__(self, need: Need, shape: Shape) -> None:
        self.need = need
        self.shape = shape
        self.hardware = need.hardware
        self.prefer = need.prefer
        self.tokens = tuple((name, amount) for name, amount in need.tokens if amount)
        self.workers = None if need.workers is None else tuple(sorted(need.workers))
        # It may wait for ever for enough room at once, while others take each bit of
        # it: such work has workers kept free for it when it has waited long enough.
        self.hungry = not shape.plain


class Wants:
    """All needs seen, each once."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[Any, ...], Shape] = {}
        self._wants: dict[Need, Want] = {}
        self._by_id: dict[int, Want] = {}

    def __iter__(self) -> Iterator[Want]:
        return iter(self._wants.values())

    def __len__(self) -> int:
        return len(self._wants)

    def of(self, need: Need) -> Want:
        """Its want, the same for equal needs.

        Raises
        ------
        ValueError
            For amounts that nothing can have.
        """
        want = self._by_id.get(id(need))
        if want is not None and want.need is need:
            return want
        want = self._wants.get(need)
        if want is None:
            want = self._wants[need] = Want(need, self._shape(need))
            self._by_id[id(need)] = want
        return want

    def forget(self, needed: set[Want]) -> None:
        """Drop all wants but these, and the shapes that nobody has any more."""
        kept = {need: want for need, want in self._wants.items() if want in needed}
        self._wants = kept
        self._by_id = {id(want.need): want for want in kept.values()}
        shapes = {id(want.shape) for want in kept.values()}
        self._shapes = {k: s for k, s in self._shapes.items() if id(s) in shapes}

    def _shape(self, need: Need) -> Shape:
        amounts = dict(need.amounts)
        for name, amount in (*need.amounts, *need.tokens):
            if not 0 <= amount <= AMOUNT_MAX:
                raise ValueError(f"{name} = {amount:g} is no amount that can be had")
        gpu = amounts.get("gpu", 0)
        if gpu != int(gpu):
            raise ValueError(
                f"gpu = {gpu:g}: devices are counted whole; for a part of one ask "
                "for gpu_memory"
            )
        # Less than a thread is one: Dask runs no more tasks than it has threads.
        cpu = max(1.0, math.ceil(amounts.get("cpu", 1)))
        custom = tuple((n, a) for n, a in need.amounts if a and n not in _OWN)
        parts = (
            *(cpu, amounts.get("memory", 0), int(gpu), amounts.get("gpu_memory", 0)),
            *(custom, need.exclusive),
        )
        return self._shapes.setdefault(parts, Shape(*parts))


@dataclass(slots=True)
class Capacity:
    """What a worker of a group has with nothing on it. ``memory``: the largest's."""

    threads: int
    memory: int
    gpus: tuple[int, ...]  # memory of the usable ones, ascending
    resources: Mapping[str, float]

    @staticmethod
    def of(offer: Offer) -> Capacity:
        """That of one worker."""
        return Capacity(
            offer.threads, offer.memory, gpu_sizes(offer.gpus), offer.resources
        )

    def lacks(self, shape: Shape) -> tuple[str, ...]:
        """Why an idle worker is too small; empty if it is not."""
        reasons = []
        if shape.cpu > self.threads:
            has = _many(self.threads, "thread")
            reasons.append(f"needs cpu {shape.cpu:g}; has {has}")
        if shape.memory > self.memory:
            reasons.append(
                f"needs memory {format_size(int(shape.memory))}; "
                f"has {format_size(self.memory)}"
            )
        reasons += self._lacks_gpus(shape)
        for name, amount in shape.custom:
            had = self.resources.get(name, 0)
            if amount > had:
                reasons.append(f"needs {name} {amount:g}; has {had:g}")
        return tuple(reasons)

    def _lacks_gpus(self, shape: Shape) -> list[str]:
        wanted = shape.devices
        if not wanted:
            return []
        if len(self.gpus) < wanted:
            return [f"needs gpu {wanted}; has {len(self.gpus)} usable"]
        large = sum(size >= shape.gpu_memory for size in self.gpus)
        if large < wanted:
            size = format_size(int(shape.gpu_memory))
            return [
                f"needs gpu {wanted} with memory {size}; its largest has "
                f"{format_size(self.gpus[-1])}"
            ]
        return []


def hardware_lacks(want: Want, facts: Mapping[str, Any]) -> tuple[str, ...]:
    """What a worker's facts lack of a hardware demand, in words."""
    if want.hardware is None or want.hardware.evaluate(facts):
        return ()
    return tuple(want.hardware.lacks(facts)) or (f"needs {want.hardware}",)


def task_facts(ask: Ask) -> dict[str, Any]:
    """What a task tells of itself to a worker's ``accept``."""
    facts: dict[str, Any] = {
        "class": ask.priority_class,
        "prefix": ask.name,
        "tenant": ask.tenant,
    }
    if ask.timeout_s is not None:
        facts["timeout"] = ask.timeout_s
    return facts


def kind_of(offer: Offer) -> str:
    """The kind of machine, in words: under this durations are learned.

    Examples
    --------
    >>> kind_of(Offer(1, facts={"os.name": "linux", "cpu.cores": 2}))
    'linux (2 cores, 1 thread)'
    """
    facts = offer.facts
    machine = " ".join(str(facts[name]) for name in _KIND_FACTS if name in facts)
    parts = []
    if "cpu.cores" in facts:
        parts.append(_many(facts["cpu.cores"], "core"))
    parts.append(_many(offer.threads, "thread"))
    usable = len(gpu_sizes(offer.gpus))
    if usable:
        model = facts.get("gpu.model") or offer.gpus[0].id.partition("-")[0]
        parts.append(f"{usable} x {model}")
    size = ", ".join(parts)
    return f"{machine} ({size})" if machine else size


def gpu_sizes(gpus: tuple[Gpu, ...]) -> tuple[int, ...]:
    """Memory of the devices that can be used, the smallest first."""
    return tuple(sorted(gpu.memory for gpu in gpus if gpu.usable))


def needs_text(want: Want) -> str:
    """A need in words, as it is shown to people."""
    words = [] if want.hardware is None else [str(want.hardware)]
    for name, amount in want.need.amounts:
        size = name.endswith("memory")
        words.append(f"{name} {format_size(int(amount)) if size else f'{amount:g}'}")
    words += [f"{amount:g} of the token {name}" for name, amount in want.tokens]
    if want.shape.exclusive:
        words.append("a worker of its own")
    if want.workers is not None:
        few = ", ".join(want.workers[:3])
        more = len(want.workers) - 3
        words.append(f"one of the workers {few}" + (f" and {more} more" * (more > 0)))
    return ", ".join(words) or "any worker"


def _many(count: object, noun: str) -> str:
    return f"{count} {noun}" + "s" * (count != 1)

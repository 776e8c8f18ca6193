"""Which GPUs a process can use, and what is said of them together. Pure.

``CUDA_VISIBLE_DEVICES`` is read as CUDA reads it: the list counts up to the first word
that names no device. CUDA numbers unequal GPUs by speed unless ``CUDA_DEVICE_ORDER`` is
``PCI_BUS_ID``; only that order can be known without CUDA, and it is the one used here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["ok", "throttled", "lost"]

# https://developer.nvidia.com/cuda-gpus: the first version of each, newest first.
_ARCHITECTURES = (
    ((10, 0), "blackwell"),
    ((9, 0), "hopper"),
    ((8, 9), "ada"),
    ((8, 0), "ampere"),
    ((7, 5), "turing"),
    ((7, 0), "volta"),
    ((6, 0), "pascal"),
    ((5, 0), "maxwell"),
    ((3, 0), "kepler"),
)


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, or one MIG instance of one.

    Parameters
    ----------
    id
        Its UUID, which is the same in whichever slot it is.
    index
        Its place in the order of PCI. An instance has a number past those of all GPUs.
    memory
        Bytes, 0 where it has none of its own.
    capability
        Of CUDA, such as (9, 0); (0, 0) if it does not say.
    celsius
        Its temperature, if it says one: of interest to people, no ground to choose it.
    """

    id: str
    index: int
    model: str
    memory: int
    capability: tuple[int, int]
    state: State
    celsius: int | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU as the driver lists it; ``instances`` if it is cut by MIG, else None."""

    gpu: Gpu
    instances: tuple[Gpu, ...] | None = None


def visible(
    devices: Sequence[Device], variable: str | None, silent: Collection[int] = ()
) -> list[Gpu]:
    """The GPUs that a process with this ``CUDA_VISIBLE_DEVICES`` can use.

    Parameters
    ----------
    devices
        What is there and answers.
    variable
        None if it is not set.
    silent
        Numbers of GPUs that are there and do not answer: they may be named, and are
        left out.
    """
    whole = {one.gpu.index: one.gpu for one in devices if one.instances is None}
    # Of GPUs that are cut, CUDA itself shows the first instance only.
    first = {one.gpu.index: one.instances[0] for one in devices if one.instances}
    if variable is None:
        return list(whole.values()) or list(first.values())[:1]
    instances = [part for one in devices for part in one.instances or ()]
    chosen: dict[str, Gpu] = {}
    for word in (word.strip() for word in variable.split(",")):
        if word.isdecimal():
            if int(word) in silent:
                continue
            gpu = (whole | first).get(int(word))
            found = [] if gpu is None else [gpu]
        elif word.startswith(("GPU-", "MIG-")):
            all_named = (*whole.values(), *instances)
            found = [gpu for gpu in all_named if gpu.id.startswith(word)]
        else:
            break
        if len(found) != 1:
            break
        chosen[found[0].id] = found[0]
    return list(chosen.values())


def together(gpus: Sequence[Gpu]) -> Mapping[str, Any]:
    """The facts of GPUs that can be used.

    A task is promised the worst of them: where they differ, the model is that of the
    weakest, and the memory the smallest.
    """
    if not gpus:
        return {"gpu.count": 0}
    weakest = min(gpus, key=lambda gpu: (gpu.capability, gpu.memory, gpu.index))
    major, minor = weakest.capability
    facts: dict[str, Any] = {
        "gpu.count": len(gpus),
        "gpu.model": weakest.model or None,
        "gpu.throttled": any(gpu.state == "throttled" for gpu in gpus),
    }
    if major:
        facts["gpu.capability"] = f"{major}.{minor}"
        facts["gpu.arch"] = architecture(weakest.capability)
    if all(gpu.memory for gpu in gpus):
        facts["gpu.memory"] = min(gpu.memory for gpu in gpus)
        facts["gpu.memory_total"] = sum(gpu.memory for gpu in gpus)
    return facts


def architecture(capability: tuple[int, int]) -> str | None:
    """NVIDIA's name for what has this compute capability.

    Examples
    --------
    >>> architecture((8, 6)), architecture((8, 9)), architecture((9, 0))
    ('ampere', 'ada', 'hopper')
    """
    for first, name in _ARCHITECTURES:
        if capability >= first:
            return name
    return None

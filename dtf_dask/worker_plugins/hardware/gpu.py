"""NVIDIA's GPUs, asked of the driver by NVML: `GpuProbe`. CUDA is never touched.

A GPU that was seen and does not answer any more is lost: it stays on the list, counts
for nothing, and nobody is shown its last values as if they were true.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dtf_dask.worker_plugins.hardware.gpu_choice import (
    Device,
    Gpu,
    State,
    together,
    visible,
)
from dtf_dask.worker_plugins.hardware.nvml import (
    LIBRARY,
    Nvml,
    answer,
    installed,
    is_absent,
    words_of,
)

DEVICES_MAX = 32
LISTED_MAX = 256
_INSTANCES_MAX = 16
_MODEL_LENGTH_MAX = 200

# Clocks that heat or a failing supply holds down. A reached power cap is not among
# them: that is how a GPU under full load is meant to run.
_THROTTLED = 0x08 | 0x20 | 0x40 | 0x80


@dataclasses.dataclass(frozen=True, slots=True)
class Sight:
    """All GPUs that this worker has or had, and what is wrong, as of one look."""

    gpus: tuple[Gpu, ...] = ()
    problems: tuple[str, ...] = ()

    def without_answer(self) -> Sight:
        """The same when the driver does not answer at all: every GPU is lost."""
        return Sight(tuple(map(_lost, self.gpus)), self.problems)


class GpuProbe:
    """Looks at the GPUs that this process may use.

    Parameters
    ----------
    nvml
        Returns NVML if there is one.
    environment
        Where ``CUDA_VISIBLE_DEVICES`` may stand.
    driver
        Where the kernel's driver shows itself.
    """

    name = "gpu"

    def __init__(
        self,
        nvml: Callable[[], Nvml | None] = installed,
        environment: Mapping[str, str] = os.environ,
        driver: Path = Path("/proc/driver/nvidia"),
    ) -> None:
        self._find = nvml
        self._environment = environment
        self._driver = driver
        self._nvml: Nvml | None = None
        self._anew = False
        self.sight = Sight()
        """The last look; replaced as a whole, so that other threads may read it."""

    @property
    def nvml(self) -> Nvml | None:
        """NVML, while it answers: other threads may ask it, and may be refused."""
        return self._nvml

    def facts(self) -> Mapping[str, Any]:
        """The facts below ``gpu``; `sight` is what they are about."""
        if self._anew:
            self.close()  # the driver lists devices anew for who starts anew
        problems: list[str] = []
        devices: list[Device] = []
        silent: set[int] = set()
        versions: dict[str, Any] = {}
        try:
            nvml = self._opened()
            if nvml is not None:
                versions = _versions(nvml)
                for index in range(min(nvml.nvmlDeviceGetCount(), DEVICES_MAX)):
                    try:
                        devices.append(_device(nvml, index))
                    except Exception as error:
                        silent.add(index)
                        problems.append(f"GPU {index}: {words_of(error)}")
            elif self._driver.exists():
                problems.append(
                    f"NVIDIA's driver is loaded, but its library {LIBRARY} is not to"
                    " be found; install it, or show it to this container"
                )
        except Exception as error:
            if not is_absent(error) or self._driver.exists():
                problems.append(f"NVIDIA's driver: {words_of(error)}")
        self._anew = bool(problems)
        usable = visible(devices, self._environment.get("CUDA_VISIBLE_DEVICES"), silent)
        self.sight = self._seen(devices, usable, problems)
        facts = together(usable)
        return {**facts, **versions} if usable else facts

    def _seen(
        self, devices: list[Device], usable: list[Gpu], problems: list[str]
    ) -> Sight:
        there = {device.gpu.id for device in devices}
        there |= {part.id for device in devices for part in device.instances or ()}
        gpus = {gpu.index: gpu for gpu in usable}
        for gpu in self.sight.gpus:
            if gpu.id not in there:
                # Another may have its number by now: the driver counts those it has.
                index = gpu.index
                while index in gpus:
                    index += 1
                gpus[index] = dataclasses.replace(_lost(gpu), index=index)
        found = [gpus[index] for index in sorted(gpus)]
        return Sight(tuple(found[:LISTED_MAX]), tuple(problems))

    def _opened(self) -> Nvml | None:
        """NVML, initialised and kept so: without a persistent driver it takes long."""
        if self._nvml is None:
            nvml = self._find()
            if nvml is None:
                return None
            nvml.nvmlInit()
            self._nvml = nvml
        return self._nvml

    def close(self) -> None:
        """Let go of NVML until it looks again."""
        nvml, self._nvml = self._nvml, None
        if nvml is not None:
            try:
                nvml.nvmlShutdown()
            except Exception:  # it is given up, whatever it says to that
                pass


def _device(nvml: Nvml, index: int) -> Device:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    capability = answer(nvml.nvmlDeviceGetCudaComputeCapability, handle)
    reasons = answer(nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) or 0
    gpu = Gpu(
        id=nvml.nvmlDeviceGetUUID(handle),
        index=index,
        model=_model(nvml, handle),
        memory=_memory(nvml, handle),
        capability=(0, 0) if capability is None else (capability[0], capability[1]),
        state="throttled" if reasons & _THROTTLED else "ok",
        celsius=answer(nvml.nvmlDeviceGetTemperature, handle, 0),
    )
    mode = answer(nvml.nvmlDeviceGetMigMode, handle)
    return Device(gpu, _instances(nvml, handle, gpu) if mode and mode[0] else None)


def _instances(nvml: Nvml, handle: Any, gpu: Gpu) -> tuple[Gpu, ...]:
    """The MIG instances of a GPU; their places may be taken with gaps."""
    parts = []
    places = answer(nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0
    for place in range(min(places, _INSTANCES_MAX)):
        try:
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)
        except Exception:
            continue
        parts.append(
            dataclasses.replace(
                gpu,
                id=nvml.nvmlDeviceGetUUID(part),
                index=DEVICES_MAX + gpu.index * _INSTANCES_MAX + place,
                model=_model(nvml, part) or gpu.model,
                memory=_memory(nvml, part),
            )
        )
    return tuple(parts)


def _model(nvml: Nvml, handle: Any) -> str:
    name = str(answer(nvml.nvmlDeviceGetName, handle) or "")
    return name.strip()[:_MODEL_LENGTH_MAX]


def _memory(nvml: Nvml, handle: Any) -> int:
    """Bytes; 0 for a GPU that shares the machine's memory."""
    found = answer(nvml.nvmlDeviceGetMemoryInfo, handle)
    return 0 if found is None else int(found.total)


def _versions(nvml: Nvml) -> dict[str, Any]:
    driver = answer(nvml.nvmlSystemGetDriverVersion)
    cuda = answer(nvml.nvmlSystemGetCudaDriverVersion)
    return {
        "gpu.driver": driver,
        "gpu.cuda": f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
    }


def _lost(gpu: Gpu) -> Gpu:
    state: State = "lost"
    return dataclasses.replace(gpu, state=state, celsius=None)

"""What GPUs do now, asked of NVML: how busy and warm they are, who has their memory.

A GPU that gives no answer is left alone until `GpuProbe` has looked again, which says
what is wrong with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from dtf_dask.worker_plugins.hardware.gpu import GpuProbe, Sight
from dtf_dask.worker_plugins.hardware.gpu_choice import Gpu
from dtf_dask.worker_plugins.hardware.nvml import Nvml, answer, words_of

_CELSIUS = 0  # the sensor that all have


class GpuUse:
    """Asks about the GPUs that a probe has seen; from one thread at a time.

    Attributes
    ----------
    problem
        What went wrong last, in words.
    """

    def __init__(self, probe: GpuProbe) -> None:
        self._probe = probe
        self._sight: Sight | None = None
        self._silent: set[str] = set()
        self.problem = ""

    @property
    def there(self) -> bool:
        """Whether there is any GPU to ask about."""
        return bool(self._probe.sight.gpus)

    def readings(self) -> list[dict[str, Any]]:
        """For each GPU that is or was there how busy it is; None is not known."""
        found = []
        asked = dict(self._answers(_reading))
        for gpu in self._probe.sight.gpus:
            known = asked.get(gpu.id) or {"util": None, "memory": None}
            name = f"{gpu.index}: {gpu.model}"
            total = {"memory_total": gpu.memory or None}
            found.append({"id": gpu.id, "name": name} | total | known)
        return found

    def memory_by_process(self) -> Counter[int]:
        """Bytes on all GPUs together, by process id, of whatever processes."""
        found: Counter[int] = Counter()
        for _, sizes in self._answers(_by_process):
            found.update(sizes)
        return found

    def _answers(self, ask: Any) -> Iterator[tuple[str, Any]]:
        sight, nvml = self._probe.sight, self._probe.nvml
        if sight is not self._sight:
            self._sight, self._silent = sight, set()
        for gpu in sight.gpus:
            if nvml is None or gpu.state == "lost" or gpu.id in self._silent:
                continue
            try:
                yield gpu.id, ask(nvml, gpu)
            except Exception as error:
                self._silent.add(gpu.id)
                self.problem = f"GPU {gpu.index}: {words_of(error)}"


def _reading(nvml: Nvml, gpu: Gpu) -> dict[str, Any]:
    handle = nvml.nvmlDeviceGetHandleByUUID(gpu.id)
    util = answer(nvml.nvmlDeviceGetUtilizationRates, handle)
    memory = answer(nvml.nvmlDeviceGetMemoryInfo, handle)
    return {
        "util": None if util is None else util.gpu / 100,
        "memory": None if memory is None else int(memory.used),
        "temperature": answer(nvml.nvmlDeviceGetTemperature, handle, _CELSIUS),
    }


def _by_process(nvml: Nvml, gpu: Gpu) -> dict[int, int]:
    """One process may be told of twice, with the same: it computes and draws."""
    handle = nvml.nvmlDeviceGetHandleByUUID(gpu.id)
    found: dict[int, int] = {}
    for ask in (
        nvml.nvmlDeviceGetComputeRunningProcesses,
        nvml.nvmlDeviceGetGraphicsRunningProcesses,
    ):
        for one in answer(ask, handle) or ():
            size = one.usedGpuMemory or 0
            found[one.pid] = max(found.get(one.pid, 0), size)
    return found

"""NVML, NVIDIA's library that answers of GPUs without CUDA: what is used of it here.

A driver that is too old for a question says so, which is no answer and no failure. One
that has lost a GPU says that too: then nothing that was said before can be relied upon.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, Protocol

LIBRARY = "libnvidia-ml.so.1"

# Return codes of NVML, from nvml.h.
_DRIVER_NOT_LOADED = 9
_LIBRARY_NOT_FOUND = 12
_NO_ANSWER = frozenset({6, 10, 11, 15, 16, 17, 18, 28, 999})
"""Not found, time-out, interrupt, lost, reset needed, system, versions, gone, unknown:
with each of these nothing that a device said before can be relied upon."""
_TOO_OLD = "NVMLLibraryMismatchError"
"""What ``pynvml`` raises, without a code, where a driver has a function otherwise."""


class Nvml(Protocol):
    """What is used of the module ``pynvml``; a test may give another."""

    nvmlInit: Callable[[], None]
    nvmlShutdown: Callable[[], None]
    nvmlSystemGetDriverVersion: Callable[[], str]
    nvmlSystemGetCudaDriverVersion: Callable[[], int]
    nvmlDeviceGetCount: Callable[[], int]
    nvmlDeviceGetHandleByIndex: Callable[[int], Any]
    nvmlDeviceGetHandleByUUID: Callable[[str], Any]
    nvmlDeviceGetUUID: Callable[[Any], str]
    nvmlDeviceGetName: Callable[[Any], str]
    nvmlDeviceGetMemoryInfo: Callable[[Any], Any]
    nvmlDeviceGetUtilizationRates: Callable[[Any], Any]
    nvmlDeviceGetComputeRunningProcesses: Callable[[Any], Sequence[Any]]
    nvmlDeviceGetGraphicsRunningProcesses: Callable[[Any], Sequence[Any]]
    nvmlDeviceGetCudaComputeCapability: Callable[[Any], tuple[int, int]]
    nvmlDeviceGetCurrentClocksThrottleReasons: Callable[[Any], int]
    nvmlDeviceGetTemperature: Callable[[Any, int], int]
    nvmlDeviceGetMigMode: Callable[[Any], list[int]]
    nvmlDeviceGetMaxMigDeviceCount: Callable[[Any], int]
    nvmlDeviceGetMigDeviceHandleByIndex: Callable[[Any, int], Any]


def installed() -> Nvml | None:
    """NVML, where a driver has brought its library; None elsewhere.

    The library is looked for first: Python's module for it is long, and most machines
    need not import it.
    """
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    import pynvml

    nvml: Nvml = pynvml
    return nvml


def answer(ask: Callable[..., Any], *arguments: Any) -> Any:
    """What is answered; None for what this device or driver does not know."""
    try:
        return ask(*arguments)
    except Exception as error:
        code = _code(error)
        if type(error).__name__ == _TOO_OLD:
            return None
        if code is None or code in _NO_ANSWER:
            raise
        return None


def is_absent(error: Exception) -> bool:
    """Whether it says that this machine has no driver of NVIDIA's."""
    return _code(error) in (_LIBRARY_NOT_FOUND, _DRIVER_NOT_LOADED)


def words_of(error: Exception) -> str:
    """What it says, in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _code(error: Exception) -> int | None:
    """The return code that an ``NVMLError`` stands for."""
    code = getattr(error, "value", None)
    return code if isinstance(code, int) else None

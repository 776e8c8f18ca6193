"""The processor: architecture, model, features, cores, and threads for this process."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from dtf_dask.worker_plugins.hardware import cgroup, commands

_READ_BYTES_MAX = 65536
# How other systems than Linux call what `uname -m` says there.
_ARCH = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64", "i386": "i686"}


class CpuProbe:
    """What a processor is does not change; what of it may be used does.

    Parameters
    ----------
    cpuinfo
        Where Linux describes the processors.
    quota
        Returns the processors' worth of time that there is a limit of, if there is.
    """

    name = "cpu"

    def __init__(
        self,
        cpuinfo: Path = Path("/proc/cpuinfo"),
        quota: Callable[[], float | None] = cgroup.cpu_limit,
    ) -> None:
        self._cpuinfo = cpuinfo
        self._quota = quota
        self._fixed: Mapping[str, Any] | None = None

    def facts(self) -> Mapping[str, Any]:
        """The facts below ``cpu``."""
        if self._fixed is None:
            self._fixed = self._look()
        threads = _affinity() or os.cpu_count() or 1
        quota = self._quota()
        if quota is not None:
            threads = max(1, min(threads, math.ceil(quota)))
        return {**self._fixed, "cpu.threads": threads}

    def _look(self) -> Mapping[str, Any]:
        machine = platform.machine()
        arch = _ARCH.get(machine.lower(), machine)
        described = _description(self._cpuinfo) or _sysctl()
        found: dict[str, Any] = {
            "cpu.arch": arch,
            "cpu.model": described.get("model name") or described.get("Model"),
            "cpu.cores": psutil.cpu_count(logical=False) or psutil.cpu_count(),
            # x86 says flags, ARM features.
            "cpu.features": sorted(
                set((described.get("flags") or described.get("Features") or "").split())
            ),
        }
        return {name: value for name, value in found.items() if value}


def _affinity() -> int | None:
    """On how many processors this process may run, where the system can say so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return None


def _description(cpuinfo: Path) -> dict[str, str]:
    """The first processor, and what stands behind the last (the board, on ARM)."""
    try:
        with open(cpuinfo, encoding="utf-8", errors="replace") as file:
            text = file.read(_READ_BYTES_MAX)
    except OSError:
        return {}
    described: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and value.strip():
            described.setdefault(name.strip(), value.strip())
    return described


def _sysctl() -> dict[str, str]:
    """The same from macOS, whose words for features are in capitals."""
    brand = commands.output(["sysctl", "-n", "machdep.cpu.brand_string"])
    features = commands.output(["sysctl", "-n", "machdep.cpu.features"])
    return {"model name": brand.strip(), "flags": features.lower()}

"""Accelerators other than NVIDIA's: how many of each, found by files and commands.

A kind that is not here says nothing at all. An integrated GPU of Intel is no proof that
oneAPI can use it, so that one is asked of oneAPI's own tool.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dtf_dask.worker_plugins.hardware import commands

_NODES_MAX = 1024
_KEEP_S = 600.0
_KFD = Path("/sys/class/kfd/kfd/topology/nodes")
_SYCL_GPU = re.compile(r"^\[[^]]*level_zero:gpu", re.MULTILINE)


class AcceleratorsProbe:
    """ROCm by the kernel's nodes, oneAPI by ``sycl-ls``, Metal by the system."""

    name = "accelerators"

    def __init__(self, kfd: Path = _KFD) -> None:
        self._kfd = kfd

    def facts(self) -> Mapping[str, Any]:
        """``rocm.count``, ``oneapi.count``, ``metal.count``, where not 0."""
        counts = {
            "rocm.count": _visible(self._rocm()),
            "oneapi.count": len(
                _SYCL_GPU.findall(commands.output(["sycl-ls"], _KEEP_S))
            ),
            "metal.count": self._metal(),
        }
        return {name: count for name, count in counts.items() if count}

    def _rocm(self) -> int:
        """Nodes that have SIMD units; the others are processors."""
        try:
            nodes = sorted(self._kfd.iterdir())[:_NODES_MAX]
        except OSError:
            return 0
        return sum(map(_is_gpu, nodes))

    def _metal(self) -> int:
        """Every Mac with a processor of Apple's has one GPU that Metal can use."""
        return int(platform.system() == "Darwin" and platform.machine() == "arm64")


def _is_gpu(node: Path) -> bool:
    try:
        properties = (node / "properties").read_text(encoding="utf-8")[:65536]
    except OSError:  # not ours, as in a container
        return False
    said = dict(line.partition(" ")[::2] for line in properties.splitlines())
    return said.get("simd_count", "0").strip() not in ("", "0")


def _visible(count: int) -> int:
    """How many are left by the variables that hide GPUs from ROCm's programs."""
    for name in ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        if (text := os.environ.get(name)) is not None:
            listed = [
                word for word in text.split(",") if word.strip() not in ("", "-1")
            ]
            count = min(count, len(listed))
    return count

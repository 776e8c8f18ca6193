"""Operating system, host, memory, disk, Python and installed packages."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import psutil

from dtf_dask import environment_facts
from dtf_dask.versions import version_key
from dtf_dask.worker_plugins.hardware import cgroup

PACKAGES_MAX = 3000
_OS_RELEASE = (Path("/etc/os-release"), Path("/usr/lib/os-release"))
_NUMBERS = re.compile(r"\d+(\.\d+)*")


class SystemProbe:
    """What runs here, under which name."""

    name = "system"

    def __init__(self, os_release: Collection[Path] = _OS_RELEASE) -> None:
        self._os_release = os_release

    def facts(self) -> Mapping[str, Any]:
        """The facts below ``os`` and ``python``, and ``host``.

        ``os.distribution`` and ``os.version`` are those of what is installed.
        """
        name = platform.system().lower()
        mac = platform.mac_ver()[0]
        installed = ("macos", mac) if mac else self._distribution()
        kernel = _NUMBERS.match(platform.release())
        return {
            "os.name": name,
            "os.distribution": installed[0],
            "os.version": installed[1],
            "os.kernel": kernel[0] if kernel else None,
            "host": platform.node() or None,
            "python.version": platform.python_version(),
            "python.implementation": platform.python_implementation(),
        }

    def _distribution(self) -> tuple[str | None, str | None]:
        for path in self._os_release:
            try:
                text = path.read_text(encoding="utf-8", errors="replace")[:65536]
            except OSError:
                continue
            said = dict(line.partition("=")[::2] for line in text.splitlines())
            name, version = (
                said.get(key, "").strip("\"' ") or None for key in ("ID", "VERSION_ID")
            )
            return name, version
        return None, None


class MemoryProbe:
    """The memory that this process may use.

    Parameters
    ----------
    limit
        Returns a limit of the worker's own in bytes, or None.
    """

    name = "memory"

    def __init__(self, limit: Callable[[], int | None] = lambda: None) -> None:
        self._limit = limit

    def facts(self) -> Mapping[str, Any]:
        """The least of the machine's memory and the limits on it."""
        limits = (psutil.virtual_memory().total, cgroup.memory_limit(), self._limit())
        return {"memory": min(limit for limit in limits if limit)}


class DiskProbe:
    """The disk that holds a folder: the one where the worker's files are."""

    name = "disk"

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def facts(self) -> Mapping[str, Any]:
        """Bytes in all, and those that this user may still write."""
        status = os.statvfs(self._folder)
        return {
            "disk.total": status.f_blocks * status.f_frsize,
            "disk.free": status.f_bavail * status.f_frsize,
        }


class PackagesProbe:
    """Versions of installed distributions, all or those that are named."""

    name = "packages"

    def __init__(self, chosen: Collection[str] | Literal["all"] = "all") -> None:
        self._chosen: set[str] | None = None
        if not isinstance(chosen, str):
            self._chosen = {environment_facts.normalised(name) for name in chosen}

    def facts(self) -> Mapping[str, Any]:
        """The facts below ``package``, of those whose version can be compared."""
        installed = environment_facts.facts()["packages"]
        named = [
            (f"package.{name}", version)
            for name, version in installed.items()
            if self._chosen is None or name in self._chosen
            if version_key(version) is not None
        ]
        return dict(named[:PACKAGES_MAX])

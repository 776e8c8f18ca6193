"""Puts together what a worker says of itself: `Hardware.advert`.

An advert is plain data: the scheduler reads it, ``dtf hardware`` prints it. Two adverts
are equal unless something changed that can matter to where a test runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dtf_dask import facts as vocabulary
from dtf_dask.config import entries, load
from dtf_dask.demand import parse
from dtf_dask.errors import ConfigurationError, DemandError
from dtf_dask.settings import READERS, HardwareSettings
from dtf_dask.worker_plugins.hardware.accelerators import AcceleratorsProbe
from dtf_dask.worker_plugins.hardware.browsers import (
    BrowsersProbe,
    BrowserVersionsProbe,
)
from dtf_dask.worker_plugins.hardware.cpu import CpuProbe
from dtf_dask.worker_plugins.hardware.gpu import GpuProbe
from dtf_dask.worker_plugins.hardware.gpu_choice import Gpu
from dtf_dask.worker_plugins.hardware.probes import Probe, Prober
from dtf_dask.worker_plugins.hardware.system import (
    DiskProbe,
    MemoryProbe,
    PackagesProbe,
    SystemProbe,
)

VERSION = 1
PROBLEMS_MAX = 20


def own_probes(
    settings: HardwareSettings,
    folder: str,
    memory_limit: Callable[[], int | None] = lambda: None,
) -> list[Probe]:
    """The probes that come with dtf, the GPUs' apart."""
    return [
        CpuProbe(),
        SystemProbe(),
        MemoryProbe(memory_limit),
        DiskProbe(folder),
        PackagesProbe(settings.packages),
        BrowsersProbe(),
        BrowserVersionsProbe(),
        AcceleratorsProbe(),
    ]


class Hardware:
    """What one worker knows of itself, looked at again and again.

    Parameters
    ----------
    settings
        Labels, tokens, what is accepted, and how long probes may take.
    probes
        All of them but the GPUs'.
    gpu
        The GPUs' own, for these are listed one by one besides.
    resources
        Returns Dask's resources of the worker.
    problems
        What is wrong already, in words.
    """

    def __init__(
        self,
        settings: HardwareSettings,
        probes: Sequence[Probe],
        gpu: GpuProbe,
        resources: Callable[[], Mapping[str, float]] = dict,
        problems: Sequence[str] = (),
    ) -> None:
        self.interval_s = settings.interval_s
        self._labels = {f"label.{name}": text for name, text in settings.labels.items()}
        self._accept = settings.accept or ""
        self._tokens = settings.tokens
        self._gpu = gpu
        self._resources = resources
        self._problems = tuple(problems)
        self._prober = Prober((gpu, *probes), settings.probe_timeout_s)
        self._free = 0
        self.gpus: tuple[Gpu, ...] = ()
        """The GPUs of the last advert, with what people may want to know besides."""

    def advert(self, limit_s: float | None = None) -> dict[str, Any]:
        """Look, and say what is there; bounded in time, never raises.

        Not to be called from two threads at once. With ``limit_s``, what is not known
        by then is left out, without a problem.
        """
        found = self._prober.round(limit_s)
        sight = self._gpu.sight
        # Called with a short limit, the driver is late; else it does not answer.
        if self._gpu.name not in found.answered and limit_s is None:
            sight = sight.without_answer()
        self.gpus = sight.gpus
        raw = found.facts | self._labels
        raw |= {f"resource.{name}": n for name, n in dict(self._resources()).items()}
        checked = vocabulary.checked(raw)
        told = {name: _plain(value) for name, value in checked.facts.items()}
        if isinstance(free := told.get("disk.free"), int):
            self._free = told["disk.free"] = steady(free, self._free)
        problems = (
            *self._problems,
            *found.problems,
            *sight.problems,
            *checked.problems,
        )
        return {
            "version": VERSION,
            "facts": told,
            "gpus": [
                {
                    "id": gpu.id,
                    "index": gpu.index,
                    "model": gpu.model,
                    "memory": gpu.memory,
                    "state": gpu.state,
                }
                for gpu in sight.gpus
            ],
            "accept": self._accept,
            "tokens": dict(self._tokens),
            "problems": list(problems[:PROBLEMS_MAX]),
        }


def steady(value: int, before: int) -> int:
    """A size rounded down by at most a fifth, that does not follow small changes.

    Examples
    --------
    >>> steady(1000, 0), steady(1010, 896), steady(880, 896), steady(500, 896)
    (896, 896, 896, 448)
    """
    if 0 < before * 9 // 10 <= value <= before * 5 // 4:
        return before
    step = 1 << max(0, value.bit_length() - 3)
    return value // step * step


def settings_in_force() -> tuple[HardwareSettings, tuple[str, ...]]:
    """The settings, and what of them cannot be used; never raises for that.

    A worker with a mistake in its configuration still says what it is. What it accepts
    is sent on as it was written: nobody can read it, so it takes nothing.
    """
    try:
        settings = load().hardware
    except ConfigurationError as error:
        problems = [" ".join(str(error).split())[:500]]
    else:
        try:
            parse_accept(settings.accept)
        except DemandError as error:
            why = str(error).splitlines()[0]
            return settings, (f"hardware.accept: {why}; so no task is accepted",)
        return settings, ()
    values: dict[str, Any] = {}
    written = {entry.key: entry for entry in entries()}
    for field in dataclasses.fields(HardwareSettings):
        entry = written[field.metadata["key"]]
        reader = READERS[entry.key]
        try:
            values[field.name] = reader.read(entry.value)
        except ValueError:
            values[field.name] = reader.read(entry.default)
            if field.name == "accept":
                values[field.name] = str(entry.value)[:100] or "?"
    return HardwareSettings(**values), tuple(problems)


def parse_accept(text: str | None) -> None:
    """Refuse what says nothing about tasks; the scheduler reads it, with each advert.

    Raises
    ------
    DemandError
        Saying what is wrong, and where.
    """
    if text is not None:
        parse(text, vocabulary.TASK_FACTS)


def _plain(value: vocabulary.Value) -> Any:
    """The value as it is after it was sent: a list for a tuple."""
    return list(value) if isinstance(value, tuple) else value

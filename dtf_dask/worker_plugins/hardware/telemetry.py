"""What a worker takes of its machine besides what Dask says, for its heartbeats.

That is what the processes take in which tests run, how busy its GPUs are, and how warm
it is. For the latter two a heartbeat takes the last answer and waits for none: a thread
asks, at most once in `ASKED_S`, and not at all where there is nothing to ask. Drivers
may hang; then the thread does, and what it knew is no longer said.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psutil

from dtf_dask.worker_plugins.hardware.descendants import Descendants
from dtf_dask.worker_plugins.hardware.gpu import GpuProbe
from dtf_dask.worker_plugins.hardware.gpu_use import GpuUse

logger = logging.getLogger(__name__)

METRIC = "dtf_machine"
"""Its name in heartbeats."""
ASKED_S = 2.0
OLD_S = 10.0

_CPUS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal")
"""Sensors of the processor itself; others stand for the machine if it has none."""

Temperatures = Callable[[], Mapping[str, Sequence[Any]]]
_SENSORS: Temperatures | None = getattr(psutil, "sensors_temperatures", None)


class Telemetry:
    """Of one worker.

    Parameters
    ----------
    temperatures
        As psutil's: readings with ``current`` in °C, by sensor.
    """

    def __init__(
        self,
        gpu: GpuProbe,
        temperatures: Temperatures | None = _SENSORS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._use = GpuUse(gpu)
        self._temperatures = temperatures
        self._clock = clock
        self._thread: threading.Thread | None = None
        self._asked_at = self._found_at = float("-inf")
        self._found: dict[str, Any] = {}
        self._said = False
        self._descendants = Descendants()
        self._measured_at = float("-inf")
        self._below: dict[str, Any] = {}

    def metric(self, worker: object = None) -> dict[str, Any]:
        """What is known now; Dask asks on the worker's loop."""
        now = self._clock()
        if self._use.problem and not self._said:
            self._said = True
            logger.warning(
                "How busy some GPU is cannot be seen, and is asked seldom from now on:"
                " %s",
                self._use.problem,
            )
        asks = self._thread is not None and self._thread.is_alive()
        is_due = not asks and now - self._asked_at >= ASKED_S
        if is_due and (self._use.there or self._temperatures is not None):
            self._asked_at = now
            thread = threading.Thread(target=self._ask, name=METRIC, daemon=True)
            thread.start()
            self._thread = thread
        if now - self._measured_at >= ASKED_S:
            self._measured_at = now
            self._below = self._descendants.measure(now)
        found = self._found if now - self._found_at <= OLD_S else {}
        return found | {"below": self._below} if self._below else found

    def _ask(self) -> None:
        found: dict[str, Any] = {}
        if self._use.there:
            found["gpus"] = self._use.readings()
        celsius = self._celsius()
        if celsius is not None:
            found["temperature"] = celsius
        self._found, self._found_at = found, self._clock()

    def _celsius(self) -> float | None:
        """The warmest of the processor; asked no more if there is no sensor."""
        if self._temperatures is None:
            return None
        try:
            sensors = self._temperatures()
            chosen = [name for name in _CPUS if name in sensors] or list(sensors)
            found = [float(one.current) for name in chosen for one in sensors[name]]
        except Exception:  # whatever some board's sensors say to that
            found = []
        if not found:
            self._temperatures = None
            return None
        return round(max(found), 1)

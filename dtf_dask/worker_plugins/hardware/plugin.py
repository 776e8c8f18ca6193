"""The worker plugin that says what the worker is, and says so again when it changes.

The first advert goes with the worker's registration, so that the scheduler knows it
before it gives the worker anything. Probes run in threads; on the worker's loop nothing
is computed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from distributed import Worker, WorkerPlugin

from dtf_dask.settings import HardwareSettings
from dtf_dask.worker_plugins import dask_seam
from dtf_dask.worker_plugins.hardware.advert import (
    Hardware,
    own_probes,
    settings_in_force,
)
from dtf_dask.worker_plugins.hardware.gpu import GpuProbe
from dtf_dask.worker_plugins.hardware.health import (
    Command,
    DiskFree,
    HealthCheck,
    HealthWatch,
    installed_checks,
)
from dtf_dask.worker_plugins.hardware.probes import Probe, installed_probes
from dtf_dask.worker_plugins.hardware.telemetry import METRIC, Telemetry
from dtf_dask.worker_plugins.hardware.topic import TOPIC

logger = logging.getLogger(__name__)

NAME = "dtf-hardware"
EXTRA = "dtf_hardware"
"""The key of the first advert in ``WorkerState.extra``."""

# What takes longer to find out than this follows in a second advert: a worker's start
# does not wait for a browser to say its version.
FIRST_S = 0.2
_FRESH_S = 0.2  # a look that is no older answers who asks for one
_CONNECTION_POLL_S = 0.1


class HardwarePlugin(WorkerPlugin):
    """Advertises what the worker is: facts, GPUs, labels, tokens, what it accepts.

    And whether it is fit for work, by its health checks. Later adverts are events of
    the topic ``dtf-hardware``, sent when something has changed. The message
    ``dtf_probe`` makes it look now, and answers with the advert. How busy and warm the
    machine is goes with the worker's heartbeats.
    """

    name = NAME
    idempotent = True

    def __init__(
        self,
        probes: tuple[Probe, ...] | None = None,
        gpu: GpuProbe | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._probes = probes
        self._gpu = gpu or GpuProbe()
        self._telemetry = telemetry or Telemetry(self._gpu)
        self.failure = ""

    def __reduce__(self) -> Any:
        return HardwarePlugin, ()  # each worker has its own eyes

    def setup(self, worker: Worker) -> None:
        """Begin to look; what is found goes with the registration, or after it."""
        missing = dask_seam.broken(worker)
        if missing:
            self._give_up(f"Dask has no {', '.join(missing)}")
            return
        self._worker = worker
        self._mutex = asyncio.Lock()
        self._looked = asyncio.Event()
        self._looked_at = float("-inf")
        self._hardware: Hardware | None = None
        self._health: HealthWatch | None = None
        self._advert: dict[str, Any] = {}
        self._told: dict[str, Any] | None = None
        worker.handlers["dtf_probe"] = self.probe
        dask_seam.say_at_registration(worker, EXTRA, self._at_registration)
        dask_seam.say_at_heartbeats(worker, METRIC, self._telemetry.metric)
        self._task = asyncio.create_task(self._watch(), name=NAME)

    async def teardown(self, worker: Worker) -> None:
        """Stop looking. A probe that hangs is left to itself."""
        if not self.failure:
            self._task.cancel()
            if self._health is not None:
                self._health.stop()

    async def probe(self) -> dict[str, Any]:
        """Look now."""
        advert = await self._look()
        self._tell(advert)
        return advert

    async def _at_registration(self, worker: Worker) -> dict[str, Any]:
        await self._looked.wait()
        if self.failure:
            raise LookupError(self.failure)  # Dask leaves the key out then
        self._told = self._advert
        return self._advert

    async def _watch(self) -> None:
        try:
            await self._look(FIRST_S)
            if self._health is not None:
                self._health.start()
            while True:
                self._looked_at = float("-inf")
                advert = await self._look()
                while not dask_seam.is_connected(self._worker):
                    await asyncio.sleep(_CONNECTION_POLL_S)
                self._tell(advert)
                assert self._hardware is not None
                await asyncio.sleep(self._hardware.interval_s)
        except Exception as error:  # nobody else would hear of it
            self._give_up(f"{type(error).__name__}: {error}")
        finally:
            self._looked.set()

    async def _look(self, limit_s: float | None = None) -> dict[str, Any]:
        """The advert of a new look, or of one that is just over."""
        async with self._mutex:
            clock = asyncio.get_running_loop().time
            if clock() - self._looked_at > _FRESH_S:
                found = await asyncio.to_thread(self._looked_up, limit_s)
                self._advert = found | {"health": self._unhealthy()}
                self._looked_at = clock()
                self._looked.set()
            return self._advert

    def _unhealthy(self) -> list[str]:
        return [] if self._health is None else self._health.problems

    def _health_changed(self) -> None:
        self._advert = self._advert | {"health": self._unhealthy()}
        self._tell(self._advert)

    def _looked_up(self, limit_s: float | None) -> dict[str, Any]:
        if self._hardware is None:
            self._hardware = self._made()
        return self._hardware.advert(limit_s)

    def _made(self) -> Hardware:
        """Read the settings and find the probes: in a thread, for it takes a while."""
        worker = self._worker
        settings, problems = settings_in_force()
        probes = self._probes
        if probes is None:
            others, broken = installed_probes()
            problems = (*problems, *broken)
            probes = (
                *own_probes(
                    settings,
                    worker.local_directory,
                    lambda: dask_seam.memory_limit(worker),
                ),
                *others,
            )
        checks, broken = self._checks(settings)
        problems = (*problems, *broken)
        self._health = HealthWatch(
            checks,
            interval_s=settings.health_interval_s,
            timeout_s=settings.health_timeout_s,
            failures=settings.health_failures,
            changed=self._health_changed,
        )
        for problem in problems:
            logger.warning("%s", problem)
        return Hardware(
            settings,
            probes,
            self._gpu,
            lambda: dask_seam.total_resources(worker),
            problems,
        )

    def _checks(
        self, settings: HardwareSettings
    ) -> tuple[list[HealthCheck], Sequence[str]]:
        """The configured ones, and those that are installed."""
        checks: list[HealthCheck] = []
        if settings.disk_free_min_bytes:
            folder = self._worker.local_directory
            checks.append(DiskFree(folder, settings.disk_free_min_bytes))
        timeout_s = settings.health_timeout_s
        checks += [Command(line, timeout_s) for line in settings.health_checks]
        others, broken = installed_checks()
        return [*checks, *others], broken

    def _tell(self, advert: dict[str, Any]) -> None:
        """Send what the scheduler does not know yet, if it can be reached."""
        if advert != self._told and dask_seam.is_connected(self._worker):
            # A copy: the scheduler writes the worker's address into what it gets.
            self._worker.log_event(TOPIC, dict(advert))
            self._told = advert

    def _give_up(self, why: str) -> None:
        self.failure = why
        logger.warning(
            "This worker says nothing of its hardware: %s. Tests that ask for some will"
            " not run here.",
            why,
        )

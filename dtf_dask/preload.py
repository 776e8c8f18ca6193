"""What makes a Dask scheduler or worker one of dtf: ``--preload dtf_dask.preload``.

`dask_setup` is a plain function: Dask allows one preload with options of its own, and
that one is the user's.
"""

from __future__ import annotations

import logging
from typing import Any

from distributed import Scheduler, Worker

logger = logging.getLogger(__name__)

MODULE = __name__


async def dask_setup(server: Any) -> None:
    """Add dtf's plugins to a scheduler or worker that starts; called by Dask."""
    if isinstance(server, Scheduler):
        from dtf_dask.config import load
        from dtf_dask.scheduler_plugins.adapter.composed import scheduling_plugin
        from dtf_dask.scheduler_plugins.adapter.plugin import NAME as SCHEDULING
        from dtf_dask.scheduler_plugins.topics import NAME as TOPICS
        from dtf_dask.scheduler_plugins.topics import TopicPlugin

        if TOPICS not in server.plugins:
            plugin = TopicPlugin()
            await plugin.start(server)
            server.add_plugin(plugin, name=TOPICS)
        if SCHEDULING not in server.plugins:
            scheduling = scheduling_plugin(load().scheduling)
            if scheduling is not None:
                await scheduling.start(server)
                server.add_plugin(scheduling, name=SCHEDULING)
    elif isinstance(server, Worker):
        from dtf_dask.worker_plugins.hardware.plugin import NAME as HARDWARE
        from dtf_dask.worker_plugins.hardware.plugin import HardwarePlugin
        from dtf_dask.worker_plugins.runner.plugin import NAME as RUNNER
        from dtf_dask.worker_plugins.runner.plugin import RunnerPlugin

        if RUNNER not in server.plugins:
            await server.plugin_add(plugin=RunnerPlugin(), name=RUNNER)
        if HARDWARE not in server.plugins:
            await server.plugin_add(plugin=HardwarePlugin(), name=HARDWARE)
    else:
        logger.warning(
            "%s does nothing for a %s; give it to schedulers and workers",
            MODULE,
            type(server).__name__,
        )


def with_dtf(preload: Any, configured: Any) -> list[str]:
    """Put this module before the preloads that were given, or else configured.

    Dask reads its configuration only where no preload is given, so giving ours must
    not take the configured ones away.
    """
    chosen = preload or configured or ()
    others = [chosen] if isinstance(chosen, str) else list(chosen)
    return [MODULE, *(one for one in others if one != MODULE)]

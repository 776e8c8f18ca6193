"""What makes a Dask scheduler or worker one of dtf: ``--preload dtf_dask.preload``.

`dask_setup` is a plain function: Dask allows one preload with options of its own, and
that one is the user's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from distributed import Nanny, Scheduler, Worker
from distributed.protocol.pickle import dumps

from dtf_dask.comm.address import PREFIX

if TYPE_CHECKING:
    from dtf_dask.runs.results.store import ResultsStore
    from dtf_dask.settings import Settings
    from dtf_dask.standby.actions import Actions

logger = logging.getLogger(__name__)

MODULE = __name__
_BUSY_TIMEOUT_S = 3.0  # less than a scheduler that closes waits


async def dask_setup(server: Any) -> None:
    """Add dtf's plugins to a scheduler or worker that starts; called by Dask.

    A nanny of workers of ``dtf://`` waits for whoever leads.
    """
    if isinstance(server, Scheduler):
        await add_to_scheduler(server)
        _answer_faces(server)
    elif isinstance(server, Worker):
        from dtf_dask.worker_plugins.hardware.plugin import NAME as HARDWARE
        from dtf_dask.worker_plugins.hardware.plugin import HardwarePlugin
        from dtf_dask.worker_plugins.rejoin import NAME as REJOIN
        from dtf_dask.worker_plugins.rejoin import RejoinPlugin
        from dtf_dask.worker_plugins.runner.plugin import NAME as RUNNER
        from dtf_dask.worker_plugins.runner.plugin import RunnerPlugin

        if REJOIN not in server.plugins and server.scheduler.address.startswith(PREFIX):
            await server.plugin_add(plugin=RejoinPlugin(), name=REJOIN)

        if RUNNER not in server.plugins:
            await server.plugin_add(plugin=RunnerPlugin(), name=RUNNER)
        if HARDWARE not in server.plugins:
            await server.plugin_add(plugin=HardwarePlugin(), name=HARDWARE)
    elif isinstance(server, Nanny):
        if server.scheduler_addr.startswith(PREFIX):
            from dtf_dask.worker_plugins import dask_nanny
            from dtf_dask.worker_plugins.rejoin import patience_s

            missing = dask_nanny.broken(server)
            if missing:
                logger.warning(
                    "This nanny ends if nobody leads as it starts: Dask has no %s",
                    ", ".join(missing),
                )
            else:
                dask_nanny.wait_for_leaders(server, patience_s())
    else:
        logger.warning(
            "%s does nothing for a %s; give it to schedulers, workers and nannies",
            MODULE,
            type(server).__name__,
        )


async def add_to_scheduler(scheduler: Scheduler) -> None:
    """Add what every scheduler of dtf has, alone or of a coordinator."""
    from dtf_dask.config import load
    from dtf_dask.scheduler_plugins import tails
    from dtf_dask.scheduler_plugins.adapter.composed import scheduling_plugin
    from dtf_dask.scheduler_plugins.adapter.observing import Observer
    from dtf_dask.scheduler_plugins.adapter.plugin import NAME as SCHEDULING
    from dtf_dask.scheduler_plugins.topics import NAME as TOPICS
    from dtf_dask.scheduler_plugins.topics import TopicPlugin

    if TOPICS not in scheduler.plugins:
        plugin = TopicPlugin()
        await plugin.start(scheduler)
        scheduler.add_plugin(plugin, name=TOPICS)
    if SCHEDULING not in scheduler.plugins:
        settings = load()
        scheduling = scheduling_plugin(settings.scheduling, _open_results(settings))
        if scheduling is not None:
            await scheduling.start(scheduler)
            scheduler.add_plugin(scheduling, name=SCHEDULING)
    Observer.install(scheduler)
    tails.install(scheduler)


def _answer_faces(scheduler: Scheduler) -> None:
    """Have a scheduler without coordinators do what its pages ask for.

    What does it is loaded when the first one asks: most never do.
    """
    actions: Actions | None = None

    async def act(asked: Any = None) -> dict[str, Any]:
        nonlocal actions
        if actions is None:
            from dtf_dask.standby.acts_alone import actions_alone

            actions = actions_alone(scheduler)
        return await actions.ask(asked)

    def pages(place: str = "") -> None:
        from dtf_dask.scheduler_plugins.adapter.dashboard_link import link
        from dtf_dask.web.paths import pages_url
        from dtf_dask.web.visitors import is_loopback

        host, _, port = str(place)[:100].rpartition(":")
        if is_loopback(host) and port.isascii() and port.isdecimal():
            link(scheduler, pages_url(place))

    scheduler.handlers |= {"dtf_act": act, "dtf_pages": pages}


def upgrade_workers(scheduler: Scheduler) -> None:
    """Have all workers outlive this scheduler, also those that load no preload.

    Each gets the plugin with the answer to its registration. A worker that has no dtf
    says so, and ends; it could not have run anything.
    """
    from dtf_dask.worker_plugins.rejoin import NAME, RejoinPlugin

    scheduler.worker_plugins[NAME] = dumps(RejoinPlugin())


def _open_results(settings: Settings) -> Callable[[], ResultsStore] | None:
    """What opens the results store, where schedulers keep what they learn.

    None if no store is configured: those of projects are not a scheduler's.
    """
    url = settings.results.url
    if url is None:
        return None

    def open_results() -> ResultsStore:
        # Imported here: a third of a second, in whatever thread asks for it.
        from dtf_dask.runs.results.store import ResultsStore

        return ResultsStore.open(url, busy_timeout_s=_BUSY_TIMEOUT_S)

    return open_results


def with_dtf(preload: Any, configured: Any) -> list[str]:
    """Put this module before the preloads that were given, or else configured.

    Dask reads its configuration only where no preload is given, so giving ours must
    not take the configured ones away.
    """
    chosen = preload or configured or ()
    others = [chosen] if isinstance(chosen, str) else list(chosen)
    return [MODULE, *(one for one in others if one != MODULE)]

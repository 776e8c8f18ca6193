"""The scheduling plugin with its engine, as the configuration wants them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from random import Random

from dtf_dask.errors import ConfigurationError
from dtf_dask.hints import nearest
from dtf_dask.scheduler_plugins.adapter.plugin import SchedulingPlugin
from dtf_dask.scheduler_plugins.adapter.remembering import Store
from dtf_dask.scheduler_plugins.engine.engine import Engine
from dtf_dask.scheduler_plugins.engine.engine_settings import (
    EngineSettings,
    PriorityClass,
)
from dtf_dask.scheduler_plugins.policies.backoff import Backoff, BackoffSettings
from dtf_dask.scheduler_plugins.policies.custom import Policies
from dtf_dask.scheduler_plugins.policies.overload import OverloadSettings
from dtf_dask.scheduler_plugins.policies.quota import Quota, TenantSettings
from dtf_dask.settings import SchedulingSettings

POLICY_GROUP = "dtf_dask.policies"
"""The entry points of policies: each is a class, or a function, that makes one."""


def scheduling_plugin(
    scheduling: SchedulingSettings, open_store: Callable[[], Store] | None = None
) -> SchedulingPlugin | None:
    """Make the plugin; None if the configuration says that Dask alone schedules.

    Parameters
    ----------
    open_store
        Opens what keeps what is learned; None for a scheduler that starts anew.

    Raises
    ------
    ConfigurationError
        If two keys do not fit together.
    """
    if not scheduling.enabled:
        return None
    default_class = scheduling.default_class or next(iter(scheduling.classes))
    if default_class not in scheduling.classes:
        raise ConfigurationError(
            f"scheduling.default-class is {default_class!r}, which is none of "
            f"scheduling.classes: {', '.join(scheduling.classes)}"
        )
    backoff = Backoff(
        BackoffSettings(
            base_s=scheduling.retry_pause_s, delay_max_s=scheduling.retry_pause_max_s
        ),
        Random(),
    )
    policies = Policies(load_policies(scheduling.policies))
    interval_s = scheduling.remember_interval_s
    return SchedulingPlugin(
        Engine(engine_settings(scheduling), policies),
        govern_all=scheduling.govern == "all",
        default_class=default_class,
        delay_s=backoff.delay_s,
        open_store=None if interval_s is None else open_store,
        remember_interval_s=interval_s or 0.0,
    )


def load_policies(names: tuple[str, ...]) -> dict[str, object]:
    """Make the policies of these names, of those that are installed.

    A broken one fails the start: nobody would notice that it is not asked.

    Raises
    ------
    ConfigurationError
        If one is not installed, cannot be made, or is no policy.
    """
    installed = {found.name: found for found in entry_points(group=POLICY_GROUP)}
    policies: dict[str, object] = {}
    for name in names:
        if name not in installed:
            raise ConfigurationError(
                f"scheduling.policies: no policy {name!r} is installed (entry points "
                f"{POLICY_GROUP}){nearest(name, tuple(installed)) if installed else ''}"
            )
        try:
            policies[name] = installed[name].load()()
            Policies({name: policies[name]})
        except Exception as error:
            raise ConfigurationError(
                f"scheduling.policies: {name!r} ({installed[name].value}) cannot be "
                f"used: {type(error).__name__}: {error}"
            ) from error
    return policies


def engine_settings(scheduling: SchedulingSettings) -> EngineSettings:
    """What the engine is set to by the configuration."""
    quotas = {
        name: Quota(share.weight, share.guaranteed, share.max)
        for name, share in scheduling.tenants.items()
    }
    return EngineSettings(
        classes=tuple(
            PriorityClass(name, patience_s)
            for name, patience_s in scheduling.classes.items()
        ),
        prefetch_s=scheduling.prefetch_s,
        tenants=TenantSettings(quotas),
        overload=OverloadSettings(queue_length_max=scheduling.queue_length_max),
    )

"""The scheduling plugin with its engine, as the configuration wants them."""

from __future__ import annotations

from dataclasses import fields
from random import Random
from typing import Any

from dtf_dask.errors import ConfigurationError
from dtf_dask.scheduler_plugins.backoff import Backoff, BackoffSettings
from dtf_dask.scheduler_plugins.engine import Engine
from dtf_dask.scheduler_plugins.engine_settings import EngineSettings, PriorityClass
from dtf_dask.scheduler_plugins.overload import OverloadSettings
from dtf_dask.scheduler_plugins.plugin import SchedulingPlugin
from dtf_dask.scheduler_plugins.quota import Quota, TenantSettings
from dtf_dask.settings import SchedulingSettings


def scheduling_plugin(scheduling: SchedulingSettings) -> SchedulingPlugin | None:
    """Make the plugin; None if the configuration says that Dask alone schedules.

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
    return SchedulingPlugin(
        Engine(engine_settings(scheduling)),
        govern_all=scheduling.govern == "all",
        default_class=default_class,
        delay_s=backoff.delay_s,
    )


def engine_settings(scheduling: SchedulingSettings) -> EngineSettings:
    """What the engine is set to by the configuration."""
    quotas = {
        name: Quota(share.weight, share.guaranteed, share.max)
        for name, share in scheduling.tenants.items()
    }
    wishes: dict[str, Any] = {
        "classes": tuple(
            PriorityClass(name, patience_s)
            for name, patience_s in scheduling.classes.items()
        ),
        "prefetch_s": scheduling.prefetch_s,
        "tenants": TenantSettings(quotas),
        "overload": OverloadSettings(queue_length_max=scheduling.queue_length_max),
    }
    known = {field.name for field in fields(EngineSettings)}
    return EngineSettings(**{name: wishes[name] for name in wishes if name in known})

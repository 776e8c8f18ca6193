"""What the scheduling engine is set to: one frozen value, with defaults. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from dtf_dask.scheduler_plugins.policies.breaker_terms import BreakerSettings
from dtf_dask.scheduler_plugins.policies.estimate import EstimateSettings
from dtf_dask.scheduler_plugins.policies.overload import OverloadSettings
from dtf_dask.scheduler_plugins.policies.preempt import PreemptSettings
from dtf_dask.scheduler_plugins.policies.quota import TenantSettings


@dataclass(frozen=True, slots=True)
class PriorityClass:
    """Work of one urgency.

    Parameters
    ----------
    patience_s
        After this long of waiting it is as urgent as what is due now; so it orders
        classes, and no class starves.
    preempts
        Whether it may end work of lower classes also when it has no deadline.
    """

    name: str
    patience_s: float
    preempts: bool = False


CLASSES = (
    PriorityClass("interactive", 0.0),
    PriorityClass("release", 120.0),
    PriorityClass("normal", 600.0),
    PriorityClass("nightly", 3600.0),
)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How the engine weighs what it decides. Times in seconds.

    Parameters
    ----------
    classes
        The most urgent first; their order is their rank.
    priority_step_s
        What one point of Dask's ``priority`` is worth against waiting.
    prefetch_s, prefetch_max
        Work that each thread of a worker may hold behind a short task, so that it
        never waits for the next short task: in seconds by estimates, and in tasks.
    revokes_max
        Tasks taken back from workers in one decision.
    scarcity_s
        For how long work that runs nearly anywhere gives way to work that only
        these workers can run.
    detour_s
        A task takes no slower worker to spare a scarce one, if that costs it more.
    reservations_max
        Gangs and large tasks for which workers are kept free at the same time.
    default_s
        What a task takes of which nothing is known.
    weight_prefer, weight_learned, weight_scarcity, weight_near, weight_custom
        What a worker's score is made of.
    preempt_lead_s
        So long before it must begin, others give way to a task with a deadline.
    near_max
        Workers looked at because they hold inputs of a task.
    aside_max
        Tasks of one kind passed over because no worker suits just these.
    refresh_s
        How often places in the order are computed anew, for shares that changed; the
        more often, the fewer kinds of tasks wait.
    gang_size_max, after_max, wants_max
        Bounds on what is asked: workers at once, tasks waited for, different needs.
    estimates, tenants, breakers, preempt, overload
        What those parts are set to.
    """

    classes: tuple[PriorityClass, ...] = CLASSES
    priority_step_s: float = 60.0
    prefetch_s: float = 0.05
    prefetch_max: int = 16
    revokes_max: int = 64
    scarcity_s: float = 60.0
    detour_s: float = 1.0
    reservations_max: int = 8
    default_s: float = 1.0
    weight_prefer: int = 4
    weight_learned: int = 3
    weight_scarcity: int = 2
    weight_near: int = 3
    weight_custom: int = 4
    preempt_lead_s: float = 1.0
    near_max: int = 8
    aside_max: int = 16
    refresh_s: float = 1.0
    gang_size_max: int = 1000
    after_max: int = 1000
    wants_max: int = 10_000
    estimates: EstimateSettings = field(default_factory=EstimateSettings)
    tenants: TenantSettings = field(default_factory=TenantSettings)
    breakers: BreakerSettings = field(default_factory=BreakerSettings)
    preempt: PreemptSettings = field(default_factory=PreemptSettings)
    overload: OverloadSettings = field(default_factory=OverloadSettings)

    def __post_init__(self) -> None:
        names = [one.name for one in self.classes]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"priority classes need different names, not {names}")
        if any(not 0 <= one.patience_s <= 1e9 for one in self.classes):
            raise ValueError("the patience of a priority class is 0 to 1e9 seconds")
        if self.prefetch_s < 0 or self.prefetch_max < 0:
            raise ValueError("prefetching is bounded by numbers that are not negative")

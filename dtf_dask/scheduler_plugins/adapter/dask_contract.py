"""What dtf leans on in Dask's scheduler to hold and grant tasks: is it there?

`dask_grants` is what leans on it. Who takes over asks first; a contract test keeps the
answer empty for the installed version.
"""

from __future__ import annotations

from inspect import unwrap

from distributed import Scheduler
from distributed.scheduler import SchedulerState, TaskState
from distributed.stealing import WorkStealing

VERSIONS = ("2026.3", "2026.8")
"""The oldest and the newest release of distributed that the tests were run with."""

REPLACED = (
    "is_rootish",
    "decide_worker_non_rootish",
    "valid_workers",
    "bulk_schedule_unrunnable_after_adding_worker",
    "_check_unrunnable_task_timeouts",
)
_CALLED = (
    *("transition", "transitions", "worker_send", "add_resources", "_reschedule"),
    *("acquire_resources", "coerce_hostname"),
)
_STATE = (
    *("tasks", "workers", "running", "plugins", "extensions", "stream_comms"),
    *("handlers", "host_info", "no_workers_timeout", "loop"),
)
_ENTRIES = (
    ("released", "waiting"),
    ("waiting", "processing"),
    ("waiting", "no-worker"),
    ("no-worker", "processing"),
    ("no-worker", "released"),
    ("no-worker", "erred"),
    ("processing", "released"),
    ("processing", "erred"),
    ("released", "erred"),
    ("queued", "erred"),
    ("memory", "erred"),
    ("erred", "released"),
    ("released", "forgotten"),
    ("waiting", "released"),
)
_STREAMS = ("task-erred", "long-running", "steal-response", "reschedule")
_TASK_FIELDS = (
    *("annotations", "run_id", "retries", "processing_on", "exception_blame"),
    *("exception", "exception_text", "waiting_on", "waiters", "dependencies"),
    *("dependents", "resource_restrictions", "worker_restrictions", "run_spec"),
    *("host_restrictions", "loose_restrictions", "who_wants", "who_has", "actor"),
    *("has_lost_dependencies", "priority", "prefix", "suspicious"),
)
# Which function leans on which name: a replaced method that nobody calls any more
# would be ignored without a word.
_CALL_SITES: tuple[tuple[type, str, tuple[str, ...]], ...] = (
    (
        SchedulerState,
        "_transition_waiting_processing",
        ("is_rootish", "decide_worker_non_rootish", "_add_to_processing"),
    ),
    (
        SchedulerState,
        "_transition_no_worker_processing",
        ("decide_worker_non_rootish", "unrunnable", "_add_to_processing"),
    ),
    (SchedulerState, "_transition_waiting_no_worker", ("unrunnable",)),
    (SchedulerState, "_add_to_processing", ("acquire_resources", "_task_to_msg")),
    (SchedulerState, "_exit_processing_common", ("release_resources",)),
    (SchedulerState, "_task_to_msg", ("annotations", "run_id")),
    (SchedulerState, "_transition", ("_TRANSITIONS_TABLE",)),
    (SchedulerState, "_propagate_erred", ("waiters", "exception_blame")),
    (SchedulerState, "_transition_released_erred", ("dependents", "exception_blame")),
    (SchedulerState, "_transition_released_waiting", ("waiting_on", "waiters")),
    (WorkStealing, "balance", ("_get_thief", "move_task_request")),
    (WorkStealing, "transition", ("put_key_in_stealable",)),
    (WorkStealing, "recalculate_cost", ("put_key_in_stealable",)),
    (
        Scheduler,
        "handle_worker_status_change",
        ("bulk_schedule_unrunnable_after_adding_worker", "log_event"),
    ),
    (Scheduler, "_check_no_workers", ("_check_unrunnable_task_timeouts",)),
    (
        Scheduler,
        "_create_taskstate_from_graph",
        ("update_graph", "transitions", "exception_blame"),
    ),
    (Scheduler, "stimulus_task_erred", ("retries", "run_id")),
)


def broken(scheduler: Scheduler) -> tuple[str, ...]:
    """Say what is missing of what `dask_grants` uses; empty if all is there."""
    missing = [
        f"Scheduler.{name}"
        for name in (*REPLACED, *_CALLED)
        if not callable(getattr(scheduler, name, None))
    ]
    missing += [f"Scheduler.{name}" for name in _STATE if not hasattr(scheduler, name)]
    table = getattr(scheduler, "_TRANSITIONS_TABLE", {})
    missing += [f"{a} -> {b}" for a, b in _ENTRIES if (a, b) not in table]
    streams = getattr(scheduler, "stream_handlers", {})
    missing += [f"stream {op}" for op in _STREAMS if not callable(streams.get(op))]
    missing += [
        f"TaskState.{name}" for name in _TASK_FIELDS if not hasattr(TaskState, name)
    ]
    for owner, caller, called in _CALL_SITES:
        code = getattr(unwrap(getattr(owner, caller, broken)), "__code__", None)
        missing += [
            f"{name} in {owner.__name__}.{caller}"
            for name in called
            if code is None or name not in code.co_names
        ]
    if not isinstance(getattr(scheduler, "unrunnable", None), dict):
        missing.append("Scheduler.unrunnable")
    if not hasattr(scheduler, "__dict__"):
        missing.append("methods of one scheduler that can be replaced")
    return tuple(missing)

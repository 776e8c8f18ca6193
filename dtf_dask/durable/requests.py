"""What becomes of a request whose scheduler dies before it answers. Pure.

Clients and workers ask their scheduler by calls that wait for an answer. When the
connection breaks, who asked cannot tell whether the scheduler acted. Each call is of
one of four kinds:

`Again.FREELY`
    It changes nothing, or doing it twice is doing it once: it is asked again.
`Again.ONCE`
    It is asked again under the number that it had, and a scheduler that has done it
    says what it answered then: it is in the ledger, together with what it changed.
`Again.NEVER`
    Nobody can know, and twice would be wrong: who asked is told so.
`Again.ELSEWHERE`
    Others see to it; it is none of our business.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from dtf_dask.errors import ProtocolError

REQUEST = "dtf_request"
"""The argument of a call that names it, for those that are to be done once."""
SAID = "dtf_said"
"""A call for what Dask's clients only say in a stream: ``what``, and its arguments."""

SAYINGS = frozenset({"variable_delete", "queue_release"})
"""What can be said that way: the names of Dask's messages."""

REQUESTER_CHARS_MAX = 64
DONE_MAX = 1_000
NUMBER_MAX = 2**63 - 1


class Again(enum.Enum):
    """Whether a call is asked again."""

    FREELY = "freely"
    ONCE = "once"
    NEVER = "never"
    ELSEWHERE = "elsewhere"


_ONCE = (
    *("variable_set", "queue_create", "queue_put", "queue_get"),
    *("event_set", "event_clear"),
    *("semaphore_register", "semaphore_acquire", "semaphore_release"),
    *("semaphore_close", "multi_lock_acquire", "multi_lock_release"),
    *("publish_put", "publish_delete", "set_metadata", "log_event"),
    *("register_scheduler_plugin", "unregister_scheduler_plugin"),
    *("register_worker_plugin", "unregister_worker_plugin"),
    *("register_nanny_plugin", "unregister_nanny_plugin"),
    *("set_restrictions", SAID),
)
_FREELY = (
    *("identity", "ncores", "ncores_running", "has_what", "who_has", "processing"),
    *("call_stack", "profile", "performance_report", "get_logs", "logs"),
    *("worker_logs", "events", "nbytes", "versions", "get_metadata"),
    *("get_task_status", "get_task_stream", "get_task_stream_index"),
    *("get_task_prefix_states", "get_cluster_state", "get_story"),
    *("adaptive_target", "workers_to_close", "gather", "check_idle"),
    *("variable_get", "queue_qsize", "event_wait", "event_is_set"),
    *("semaphore_value", "semaphore_refresh_leases", "publish_list", "publish_get"),
    *("rebalance", "replicate", "scatter", "get_runspec"),
    *("shuffle_get", "shuffle_get_or_create", "shuffle_restrict_task"),
    *("shuffle_barrier", "dtf_room", "dtf_explain", "dtf_reprioritize"),
    *("dtf_results", "dtf_results_held"),
)
_OF_WORKERS = frozenset(
    (
        *("actor_attribute", "dtf_open", "dtf_put", "dtf_probe", "dtf_revoke"),
        *("dtf_events", "dtf_blob", "dtf_cancel", "dtf_close"),
    )
)
"""Freely, too: what runs ask of workers, which says the same a second time."""
_ELSEWHERE = (
    *("heartbeat_worker", "register-worker", "register_nanny", "unregister"),
    *("register-client", "terminate", "feed", "subscribe_worker_status"),
)

CALLS: Mapping[str, Again] = {
    **dict.fromkeys(_ONCE, Again.ONCE),
    **dict.fromkeys(_FREELY, Again.FREELY),
    **dict.fromkeys(_ELSEWHERE, Again.ELSEWHERE),
}
"""By the name of the call; what is not here is never asked again."""

AFTER_GRAPHS = frozenset(
    {"variable_set", "queue_put", "publish_put", "publish_delete", "scatter"}
)
"""Calls that speak of keys: all graphs and releases said before had better be there."""


class Request(NamedTuple):
    """Which call this is: whose, its number, and which of those before are over."""

    requester: str
    number: int
    done: tuple[int, ...]


def kind_of(call: str, arguments: Mapping[str, Any]) -> Again:
    """What becomes of a call that breaks.

    Examples
    --------
    >>> kind_of("queue_put", {}).value, kind_of("run_function", {}).value
    ('once', 'never')
    """
    if call == "proxy":  # a call of a worker through the scheduler
        asked = arguments.get("msg")
        inner = asked.get("op") if isinstance(asked, Mapping) else None
        return Again.FREELY if inner in _OF_WORKERS else Again.NEVER
    if call == "retire_workers":
        named = arguments.get("workers") or arguments.get("names")
        # Without names it chooses whom, and would choose others the second time.
        return Again.FREELY if named else Again.NEVER
    return CALLS.get(call, Again.NEVER)


def request_words(requester: str, number: int, done: Iterable[int]) -> list[Any]:
    """A request's name as it travels."""
    return [requester, number, list(done)]


def read_request(words: object) -> Request | None:
    """What `request_words` made, after its travel; None for none.

    Raises
    ------
    ProtocolError
        It is something else.

    Examples
    --------
    >>> read_request(("w", 3, (1, 2)))
    Request(requester='w', number=3, done=(1, 2))
    """
    if words is None:
        return None
    if not isinstance(words, list | tuple) or len(words) != 3:
        raise ProtocolError("this names no request")
    requester, number, done = words
    if type(requester) is not str or not 0 < len(requester) <= REQUESTER_CHARS_MAX:
        raise ProtocolError("this names no requester")
    if not isinstance(done, list | tuple) or len(done) > DONE_MAX:
        raise ProtocolError("too many requests are said to be over, or none")
    if not all(type(one) is int and 0 < one <= NUMBER_MAX for one in (number, *done)):
        raise ProtocolError("a request has a number from 1 on")
    return Request(requester, number, tuple(done))


def with_time_left(arguments: Mapping[str, Any], spent_s: float) -> dict[str, Any]:
    """The arguments of a call, of whose own ``timeout`` some is over.

    Examples
    --------
    >>> with_time_left({"name": "x", "timeout": 5}, 2.0)
    {'name': 'x', 'timeout': 3.0}
    """
    timeout = arguments.get("timeout")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        return dict(arguments)
    return {**arguments, "timeout": max(timeout - spent_s, 0.0)}

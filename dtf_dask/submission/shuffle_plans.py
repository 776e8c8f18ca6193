"""What a worker tells a scheduler of a shuffle whose barrier that does not open.

For each partition a number: of the worker that it had better go to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distributed.shuffle._core import P2PBarrierTask

from dtf_dask.errors import ProtocolError
from dtf_dask.submission.opening import open_task
from dtf_dask.submission.table import Key

PLAN = "dtf_shuffle_plan"
"""The call of workers for it."""
PARTITIONS_MAX = 4_000_000


def open_spec(key: Key, payload: bytes, functions: Mapping[int, bytes]) -> Any:
    """What a barrier says of its shuffle. It executes what a client sent: in workers.

    Raises
    ------
    ProtocolError
        It is no barrier.
    """
    node = open_task(key, payload, functions, None)
    if not isinstance(node, P2PBarrierTask):
        raise ProtocolError(f"the payload of {key!r} is no barrier of a shuffle")
    return node.spec


def plan_of(
    key: Key, payload: bytes, functions: Mapping[int, bytes], workers: int
) -> dict[str, Any]:
    """A worker's answer to `PLAN`: a number for each partition, as plain values."""
    try:
        spec = open_spec(key, payload, functions)
        places: Any = range(workers)
        found = [(one, spec.pick_worker(one, places)) for one in spec.output_partitions]
        return {"status": "OK", "disk": bool(spec.disk), "plan": found}
    except Exception as error:
        return {"status": "error", "why": f"{type(error).__name__}: {error}"}


def read_plan(answer: Any) -> dict[Any, int]:
    """A plan that a worker answered.

    Raises
    ------
    ProtocolError
        It is none, or the worker could not make one.
    """
    if not isinstance(answer, Mapping) or answer.get("status") != "OK":
        why = answer.get("why") if isinstance(answer, Mapping) else answer
        raise ProtocolError(f"a worker cannot plan a shuffle: {why}")
    found = answer.get("plan")
    if not isinstance(found, list | tuple) or len(found) > PARTITIONS_MAX:
        raise ProtocolError("a plan of a shuffle that is none")
    plan: dict[Any, int] = {}
    for one in found:
        if not isinstance(one, list | tuple) or len(one) != 2:
            raise ProtocolError("a plan of a shuffle that is none")
        partition, place = one
        plain = isinstance(partition, tuple | int | str)
        if not plain or type(place) is not int or place < 0:
            raise ProtocolError("a plan of a shuffle that makes no sense")
        plan[partition] = place
    return plan

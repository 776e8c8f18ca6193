"""What workers measure, as records to be seen. Pure.

A worker may send anything: what is no number is not shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

FACTS_MAX = 60
_FIRST = ("os.", "cpu.", "memory", "gpu.", "disk.", "python.", "label.")
_STALE_S = 30.0
"""A load is told after so long, though it is about the same."""
MACHINE = "dtf_machine"
"""What a worker with dtf measures besides, in its heartbeats."""
_CPU_LITTLE = 0.1  # threads
_CELSIUS_LITTLE = 2.0
_SHARE_LITTLE = 0.05
_BYTES_LITTLE = 1 << 20

_BUSY = {
    "disk_read_bps": ("host_disk_io", "read_bps"),
    "disk_write_bps": ("host_disk_io", "write_bps"),
    "net_in_bps": ("host_net_io", "read_bps"),
    "net_out_bps": ("host_net_io", "write_bps"),
}


_SIZES = ("memory", "spilled", *_BUSY)


def load_of(metrics: Mapping[str, Any], now: float) -> dict[str, Any]:
    """How busy a worker is, of the metrics in its heartbeat.

    Examples
    --------
    >>> load_of({"cpu": 150.0, "memory": 2**20, "spilled_bytes": {"disk": "?"}}, 9.0)
    {'at': 9.0, 'cpu': 1.5, 'memory': 1048576, 'spilled': 0}
    """
    cpu = number(metrics.get("cpu"))
    load: dict[str, Any] = {
        "at": now,
        "cpu": None if cpu is None else round(cpu / 100 + _below_it(metrics, "cpu"), 2),
        "memory": memory_of(metrics),
        "spilled": int(number(_below(metrics, "spilled_bytes", "disk")) or 0),
    }
    for name, (above, below) in _BUSY.items():
        found = number(_below(metrics, above, below))
        if found is not None:
            load[name] = round(found)
    celsius = number(_below(metrics, MACHINE, "temperature"))
    if celsius is not None:
        load["temperature"] = celsius
    gpus = _below(metrics, MACHINE, "gpus")
    if isinstance(gpus, list | tuple):
        load["gpus"] = [_gpu(one) for one in gpus if isinstance(one, Mapping)]
    elif (util := number(metrics.get("gpu_utilization"))) is not None:  # Dask's own
        memory = metrics.get("gpu_memory_used")
        load["gpus"] = [_gpu({"util": round(util / 100, 2), "memory": memory})]
    return load


def memory_of(metrics: Mapping[str, Any]) -> int:
    """What a worker has of memory, with the processes in which tests run.

    Examples
    --------
    >>> memory_of({"memory": 100, "dtf_machine": {"below": {"memory": 50}}})
    150
    """
    return int((number(metrics.get("memory")) or 0) + _below_it(metrics, "memory"))


def _below_it(metrics: Mapping[str, Any], name: str) -> float:
    below = _below(metrics, MACHINE, "below")
    return number(below.get(name)) or 0.0 if isinstance(below, Mapping) else 0.0


def _gpu(told: Mapping[str, Any]) -> dict[str, Any]:
    texts = {name: str(told.get(name, "")) for name in ("id", "name")}
    return texts | {
        "util": number(told.get("util")),
        "memory": _whole(told.get("memory")),
        "memory_total": _whole(told.get("memory_total")),
        "temperature": number(told.get("temperature")),
    }


def load_differs(told: Mapping[str, Any], load: Mapping[str, Any]) -> bool:
    """Whether a load is another one, by more than a little."""
    if load["at"] - told["at"] > _STALE_S or told["processing"] != load["processing"]:
        return True
    if [one["key"] for one in told["running"]] != [
        one["key"] for one in load["running"]
    ]:
        return True
    before, cpu = told["cpu"] or 0.0, load["cpu"] or 0.0
    if abs(before - cpu) > max(_CPU_LITTLE, _SHARE_LITTLE * before):
        return True
    if any(_bytes_differ(told[name], load[name]) for name in _SIZES):
        return True
    if _by_much(told["temperature"], load["temperature"], _CELSIUS_LITTLE):
        return True
    gpus = list(zip(told["gpus"], load["gpus"], strict=False))
    return len(told["gpus"]) != len(load["gpus"]) or any(
        _gpu_differs(*pair) for pair in gpus
    )


def _gpu_differs(told: Mapping[str, Any], gpu: Mapping[str, Any]) -> bool:
    return (
        told["id"] != gpu["id"]
        or _by_much(told["util"], gpu["util"], _SHARE_LITTLE)
        or _by_much(told["temperature"], gpu["temperature"], _CELSIUS_LITTLE)
        or (told["memory"] is None) != (gpu["memory"] is None)
        or _bytes_differ(told["memory"] or 0, gpu["memory"] or 0)
    )


def _bytes_differ(before: float, now: float) -> bool:
    return abs(before - now) > max(_BYTES_LITTLE, _SHARE_LITTLE * before)


def _by_much(before: float | None, now: float | None, little: float) -> bool:
    if before is None or now is None:
        return before is not now
    return abs(before - now) > little


def shown_facts(facts: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The facts of a worker that are shown, what is asked for most first; its labels.

    Examples
    --------
    >>> shown_facts({"package.numpy": "2.0", "os.name": "linux", "label.board": "rpi"})
    ({'os.name': 'linux', 'label.board': 'rpi', 'package.numpy': '2.0'}, ['board=rpi'])
    >>> list(shown_facts({"package.numpy": "2.0", "tool.git": "2.39"})[0])
    ['tool.git', 'package.numpy']
    """

    def order(name: str) -> tuple[int, str]:
        firsts = [at for at, first in enumerate(_FIRST) if name.startswith(first)]
        rest = len(_FIRST) + name.startswith("package.")  # of which there are many
        return (firsts[0] if firsts else rest, name)

    names = sorted(facts, key=order)
    labels = [
        f"{name.removeprefix('label.')}={facts[name]}"
        for name in names
        if name.startswith("label.")
    ]
    return {name: facts[name] for name in names[:FACTS_MAX]}, labels


def is_lost(events: Sequence[tuple[float, Any]]) -> bool:
    """Whether a worker that is gone did not say so before, by the events about it."""
    for _, event in reversed(events):
        if not isinstance(event, Mapping):
            continue
        if event.get("action") == "remove-worker" and event.get("expected"):
            return False
        if event.get("action") == "worker-status-change" and str(
            event.get("status")
        ).startswith("clos"):
            return False
    return True


def number(value: object) -> float | None:
    """A number that is none below zero; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) and 0 <= value < 2**53 else None


def _whole(value: object) -> int | None:
    found = number(value)
    return None if found is None else int(found)


def _below(metrics: Mapping[str, Any], above: str, below: str) -> object:
    found = metrics.get(above)
    return found.get(below) if isinstance(found, Mapping) else None

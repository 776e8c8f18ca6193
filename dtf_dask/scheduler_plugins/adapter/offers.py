"""What a worker has to give, from what it says of itself and what Dask knows. Pure.

A worker may say anything: what cannot be true is left out, and said in words. Whatever
it says, its threads, memory and resources are those that Dask knows of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from typing import Any

from dtf_dask.demand import Expression, parse
from dtf_dask.errors import DemandError
from dtf_dask.facts import DEVICES_COUNT_MAX, SIZE_BYTES_MAX, TASK_FACTS, checked
from dtf_dask.grant import is_device_id
from dtf_dask.hints import shown
from dtf_dask.scheduler_plugins.adapter.asks import AMOUNT_MAX, resource_name
from dtf_dask.scheduler_plugins.engine.terms import Gpu, Offer

VERSION = 1
NAMES_MAX = 1000
TEXT_LENGTH_MAX = 200
PROBLEMS_MAX = 20
HEALTH_LENGTH_MAX = 400
_CHECKS_SHOWN = 3

# What nobody can read is not taken for "anything goes": it accepts no task.
_NOTHING = parse("class == 'nobody' and class == 'somebody'", TASK_FACTS)


def offer(
    advert: object,
    *,
    threads: int,
    memory: int = 0,
    resources: Mapping[Any, Any] | None = None,
) -> tuple[Offer, tuple[str, ...]]:
    """A worker's offer, and what was wrong with its advert, in words; never raises.

    Parameters
    ----------
    advert
        What its hardware plugin sent, or None if it has none.
    threads, memory, resources
        As Dask knows them; memory 0 if there is no limit.

    Examples
    --------
    >>> made, problems = offer({"version": 1, "facts": {"os.name": "linux"}}, threads=2)
    >>> made.threads, dict(made.facts), problems
    (2, {'os.name': 'linux'}, ())
    """
    problems: list[str] = []
    told: Mapping[Any, Any] = {}
    if isinstance(advert, Mapping):
        if advert.get("version") == VERSION:
            told = advert
        else:
            problems.append(
                f"an advert of version {shown(advert.get('version'))}, not {VERSION}; "
                "let workers and scheduler run the same dtf"
            )
    elif advert is not None:
        problems.append(f"no advert but {shown(advert)}")
    facts = checked(told.get("facts", {}))
    problems += facts.problems
    fact_memory = facts.facts.get("memory", 0)
    made = Offer(
        threads=max(0, threads),
        memory=memory or (int(fact_memory) if isinstance(fact_memory, int) else 0),
        facts=facts.facts,
        gpus=_gpus(told.get("gpus", ()), problems),
        resources=_amounts(resources or {}, "resources", problems),
        accept=_accept(told.get("accept", ""), problems),
        tokens=_amounts(told.get("tokens", {}), "tokens", problems),
    )
    return made, tuple(problems[:PROBLEMS_MAX])


def unhealthy(advert: object) -> str:
    """Why a worker is not fit for work, by its own checks; "" if it is.

    Examples
    --------
    >>> unhealthy({"version": 1, "health": ["health check 'disk' failed once: full"]})
    "health check 'disk' failed once: full"
    """
    if not isinstance(advert, Mapping) or advert.get("version") != VERSION:
        return ""
    told = advert.get("health", ())
    if not isinstance(told, list | tuple):
        return ""
    words = [
        " ".join(one[:HEALTH_LENGTH_MAX].split())
        for one in told[:_CHECKS_SHOWN]
        if isinstance(one, str)
    ]
    return "; ".join(filter(None, words))


def _gpus(told: object, problems: list[str]) -> tuple[Gpu, ...]:
    if not isinstance(told, list | tuple):
        problems.append(f"gpus = {shown(told)}: expected a list")
        return ()
    if len(told) > DEVICES_COUNT_MAX:
        problems.append(
            f"{len(told)} GPUs are over the limit of {DEVICES_COUNT_MAX}; none is used"
        )
        return ()
    gpus: dict[int, Gpu] = {}
    ids: set[str] = set()
    for one in told:
        gpu = _gpu(one)
        if gpu is None or gpu.index in gpus or gpu.id in ids:
            problems.append(f"{shown(one)} is no GPU, or told twice; it is not used")
            continue
        gpus[gpu.index] = gpu
        if is_device_id(gpu.id):
            ids.add(gpu.id)
    return tuple(gpus.values())


def _gpu(told: object) -> Gpu | None:
    if not isinstance(told, Mapping):
        return None
    name = told.get("id")
    index = _whole(told.get("index"), DEVICES_COUNT_MAX - 1)
    memory = _whole(told.get("memory", 0), SIZE_BYTES_MAX)
    if not isinstance(name, str) or not 0 < len(name) <= TEXT_LENGTH_MAX:
        return None
    if index is None or memory is None:
        return None
    return Gpu(name, index, memory, usable=told.get("state") in ("ok", "throttled"))


def _whole(value: object, most: int) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= most else None


def _amounts(told: object, word: str, problems: list[str]) -> dict[str, float]:
    if not isinstance(told, Mapping):
        problems.append(f"{word} = {shown(told)}: expected names with amounts")
        return {}
    amounts: dict[str, float] = {}
    for name, amount in islice(told.items(), NAMES_MAX):
        if (
            isinstance(amount, bool)
            or not isinstance(amount, int | float)
            or math.isnan(amount)
            or not 0 <= amount <= AMOUNT_MAX
        ):
            problems.append(f"{word}: {shown(name)} = {shown(amount)} is no amount")
        else:
            amounts[resource_name(name)] = float(amount)
    return dict(sorted(amounts.items()))


def _accept(told: object, problems: list[str]) -> Expression | None:
    if told in ("", None):
        return None
    try:
        return parse(told, TASK_FACTS)
    except DemandError as error:
        problems.append(f"accept: {error}; it is given nothing")
        return _NOTHING

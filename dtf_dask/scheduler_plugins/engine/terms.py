"""What the scheduling engine is told, and what it answers: plain values. Pure.

Times are seconds of one clock that only goes forward, given by the caller as ``now``;
sizes are bytes. Keys are Dask's: any hashable value, so nothing is ever sorted by key.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from dtf_dask.demand import Expression, Preference
from dtf_dask.pressure import Pressure

Key = Hashable
Late = Literal["run", "refuse", "cancel"]
"""What becomes of work that cannot meet its deadline: it runs and the miss is recorded;
it is refused at submission; it is refused, or cancelled once it has become hopeless."""

Ending = Literal["done", "failed", "lost", "released", "killed"]
"""How an attempt ended: by itself, with an exception, with its worker, because nobody
wants it any more, or because the engine asked for it."""

_EMPTY: Mapping[str, Any] = MappingProxyType({})


# -- asked ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Need:
    """What a task needs of the worker it runs on. Equal needs are one object.

    Parameters
    ----------
    hardware
        What must hold of a worker's facts.
    prefer
        What had better hold.
    amounts
        What it uses while it runs, by name, in order of the names: ``cpu`` (threads;
        1 if it is not named), ``memory`` (bytes), ``gpu`` (whole devices),
        ``gpu_memory`` (bytes of one device), else a custom resource of the worker.
    tokens
        What it uses of the cluster's tokens (licences), by name.
    exclusive
        Whether nothing else may run on the worker.
    workers
        Names of the only workers allowed; None for any.
    """

    hardware: Expression | None = None
    prefer: Preference | None = None
    amounts: tuple[tuple[str, float], ...] = ()
    tokens: tuple[tuple[str, float], ...] = ()
    exclusive: bool = False
    workers: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Gang:
    """Tasks that start at once, each on a worker of its own, or not at all."""

    name: str
    size: int


@dataclass(slots=True)
class Ask:
    """One task, as it was submitted. Not to be changed.

    It is not frozen, for that makes it three times as dear, and there is one a task.

    Parameters
    ----------
    name
        Under which durations are learned and failures are counted: what the task is
        called by whoever submits it, or else the prefix of its key.
    priority_class, tenant
        Of the configured ones; unknown classes are refused by `Engine.admit`.
    priority
        Dask's own: the higher, the sooner.
    deadline
        A point in time of the engine's clock.
    expected_s
        How long it is thought to take, by whoever asks; None to go by what is learned
        of its name. If it is given it is believed, and nothing is learned from the
        task: tasks of its name, batches of tests say, are not alike.
    guessed
        Whether that is a guess, for which nothing is refused or cancelled early.
    timeout_s
        The longest it may run.
    after
        Tasks that must have ended, whatever their outcome, before it may start.
    preemptible
        Whether it runs in a process that may be killed and started again.
    avoid
        Workers on which it failed: another one is taken while there is one.
    near
        Bytes of its inputs that each of these workers holds already.
    """

    key: Key
    name: str
    need: Need
    priority_class: str = "normal"
    tenant: str = "default"
    priority: float = 0.0
    deadline: float | None = None
    on_late: Late = "run"
    timeout_s: float | None = None
    after: tuple[Key, ...] = ()
    gang: Gang | None = None
    preemptible: bool = False
    avoid: frozenset[str] = frozenset()
    near: Mapping[str, float] = field(default_factory=lambda: _EMPTY)
    expected_s: float | None = None
    guessed: bool = False


# -- offered ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device of a worker; ``index`` is what CUDA_VISIBLE_DEVICES is told."""

    id: str
    index: int
    memory: int
    usable: bool = True


@dataclass(frozen=True, slots=True)
class Offer:
    """What a worker has, as checked by `dtf_dask.facts`.

    Parameters
    ----------
    threads
        How many tasks it runs at once.
    memory
        Bytes that tasks may ask for.
    resources
        Custom ones, Dask's among them.
    accept
        What must hold of a task; None for any.
    tokens
        What it adds to the cluster's tokens.
    """

    threads: int
    memory: int = 0
    facts: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    gpus: tuple[Gpu, ...] = ()
    resources: Mapping[str, float] = field(default_factory=lambda: _EMPTY)
    accept: Expression | None = None
    tokens: Mapping[str, float] = field(default_factory=lambda: _EMPTY)


# -- decided ----------------------------------------------------------------------


class Grant(NamedTuple):
    """Run this task on this worker now; ``gpus`` are the devices it may see."""

    key: Key
    worker: str
    gpus: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Kill:
    """End this attempt; its place stays taken until `Engine.ended` says "killed"."""

    key: Key
    worker: str
    reason: str


@dataclass(frozen=True, slots=True)
class Revoke:
    """Take a task back that a worker holds and has not begun."""

    key: Key
    worker: str


@dataclass(frozen=True, slots=True)
class Reject:
    """This task will not run; ``kind`` says which error its futures get."""

    key: Key
    kind: Literal["unknown", "deadline", "shed", "impossible", "cycle", "upstream"]
    message: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that operators should know: a breaker that opened, an overload."""

    topic: Literal["breaker", "overload", "deadline", "hardware", "policy"]
    subject: str
    message: str


@dataclass(slots=True)
class Plan:
    """All that is to be done now; ask again at ``wake_at`` if nothing happens.

    ``pressure`` is told when its state has changed.
    """

    grants: list[Grant] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    revokes: list[Revoke] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    pressure: Pressure | None = None
    wake_at: float | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer to a submission.

    ``refused`` is None if it is taken. ``warning`` says in words that a deadline
    cannot be met ("needs about 40 min, the deadline is in 10"), or that no worker
    there is can run it ("no worker has gpu.count >= 1; it waits for one").
    """

    refused: Reject | None = None
    warning: str = ""

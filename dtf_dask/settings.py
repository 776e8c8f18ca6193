"""What can be configured: the frozen settings, and how each key is read. Pure.

The classes are the list of keys. dtf.yaml holds the defaults, dtf-schema.yaml the shape
for editors, docs/configuration.md the words; a test keeps the four equal.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

from dtf_dask.quantities import (
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)
from dtf_dask.settings_hardware import NAMING, Commands, Labels, Names
from dtf_dask.settings_scheduling import (
    Classes,
    Flag,
    PolicyNames,
    Share,
    Tenants,
)

# ruff: noqa: RUF009  (`_key` makes a dataclass field, it is no default)

_SHOWN_LENGTH_MAX = 80
_TEXT_LENGTH_MAX = 2000
EXPRESSION_LENGTH_MAX = 1000
TOKENS_MAX = 1_000_000

Dist = Literal["load", "loadscope", "loadfile", "loadgroup", "each", "one-per-process"]
Isolate = Literal["batch", "process"]
Traces = Literal["off", "otel"]
EnvironmentCheck = Literal["warn", "strict", "off"]
RawGraphs = Literal["always", "loopback", "never"]
Govern = Literal["all", "annotated"]


# How a value is read. Each raises ValueError with what it expected.


class Reader(Protocol):
    """Turns what was configured into the value that the code works with."""

    def read(self, value: object) -> object:
        """Return the value, or raise ValueError saying what was expected."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]

    def read(self, value: object) -> str:
        """Return the word; YAML's reading of a bare ``off`` is undone."""
        if value is False and "off" in self.words:
            return "off"
        if isinstance(value, str) and value in self.words:
            return value
        near = difflib.get_close_matches(str(value)[:_SHOWN_LENGTH_MAX], self.words, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"expected one of {', '.join(self.words)}{hint}")


@dataclass(frozen=True, slots=True)
class Count:
    """A whole number from ``least`` to ``most``, or one of some words."""

    least: int
    most: int
    words: tuple[str, ...] = ()

    def read(self, value: object) -> int | str:
        """Return the number or the word."""
        if isinstance(value, str) and value in self.words:
            return value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if (
            isinstance(value, int)
            and not isinstance(value, bool)
            and self.least <= value <= self.most
        ):
            return value
        words = "".join(f"{word} or " for word in self.words)
        raise ValueError(
            f"expected {words}a whole number from {self.least} to {self.most}"
        )


@dataclass(frozen=True, slots=True)
class Duration:
    """A duration in seconds, from ``least_s`` to ``most_s``, or null if optional."""

    least_s: float
    most_s: float
    optional: bool = False

    def read(self, value: object) -> float | None:
        """Return the seconds."""
        if value is None and self.optional:
            return None
        seconds = parse_duration(value)
        if not self.least_s <= seconds <= self.most_s:
            raise ValueError(
                f"expected a duration from {format_duration(self.least_s)}"
                f" to {format_duration(self.most_s)}"
            )
        return seconds


@dataclass(frozen=True, slots=True)
class Size:
    """A size in bytes, from ``least`` to ``most``."""

    least: int
    most: int

    def read(self, value: object) -> int:
        """Return the bytes."""
        size = parse_size(value)
        if not self.least <= size <= self.most:
            raise ValueError(
                f"expected a size from {format_size(self.least)}"
                f" to {format_size(self.most)}"
            )
        return size


@dataclass(frozen=True, slots=True)
class Location:
    """A URL or path, or null for the project's own folder."""

    def read(self, value: object) -> str | None:
        """Return the text."""
        if value is None:
            return None
        if isinstance(value, str) and 0 < len(value) <= _TEXT_LENGTH_MAX:
            return value
        raise ValueError(
            f"expected null or a URL of at most {_TEXT_LENGTH_MAX} letters"
        )


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text, or null for none."""

    length_max: int

    def read(self, value: object) -> str | None:
        """Return the text."""
        if value is None:
            return None
        if isinstance(value, str) and 0 < len(value) <= self.length_max:
            return value
        raise ValueError(f"expected null or text of at most {self.length_max} letters")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Names and how many of each there are: ``{licence: 2}``."""

    def read(self, value: object) -> dict[str, int]:
        """Return a new mapping."""
        tokens = NAMING.named(value, "tokens such as {licence: 2}")
        count = Count(1, TOKENS_MAX)
        try:
            return {name: int(count.read(said)) for name, said in tokens.items()}
        except ValueError as error:
            raise ValueError(f"of each token: {error}") from None


def _key(name: str, reader: Reader) -> Any:
    return dataclasses.field(metadata={"key": name, "reader": reader})


# The keys. No defaults here: they live in dtf.yaml only.

_KIB, _MIB, _TIB = 2**10, 2**20, 2**40
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


@dataclass(frozen=True, slots=True)
class RunsSettings:
    """How a run is cut into batches, and what happens when tests misbehave."""

    dist: Dist = _key("runs.dist", Choice(get_args(Dist)))
    isolate: Isolate = _key("runs.isolate", Choice(get_args(Isolate)))
    workers: int | Literal["auto"] = _key("runs.workers", Count(1, 1024, ("auto",)))
    timeout_s: float | None = _key("runs.timeout", Duration(0.01, 30 * _DAY, True))
    retries: int = _key("runs.retries", Count(0, 100))
    batch_target_s: float = _key("runs.batch.target", Duration(0.001, _HOUR))
    batch_max_s: float = _key("runs.batch.max", Duration(0.001, _DAY))
    crash_limit: int = _key("runs.crash-limit", Count(1, 1000))
    cancel_grace_s: float = _key("runs.cancel-grace", Duration(0, _HOUR))
    preempt_grace_s: float = _key("runs.preempt-grace", Duration(0, _MINUTE))
    checkpoints: str | None = _key("runs.checkpoints", Location())
    priority_class: str | None = _key("runs.priority-class", Text(100))
    deadline: str | None = _key("runs.deadline", Text(100))
    tenant: str | None = _key("runs.tenant", Text(100))
    traces: Traces = _key("runs.traces", Choice(get_args(Traces)))


@dataclass(frozen=True, slots=True)
class SnapshotSettings:
    """Bounds of the code that travels to workers elsewhere."""

    limit_bytes: int = _key("snapshot.limit", Size(_KIB, _TIB))
    file_limit_bytes: int = _key("snapshot.file-limit", Size(_KIB, _TIB))
    files_limit: int = _key("snapshot.files-limit", Count(1, 10_000_000))


@dataclass(frozen=True, slots=True)
class EnvironmentSettings:
    """What is done about a worker whose Python or packages differ."""

    check: EnvironmentCheck = _key(
        "environment.check", Choice(get_args(EnvironmentCheck))
    )


@dataclass(frozen=True, slots=True)
class ResultsSettings:
    """Where results are kept, how much of them, how long."""

    url: str | None = _key("results.url", Location())
    artifacts_url: str | None = _key("results.artifacts-url", Location())
    inline_limit_bytes: int = _key("results.inline-limit", Size(0, 16 * _MIB))
    artifact_limit_bytes: int = _key("results.artifact-limit", Size(0, _TIB))
    keep_s: float | None = _key(
        "results.keep", Duration(_MINUTE, 36_500 * _DAY, optional=True)
    )


@dataclass(frozen=True, slots=True)
class DriverSettings:
    """The process that drives a run."""

    connect_timeout_s: float = _key("driver.connect-timeout", Duration(0.01, _HOUR))


@dataclass(frozen=True, slots=True)
class HardwareSettings:
    """What a worker finds out and says of its machine."""

    interval_s: float = _key("hardware.interval", Duration(1, _DAY))
    probe_timeout_s: float = _key("hardware.probe-timeout", Duration(0.01, 60))
    labels: dict[str, str] = _key("hardware.labels", Labels())
    accept: str | None = _key("hardware.accept", Text(EXPRESSION_LENGTH_MAX))
    tokens: dict[str, int] = _key("hardware.tokens", Tokens())
    packages: tuple[str, ...] | Literal["all"] = _key("hardware.packages", Names())
    health_checks: tuple[str, ...] = _key("hardware.health-checks", Commands())
    health_interval_s: float = _key("hardware.health-interval", Duration(0.1, _DAY))
    health_timeout_s: float = _key("hardware.health-timeout", Duration(0.01, _HOUR))
    health_failures: int = _key("hardware.health-failures", Count(1, 100))
    disk_free_min_bytes: int = _key("hardware.disk-free-min", Size(0, _TIB))


@dataclass(frozen=True, slots=True)
class SchedulingSettings:
    """What the scheduler does with tasks that wait for a worker."""

    enabled: bool = _key("scheduling.enabled", Flag())
    govern: Govern = _key("scheduling.govern", Choice(get_args(Govern)))
    classes: dict[str, float] = _key("scheduling.classes", Classes())
    default_class: str | None = _key("scheduling.default-class", Text(100))
    tenants: dict[str, Share] = _key("scheduling.tenants", Tenants())
    prefetch_s: float = _key("scheduling.prefetch", Duration(0, _MINUTE))
    queue_length_max: int = _key("scheduling.queue-length-max", Count(1, 1_000_000_000))
    submit_wait_s: float = _key("scheduling.submit-wait", Duration(0, 30 * _DAY))
    retry_pause_s: float = _key("scheduling.retry-pause", Duration(0, _HOUR))
    retry_pause_max_s: float = _key("scheduling.retry-pause-max", Duration(0, _DAY))
    remember_interval_s: float | None = _key(
        "scheduling.remember-interval", Duration(1, _DAY, optional=True)
    )
    policies: tuple[str, ...] = _key("scheduling.policies", PolicyNames())


@dataclass(frozen=True, slots=True)
class HaSettings:
    """A cluster whose scheduler may die."""

    client_patience_s: float = _key("ha.client-patience", Duration(0, 30 * _DAY))
    client_grace_s: float = _key("ha.client-grace", Duration(0, 30 * _DAY))
    raw_graphs: RawGraphs = _key("ha.raw-graphs", Choice(get_args(RawGraphs)))
    worker_patience_s: float = _key("ha.worker-patience", Duration(0, 30 * _DAY))
    takeover_grace_s: float = _key("ha.takeover-grace", Duration(0, _HOUR))
    reconnect_grace_s: float = _key("ha.reconnect-grace", Duration(0, _HOUR))
    lease_s: float = _key("ha.lease", Duration(0, 30 * _DAY))
    lease_after_s: float = _key("ha.lease-after", Duration(0, 30 * _DAY))


@dataclass(frozen=True, slots=True)
class Settings:
    """All of the configuration, checked. Durations in seconds, sizes in bytes."""

    runs: RunsSettings
    snapshot: SnapshotSettings
    environment: EnvironmentSettings
    results: ResultsSettings
    driver: DriverSettings
    hardware: HardwareSettings
    scheduling: SchedulingSettings
    ha: HaSettings


# A section's class by its attribute in Settings; a test keeps the two equal.
SECTIONS: dict[str, Any] = {
    "runs": RunsSettings,
    "snapshot": SnapshotSettings,
    "environment": EnvironmentSettings,
    "results": ResultsSettings,
    "driver": DriverSettings,
    "hardware": HardwareSettings,
    "scheduling": SchedulingSettings,
    "ha": HaSettings,
}

READERS: dict[str, Reader] = {
    field.metadata["key"]: field.metadata["reader"]
    for section in SECTIONS.values()
    for field in dataclasses.fields(section)
}
"""Every key, without the leading ``dtf.``, in the order of the documentation."""

BRANCHES = {key[: dot.start()] for key in READERS for dot in re.finditer(r"\.", key)}


def nearest(key: str) -> str | None:
    """Return the known key that somebody who wrote ``key`` may have meant."""
    key = key[:_SHOWN_LENGTH_MAX]
    if near := difflib.get_close_matches(key, READERS, 1):
        return near[0]
    leaves = {known.rpartition(".")[2]: known for known in READERS}
    near = difflib.get_close_matches(key.rpartition(".")[2], leaves, 1)
    return leaves[near[0]] if near else None


def shown(value: object) -> str:
    """Return a value for people: short, and without the password of a URL."""
    if value is None:
        return "null"
    value = without_password(value)
    text = repr(value) if isinstance(value, str) else str(value)
    if len(text) > _SHOWN_LENGTH_MAX:
        text = text[:_SHOWN_LENGTH_MAX] + "..."
    return text


def without_password(value: object) -> object:
    """Return the value; in a URL, with stars for the password.

    Examples
    --------
    >>> without_password("postgresql://ada:secret@host/results")
    'postgresql://ada:***@host/results'
    """
    if isinstance(value, str):
        return re.sub(r"(://[^:/@]*:)[^@]*@", r"\1***@", value)
    return value

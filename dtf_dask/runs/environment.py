"""How the environment of a worker differs from the client's, and how much it matters.

Pure: compares what `dtf_dask.environment_facts` gathered on both sides. A worker's
facts come over the network, so that anything may be in them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

DifferenceKind = Literal["dtf", "python", "platform", "package"]
Severity = Literal["fatal", "severe", "notable"]

DESCRIBED_MAX = 20
TEXT_CHARACTERS_MAX = 200

_ORDER: dict[Severity, int] = {"fatal": 0, "severe": 1, "notable": 2}


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference; ``worker`` is empty for what the worker lacks.

    ``fatal`` ends the run under any policy (another dtf), ``severe`` likely changes
    outcomes (another Python, a missing package), ``notable`` may (another version).
    """

    kind: DifferenceKind
    name: str
    client: str
    worker: str
    severity: Severity

    @property
    def is_severe(self) -> bool:
        """Whether a strict policy refuses the worker for it."""
        return self.severity != "notable"

    def text(self) -> str:
        """The difference in words, on one line of bounded length.

        Examples
        --------
        >>> Difference("package", "numpy", "2.1", "", "severe").text()
        'package numpy: 2.1 here, missing on the worker'
        """
        subject = f"{self.kind} {self.name}" if self.kind == "package" else self.name
        there = f"{self.worker} on" if self.worker else "missing on"
        return _line(f"{subject}: {self.client or 'unknown'} here, {there} the worker")


def compare(
    client: Mapping[str, object],
    worker: Mapping[str, object],
    packages: Collection[str] | None,
) -> tuple[Difference, ...]:
    """What differs, the gravest first.

    Parameters
    ----------
    client, worker
        Facts as `dtf_dask.environment_facts.facts` gives them.
    packages
        Normalised names to compare; all that the client names for None. What only the
        worker has is no difference.

    Examples
    --------
    >>> here = {"dtf": "1.0", "python": "3.11.9", "packages": {"numpy": "2.1"}}
    >>> there = {"dtf": "1.0", "python": "3.11.7", "packages": {}}
    >>> [d.text() for d in compare(here, there, None)]  # doctest: +NORMALIZE_WHITESPACE
    ['package numpy: 2.1 here, missing on the worker',
     'Python: 3.11.9 here, 3.11.7 on the worker']
    """
    found = [
        *_single(client, worker, "dtf", "dtf", "dtf", "fatal"),
        *_single(
            client,
            worker,
            "python",
            "implementation",
            "Python implementation",
            "severe",
        ),
        *_python(client, worker),
        *_single(client, worker, "platform", "platform", "platform", "notable"),
        *_packages(client, worker, packages),
    ]
    return tuple(sorted(found, key=lambda d: (_ORDER[d.severity], d.kind, d.name)))


def describe(differences: Iterable[Difference], worker: str) -> str:
    """A block for the user: one line each, of bounded length; empty for none."""
    found = tuple(differences)
    if not found:
        return ""
    shown = found[:DESCRIBED_MAX]
    lines = [f"The environment of worker {_line(worker)} differs from this one:"]
    lines += [f"  {'!' if d.is_severe else '-'} {d.text()}" for d in shown]
    if len(found) > len(shown):
        severe = sum(d.is_severe for d in found[len(shown) :])
        lines.append(f"  and {len(found) - len(shown)} more, {severe} of them severe")
    return "\n".join(lines)


def _single(
    client: Mapping[str, object],
    worker: Mapping[str, object],
    kind: DifferenceKind,
    key: str,
    name: str,
    severity: Severity,
) -> list[Difference]:
    here, there = _text(client, key), _text(worker, key)
    return [Difference(kind, name, here, there, severity)] if here != there else []


def _python(
    client: Mapping[str, object], worker: Mapping[str, object]
) -> list[Difference]:
    here, there = _text(client, "python"), _text(worker, "python")
    if here == there:
        return []
    same_minor = here.split(".")[:2] == there.split(".")[:2]
    severity: Severity = "notable" if same_minor else "severe"
    return [Difference("python", "Python", here, there, severity)]


def _packages(
    client: Mapping[str, object],
    worker: Mapping[str, object],
    packages: Collection[str] | None,
) -> list[Difference]:
    here, there = _versions(client), _versions(worker)
    in_snapshot = client.get("in_snapshot")
    travels = in_snapshot if isinstance(in_snapshot, list | tuple) else ()
    found = []
    for name, version in here.items():
        if (packages is not None and name not in packages) or name == "dtf-dask":
            continue
        other = there.get(name, "")
        if other == version or (not other and name in travels):
            continue
        severity: Severity = "notable" if other else "severe"
        found.append(Difference("package", name, version, other, severity))
    return found


def _text(facts: Mapping[str, object], key: str) -> str:
    value = facts.get(key)
    return value if isinstance(value, str) else ""


def _versions(facts: Mapping[str, object]) -> dict[str, str]:
    packages = facts.get("packages")
    if not isinstance(packages, Mapping):
        return {}
    return {
        name: version
        for name, version in packages.items()
        if isinstance(name, str) and isinstance(version, str)
    }


def _line(text: str) -> str:
    """Printable, on one line, not longer than `TEXT_CHARACTERS_MAX`."""
    clean = "".join(c if c.isprintable() else "?" for c in text[:TEXT_CHARACTERS_MAX])
    return clean + "..." if len(text) > TEXT_CHARACTERS_MAX else clean

"""Probes of a machine, side by side, each with bounded time: `Prober`.

A probe may hang (a dead GPU, a network file system that does not answer), so each has
a thread of its own that nobody waits for longer than the limit, and that does not keep
the process from ending. A probe that still hangs is not started a second time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Protocol

ENTRY_POINTS = "dtf_dask.probes"
PROBES_MAX = 64
PROBLEM_LENGTH_MAX = 200


class Probe(Protocol):
    """Looks at one side of a machine.

    Others can be installed: an entry point of the group ``dtf_dask.probes`` names a
    class or function that makes one when called without arguments.
    """

    @property
    def name(self) -> str:
        """What problems call it."""

    def facts(self) -> Mapping[str, Any]:
        """The facts by name. What cannot be found out is left out, not guessed.

        Called from changing threads, never from two at once.
        """


@dataclass(frozen=True, slots=True)
class Findings:
    """What a round of probes found.

    Parameters
    ----------
    facts
        By name. Of two probes that say the same, the later one is right: so an
        installed probe corrects one of dtf's.
    problems
        What is wrong with which probe, in words.
    answered
        Names of the probes that did.
    """

    facts: dict[str, Any]
    problems: tuple[str, ...]
    answered: frozenset[str]


class Prober:
    """Runs probes, as often as it is asked to; never raises.

    Parameters
    ----------
    probes
        At most `PROBES_MAX`; of several of one name only the last counts.
    timeout_s
        Time a probe has to answer before that is a problem.
    clock
        Seconds of some steady clock.
    """

    def __init__(
        self,
        probes: Iterable[Probe],
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._probes = dict(
            list({one.name: one for one in probes}.items())[:PROBES_MAX]
        )
        self._timeout_s = timeout_s
        self._clock = clock
        self._running: dict[str, _Attempt] = {}

    def round(self, limit_s: float | None = None) -> Findings:
        """Ask every probe, and wait for the answers; not to be called concurrently.

        Parameters
        ----------
        limit_s
            How long to wait, if not for the whole time that probes have. A probe that
            is merely late by then is left out without a problem; the next round takes
            its answer.
        """
        for name, probe in self._probes.items():
            if name not in self._running:
                self._running[name] = _Attempt(probe, self._clock())
        end = self._clock() + (self._timeout_s if limit_s is None else limit_s)
        facts: dict[str, Any] = {}
        problems: list[str] = []
        answered = []
        for name in self._probes:
            attempt = self._running[name]
            if attempt.over.wait(max(0.0, end - self._clock())):
                del self._running[name]
                if attempt.problem:
                    problems.append(f"probe {name}: {attempt.problem}")
                else:
                    answered.append(name)
                    facts.update(attempt.found)
            elif self._clock() - attempt.began >= self._timeout_s:
                problems.append(
                    f"probe {name} has not answered within {self._timeout_s:g} s"
                )
        return Findings(facts, tuple(problems), frozenset(answered))


@dataclass(eq=False)
class _Attempt:
    """One probe at work in a thread of its own."""

    probe: Probe
    began: float
    found: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        thread = threading.Thread(
            target=self._work, name=f"dtf-probe-{self.probe.name}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or the process ends
            self.problem = in_one_line(error)
            self.over.set()

    def _work(self) -> None:
        try:
            self.found = dict(self.probe.facts())
        except BaseException as error:  # whatever it does is not the worker's end
            self.problem = in_one_line(error)
        finally:
            self.over.set()


def installed_probes() -> tuple[Sequence[Probe], Sequence[str]]:
    """Probes that other packages bring, by name, and what is wrong with some."""
    probes: list[Probe] = []
    problems = []
    points = sorted(metadata.entry_points(group=ENTRY_POINTS), key=lambda p: p.name)
    for point in points[:PROBES_MAX]:
        try:
            probe = point.load()()
            if not isinstance(probe.name, str) or not callable(probe.facts):
                raise TypeError("expected a name (text) and a method facts()")
        except Exception as error:
            where = f"{point.name} ({point.value})"
            problems.append(
                f"probe {where} cannot be used: {in_one_line(error)}"[
                    :PROBLEM_LENGTH_MAX
                ]
            )
        else:
            probes.append(probe)
    return probes, problems


def in_one_line(error: BaseException) -> str:
    """An error for people, bounded: ``ValueError: what is wrong``."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:PROBLEM_LENGTH_MAX].removesuffix(": ")

"""Which failures are a worker's fault, from where the same tests passed. Pure.

A test that fails here and passes there speaks against here, whichever came first: the
usual order is a failure and then a retry elsewhere. Passing later on the very worker
takes it back, and a test that often fails elsewhere too speaks against nobody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_PENDING_MAX = 8  # failures of one test that wait for it to pass somewhere
_OUTCOMES_MAX = 16  # of one test, from its first failure on
_FAILS_ELSEWHERE_MAX = 0.25  # of a test's runs elsewhere, for a failure to be a fault
_GROUPS_MAX = 16  # groups of one test with failures in a row
_NAMES_SAID = 3
_LOST_TOGETHER_S = 1.0  # a worker that dies takes all it runs with it: one event


@dataclass(frozen=True, slots=True)
class EvidenceSettings:
    """``window_s`` is how long what happened counts; the rest bounds memory.

    ``failures_max`` are kept of each worker.
    """

    window_s: float = 600.0
    failures_max: int = 16
    workers_max: int = 10_000
    names_max: int = 50_000


class _Passes:
    """Where a test passed: the last place, and the last that is another one.

    Two are enough to say of any place whether it passed elsewhere.
    """

    __slots__ = ("at", "other", "other_at", "place")

    def __init__(self) -> None:
        self.place = ""
        self.at = -math.inf
        self.other = ""
        self.other_at = -math.inf

    def add(self, place: str, now: float) -> None:
        if place != self.place:
            self.other, self.other_at = self.place, self.at
            self.place = place
        self.at = now

    def besides(self, place: str, since: float) -> str:
        """Another place where it passed, or ""."""
        if self.at >= since and self.place != place:
            return self.place
        if self.other_at >= since and self.other != place:
            return self.other
        return ""


class _Test:
    """What is known of one test: where it passed, where it failed."""

    __slots__ = ("groups", "in_row", "outcomes", "pending", "workers")

    def __init__(self) -> None:
        self.workers = _Passes()
        self.groups = _Passes()
        self.pending: list[tuple[str, float]] = []  # failures nobody is blamed for yet
        self.outcomes: list[tuple[str, float, bool]] = []  # worker, when, passed
        self.in_row: dict[str, int] = {}  # failures since it passed, by group

    def add(self, worker: str, now: float, *, passed: bool) -> None:
        self.outcomes.append((worker, now, passed))
        if len(self.outcomes) > _OUTCOMES_MAX:
            del self.outcomes[0]

    def passes_besides(self, worker: str, since: float) -> bool:
        """Whether it passes on other workers, as a rule."""
        if not self.workers.besides(worker, since):
            return False
        passed = [
            ok for other, at, ok in self.outcomes if other != worker and at >= since
        ]
        fails = passed.count(False)
        runs = fails + max(1, passed.count(True))
        return fails <= _FAILS_ELSEWHERE_MAX * runs


class _Worker:
    """What is held against one worker, and what speaks for it."""

    __slots__ = ("faults", "good", "good_at")

    def __init__(self) -> None:
        self.faults: list[tuple[str, float]] = []  # the test ("" for lost), and when
        self.good = 0.0  # tests that passed, fading over the window
        self.good_at = -math.inf


class Evidence:
    """What passed and failed where, of late."""

    def __init__(self, settings: EvidenceSettings) -> None:
        self._settings = settings
        self._tests: dict[str, _Test] = {}
        self._workers: dict[str, _Worker] = {}

    def passed(
        self, worker: str, name: str, group: str, now: float
    ) -> list[tuple[str, float]]:
        """A test passed. Who is to blame for having failed it, and when that was."""
        test = self._test(name)
        test.workers.add(worker, now)
        test.groups.add(group, now)
        if test.in_row:
            test.in_row.pop(group, None)
        record = self._worker(worker)
        fading = math.exp((record.good_at - now) / self._settings.window_s)
        record.good = 1.0 + record.good * min(fading, 1.0)
        record.good_at = now
        if record.faults:
            record.faults = [fault for fault in record.faults if fault[0] != name]
        if test.outcomes:
            test.add(worker, now, passed=True)
        return self._settle(test, name, worker, now) if test.pending else []

    def failed(
        self, worker: str, name: str, group: str, now: float, *, lost: bool
    ) -> bool:
        """A test failed, or was lost. Whether the worker is to blame."""
        if lost:
            faults = self._worker(worker).faults
            together = [
                at for said, at in faults if not said and now - at < _LOST_TOGETHER_S
            ]
            if not together:
                self._fault(worker, "", now)
            return not together
        test = self._test(name)
        test.in_row[group] = test.in_row.pop(group, 0) + 1
        if len(test.in_row) > _GROUPS_MAX:
            del test.in_row[next(iter(test.in_row))]
        test.add(worker, now, passed=False)
        if test.passes_besides(worker, now - self._settings.window_s):
            self._fault(worker, name, now)
            return True
        test.pending.append((worker, now))
        if len(test.pending) > _PENDING_MAX:
            del test.pending[0]
        return False

    def faults(self, worker: str, now: float) -> tuple[int, float, str]:
        """A worker's faults: how many, their share of what it did, and the tests."""
        record = self._worker(worker)
        since = now - self._settings.window_s
        record.faults = [fault for fault in record.faults if fault[1] >= since]
        count = len(record.faults)
        if not count:
            return 0, 0.0, ""
        fading = math.exp((record.good_at - now) / self._settings.window_s)
        share = count / (count + record.good * min(fading, 1.0))
        names = list(dict.fromkeys(name or "lost" for name, _ in record.faults))
        said = ", ".join(names[:_NAMES_SAID])
        more = len(names) - _NAMES_SAID
        return count, share, said + (f" and {more} more" if more > 0 else "")

    def forgive(self, worker: str) -> None:
        """What happened until now is not held against it any more."""
        self._worker(worker).faults.clear()

    def only_here(self, name: str, group: str, now: float) -> tuple[int, str]:
        """How often a test failed in a group, and a group where it passes.

        0 if it passed there, within the window, before it failed.
        """
        test = self._test(name)
        since = now - self._settings.window_s
        groups = test.groups
        if (groups.place == group and groups.at >= since) or (
            groups.other == group and groups.other_at >= since
        ):
            return 0, ""
        elsewhere = groups.besides(group, since)
        return test.in_row.get(group, 0), "" if elsewhere in test.in_row else elsewhere

    def _settle(
        self, test: _Test, name: str, worker: str, now: float
    ) -> list[tuple[str, float]]:
        """Failures that turn out to be somebody's fault; old ones are forgotten."""
        since = now - self._settings.window_s
        blamed, rest = [], []
        for other, at in test.pending:
            if at < since or other == worker:
                continue
            if test.passes_besides(other, since):
                blamed.append((other, at))
                self._fault(other, name, at)
            else:
                rest.append((other, at))
        test.pending = rest
        return blamed

    def _fault(self, worker: str, name: str, at: float) -> None:
        faults = self._worker(worker).faults
        faults.append((name, at))
        if len(faults) > self._settings.failures_max:
            del faults[0]

    def _test(self, name: str) -> _Test:
        test = self._tests.pop(name, None)
        if test is None:
            test = _Test()
            if len(self._tests) >= self._settings.names_max:
                del self._tests[next(iter(self._tests))]
        self._tests[name] = test
        return test

    def _worker(self, worker: str) -> _Worker:
        record = self._workers.pop(worker, None)
        if record is None:
            record = _Worker()
            if len(self._workers) >= self._settings.workers_max:
                del self._workers[next(iter(self._workers))]
        self._workers[worker] = record
        return record

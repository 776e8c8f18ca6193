"""Circuit breakers: which worker, or which test on which kind of worker, is let rest.

Pure. Closed: everything goes on. Open: nothing is sent there, for a time that doubles
with each opening. Half-open: one task is tried; if it passes the breaker closes.

Who is to blame is told from what happened elsewhere. A worker is blamed for a failure
of a test that passes on another worker, and for attempts that were lost with it; a test
that fails everywhere blames nobody. A test that fails on one group of workers only, and
passes on another, opens the breaker of just that test in that group.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from dtf_dask.quantities import format_duration
from dtf_dask.scheduler_plugins.engine.terms import Ending, Notice
from dtf_dask.scheduler_plugins.policies.breaker_evidence import (
    Evidence,
    EvidenceSettings,
)
from dtf_dask.scheduler_plugins.policies.breaker_terms import (
    BreakerSettings,
    Kept,
    State,
    Subject,
)

_NOTICES_MAX = 1000


class _Breaker:
    """One that is not closed, or was not a while ago."""

    __slots__ = ("closed_at", "openings", "probe", "reason", "state", "until")

    def __init__(self) -> None:
        self.state: State = "closed"
        self.openings = 0
        self.until = math.inf
        self.closed_at = -math.inf
        self.probe = ""  # the test that is tried, while half-open
        self.reason = ""


class Breakers:
    """All breakers, and what workers' health checks say."""

    def __init__(self, settings: BreakerSettings | None = None) -> None:
        settings = settings or BreakerSettings()
        self._settings = settings
        self._evidence = Evidence(
            EvidenceSettings(
                window_s=settings.window_s,
                failures_max=max(16, settings.failures_to_open),
                workers_max=settings.workers_max,
                names_max=settings.names_max,
            )
        )
        self._breakers: dict[Subject, _Breaker] = {}
        self._resting: dict[Subject, _Breaker] = {}  # those that are not closed
        self._unhealthy: dict[str, str] = {}
        self._quarantined: dict[str, str] = {}
        self._notices: list[Notice] = []
        self._next_at = math.inf
        self.workers = 0
        """How many workers there are; to be set as they come and go."""

    # -- asked ------------------------------------------------------------------

    def allows(self, worker: str, name: str, group: str, now: float) -> str:
        """Why the worker may not be sent this test now, or ""."""
        if worker in self._unhealthy or worker in self._quarantined:
            return self._unfit(worker)
        if not self._resting:
            return ""
        if now >= self._next_at:
            self.advance(now)
        breaker = self._resting.get(("", worker))
        if breaker is not None and (breaker.state == "open" or breaker.probe):
            return self._words(breaker, now)
        breaker = self._resting.get((name, group))
        if breaker is not None and (breaker.state == "open" or breaker.probe):
            return self._words(breaker, now)
        return ""

    @property
    def quiet(self) -> bool:
        """Whether nothing rests, so that there is nothing to ask."""
        return not (self._resting or self._unhealthy or self._quarantined)

    @property
    def silent(self) -> bool:
        """Whether nothing rests, and there is nothing to be said of what did."""
        return not (self._resting or self._notices)

    def state(self, worker: str, now: float) -> State:
        """Of a worker's breaker; its health check opens it too."""
        if worker in self._unhealthy or worker in self._quarantined:
            return "open"
        self.advance(now)
        breaker = self._resting.get(("", worker))
        return "closed" if breaker is None else breaker.state

    @property
    def wake_at(self) -> float | None:
        """When the next one becomes half-open; None if none will."""
        return None if self._next_at == math.inf else self._next_at

    def rows(self, now: float) -> list[tuple[Subject, State, str]]:
        """Breakers that are not closed, with the reason, to be shown."""
        self.advance(now)
        rows: list[tuple[Subject, State, str]] = [
            (("", worker), "open", self._unfit(worker))
            for worker in {**self._unhealthy, **self._quarantined}
        ]
        for subject, breaker in self._resting.items():
            rows.append((subject, breaker.state, self._words(breaker, now)))
        return rows

    def take_notices(self) -> list[Notice]:
        """What opened, half-opened and closed since the last call."""
        notices, self._notices = self._notices, []
        return notices

    # -- kept ---------------------------------------------------------------------

    def kept(self, now: float) -> list[Kept]:
        """Those that matter still; what is evidence against others is not among it."""
        rows = []
        for (name, place), one in self._breakers.items():
            at = one.until if one.state == "open" else one.closed_at
            left_s = 0.0 if one.state == "half-open" else at - now
            if left_s >= -self._settings.window_s:
                kept = Kept(name, place, one.state, one.openings, left_s, one.reason)
                rows.append(kept)
        return rows

    def recall(self, rows: Iterable[Kept], now: float) -> None:
        """Take over what was kept; what is known since is the newer."""
        for name, place, state, openings, left_s, reason in rows:
            if (name, place) in self._breakers:
                continue
            breaker = self._breaker((name, place))
            breaker.state, breaker.openings, breaker.reason = state, openings, reason
            if state == "closed":
                breaker.closed_at = now + left_s
                continue
            breaker.until = now + left_s if state == "open" else -math.inf
            self._resting[name, place] = breaker
        self._set_next()

    # -- told -------------------------------------------------------------------

    def started(self, worker: str, name: str, group: str, now: float) -> None:
        """A task was granted. On what is half-open it is the one that is tried."""
        if not self._resting:
            return
        for subject in (("", worker), (name, group)):
            breaker = self._resting.get(subject)
            if breaker is not None and breaker.state == "half-open":
                breaker.probe = breaker.probe or name or "?"

    def ended(
        self, worker: str, name: str, group: str, outcome: Ending, now: float
    ) -> None:
        """A task that was granted has ended; to be said of each and every one."""
        if outcome == "done":
            blamed = self._evidence.passed(worker, name, group, now)
            if self._resting:
                self._tried(worker, name, group, now, passed=True)
            for other, at in blamed:
                self._blamed(other, at, now)
        elif outcome in ("failed", "lost"):
            lost = outcome == "lost"
            at_fault = self._evidence.failed(worker, name, group, now, lost=lost)
            if self._resting:
                self._tried(worker, name, group, now, passed=None if lost else False)
            if at_fault:
                self._blamed(worker, now, now)
            if not lost:
                self._failed_here(name, group, now)
        elif self._resting:  # nothing is known of one that was called off
            self._tried(worker, name, group, now, passed=None)

    def health(self, worker: str, ok: bool, reason: str) -> None:
        """What a worker's own checks say. Unhealthy, it is sent nothing.

        Healthy again it is half-open: one task is tried, unless its breaker is open
        for failures too.
        """
        if not ok:
            if worker not in self._unhealthy:
                self._notify(worker, f"open: {reason}")
            self._unhealthy[worker] = reason
            return
        failed = self._unhealthy.pop(worker, None)
        subject = ("", worker)
        if failed is None or subject in self._resting:
            return
        breaker = self._breaker(subject)
        breaker.state, breaker.probe = "half-open", ""
        breaker.until = -math.inf  # a failure from now on is blamed on it at once
        breaker.reason = f"it was not fit for work: {failed}"
        self._resting[subject] = breaker
        self._announce(subject, "half-open: its checks pass again, one task is tried")

    def quarantine(self, worker: str, reason: str) -> None:
        """Somebody wants a worker to be sent nothing; with no reason, he does no more.

        It stays so for whoever comes back under that name.
        """
        if reason:
            self._quarantined[worker] = reason
        else:
            self._quarantined.pop(worker, None)
        self._notify(worker, f"quarantined: {reason}" if reason else "released")

    def worker_left(self, worker: str) -> None:
        """A worker is gone. What it did is remembered: it may come back, as bad."""
        self._unhealthy.pop(worker, None)
        breaker = self._resting.get(("", worker))
        if breaker is not None:
            breaker.probe = ""

    def advance(self, now: float) -> None:
        """Let those whose time is over try one task."""
        if now < self._next_at:
            return
        for subject, breaker in self._resting.items():
            if breaker.state == "open" and breaker.until <= now:
                breaker.state = "half-open"
                breaker.probe = ""
                self._announce(subject, "half-open: one task is tried")
        self._set_next()

    # -- decided ----------------------------------------------------------------

    def _blamed(self, worker: str, at: float, now: float) -> None:
        """A failure then was this worker's fault: open, if it was one too many."""
        subject = ("", worker)
        breaker = self._resting.get(subject)
        if breaker is not None:
            if breaker.state == "half-open" and at >= breaker.until:
                self._open(subject, breaker, breaker.reason, now)
            return
        settings = self._settings
        faults, share, names = self._evidence.faults(worker, now)
        if faults < settings.failures_to_open or share < settings.share_to_open:
            return
        reason = f"{faults} failures that are its own ({names})"
        resting = sum(1 for name, _ in self._resting if not name)
        allowed = max(1, int(settings.open_share_max * self.workers))
        if self.workers and resting >= allowed:
            self._notify(
                worker,
                f"{reason}; not quarantined: {resting} of {self.workers} workers are"
                " already, so it is hardly the workers' fault",
            )
            self._evidence.forgive(worker)
            return
        self._open(subject, self._breaker(subject), reason, now)

    def _failed_here(self, name: str, group: str, now: float) -> None:
        """A test failed in a group: open for both, if it only fails there."""
        subject = (name, group)
        if not name or subject in self._resting:
            return
        failures, elsewhere = self._evidence.only_here(name, group, now)
        if failures >= self._settings.name_failures_to_open and elsewhere:
            reason = f"failed {failures} times in a row and passes on {elsewhere}"
            self._open(subject, self._breaker(subject), reason, now)

    def _tried(
        self, worker: str, name: str, group: str, now: float, *, passed: bool | None
    ) -> None:
        """Perhaps this was the task that a half-open breaker waited for."""
        for subject in (("", worker), (name, group)):
            breaker = self._resting.get(subject)
            if breaker is None or breaker.probe != (name or "?"):
                continue
            breaker.probe = ""
            if passed:
                self._close(subject, breaker, now)
            elif passed is False and subject[0]:
                self._open(subject, breaker, breaker.reason, now)
            # A worker's is opened again by blame only: the test may be the culprit.

    def _open(
        self, subject: Subject, breaker: _Breaker, reason: str, now: float
    ) -> None:
        settings = self._settings
        again = breaker.state == "half-open"
        if not again and now - breaker.closed_at > settings.window_s:
            breaker.openings = 0
        # The exponent is bounded, so that it stays a number.
        rest_s = settings.open_s * 2.0 ** min(breaker.openings, 60)
        rest_s = min(rest_s, settings.open_max_s)
        breaker.openings += 1
        breaker.state = "open"
        breaker.until = now + rest_s
        breaker.probe = ""
        breaker.reason = reason
        self._resting[subject] = breaker
        self._next_at = min(self._next_at, breaker.until)
        opened = "open again" if again else "open"
        rest = format_duration(round(rest_s, 1))
        self._announce(subject, f"{opened} for {rest}: {reason}")

    def _close(self, subject: Subject, breaker: _Breaker, now: float) -> None:
        breaker.state = "closed"
        breaker.closed_at = now
        breaker.until = math.inf
        del self._resting[subject]
        if not subject[0]:
            self._evidence.forgive(subject[1])
        self._set_next()
        self._announce(subject, "closed: what was tried passed")

    def _breaker(self, subject: Subject) -> _Breaker:
        breaker = self._breakers.pop(subject, None)
        if breaker is None:
            breaker = _Breaker()
            if len(self._breakers) >= self._settings.workers_max:
                oldest = next(iter(self._breakers))
                del self._breakers[oldest]
                self._resting.pop(oldest, None)
        self._breakers[subject] = breaker
        return breaker

    def _set_next(self) -> None:
        self._next_at = min(
            (one.until for one in self._resting.values() if one.state == "open"),
            default=math.inf,
        )

    # -- said -------------------------------------------------------------------

    def _unfit(self, worker: str) -> str:
        quarantined = self._quarantined.get(worker)
        if quarantined is not None:
            return f"it is quarantined: {quarantined}"
        return f"it is not fit for work: {self._unhealthy[worker]}"

    def _words(self, breaker: _Breaker, now: float) -> str:
        if breaker.state == "open":
            left_s = max(0.0, math.ceil(breaker.until - now))
            return (
                f"its circuit breaker is open for {format_duration(left_s)} more:"
                f" {breaker.reason}"
            )
        what = f"{breaker.probe} is tried" if breaker.probe else "one task may be tried"
        return f"its circuit breaker is half-open ({what}): {breaker.reason}"

    def _announce(self, subject: Subject, message: str) -> None:
        name, place = subject
        self._notify(f"{name} on {place}" if name else place, message)

    def _notify(self, subject: str, message: str) -> None:
        if len(self._notices) < _NOTICES_MAX:
            self._notices.append(Notice("breaker", subject, message))

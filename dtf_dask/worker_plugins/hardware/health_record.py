"""What a health check has said: after how many failures in a row it counts. Pure."""

from __future__ import annotations

NAME_LENGTH_MAX = 80


class HealthRecord:
    """The answers of one check.

    Examples
    --------
    >>> record = HealthRecord("disk", failures=2)
    >>> record.heard("full"), record.heard("full"), record.words
    (False, True, "health check 'disk' failed 2 times: full")
    >>> record.heard(""), record.words
    (True, '')
    """

    def __init__(self, name: str, failures: int) -> None:
        if len(name) > NAME_LENGTH_MAX:
            name = f"{name[: NAME_LENGTH_MAX - 3]}..."
        self._name, self._limit = name, max(1, failures)
        self._failed = 0
        self.words = ""
        """Why the worker is not fit for work, or ""."""

    def heard(self, problem: str) -> bool:
        """What it said, "" if all is well; whether that makes a difference.

        The words stay as they are while it fails on, so that they are told once.
        """
        before = self.words
        if not problem:
            self._failed, self.words = 0, ""
        else:
            self._failed += 1
            if self._failed >= self._limit and not self.words:
                times = "once" if self._failed == 1 else f"{self._failed} times"
                self.words = f"health check {self._name!r} failed {times}: {problem}"
        return self.words != before

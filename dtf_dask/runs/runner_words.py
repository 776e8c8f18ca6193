"""The command line of a runner that is started anew, from the controller's. Pure.

It says what the controller's says, since any option may shape what is collected and how
a test runs or is told of (``--doctest-modules``, ``-W``, ``--tb``, an option of the
suite's own conftest). Left out are dtf's own options and pytest-cov's, which the runner
gets in another way; what selects or writes is made neutral once it is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

# dtf's options that take a value, for those who write it as a word of its own.
_OWN_WITH_VALUE = re.compile(
    r"--dtf-(workers|dist|timeout|reruns|isolate|duplicates|results|run-id|only|resumes)"
)
_COVERAGE_FLAGS = ("--cov-append", "--cov-branch", "--no-cov", "--no-cov-on-fail")


def runner_words(words: Sequence[str], root: str) -> list[str]:
    """Words of a command line that a runner elsewhere shall be given too.

    Parameters
    ----------
    words
        The controller's command line, after "pytest".
    root
        The root folder: what is named below it by an absolute path is left out, since
        it is somewhere else there; selected paths are given anyway.

    Examples
    --------
    >>> runner_words(["-W", "error", "--dtf=", "--cov=pkg", "tests"], "/suite")
    ['-W', 'error', 'tests']
    >>> runner_words(["--dtf-workers", "2", "--tb=short", "/suite/tests"], "/suite")
    ['--tb=short']
    """
    kept: list[str] = []
    skip = False
    for position, word in enumerate(words):
        if skip:
            skip = False
            continue
        follower = words[position + 1] if position + 1 < len(words) else ""
        if word.startswith("--dtf"):
            skip = bool(_OWN_WITH_VALUE.fullmatch(word)) or (
                word == "--dtf" and ":" in follower and "::" not in follower
            )
        elif word.startswith(("--cov", "--no-cov")):
            skip = _takes_value(word, follower)
        elif not _below(word, root):
            kept.append(word)
    return kept


def _takes_value(word: str, follower: str) -> bool:
    flag = "=" in word or word in _COVERAGE_FLAGS
    return not flag and bool(follower) and not follower.startswith("-")


def _below(word: str, root: str) -> bool:
    path = PurePath(word.partition("::")[0])
    return path.is_absolute() and path.is_relative_to(root)

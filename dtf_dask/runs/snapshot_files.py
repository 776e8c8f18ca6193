"""Which files of a folder are its code: what git would send, or the folder walked.

In a git work tree: tracked files and untracked ones that are not ignored. Elsewhere:
every file outside of folders that tools make. What is left out although it looks like
code is named, with the reason.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dtf_dask.errors import SnapshotError

Source = Literal["git", "folder"]

EXCLUDED_FOLDERS = frozenset(
    {
        ".dtf",
        ".eggs",
        ".git",
        ".hg",
        ".mypy_cache",
        ".nox",
        ".pytest_cache",
        ".ruff_cache",
        ".svn",
        ".tox",
        "__pycache__",
        "node_modules",
    }
)
"""Folders never taken, unless git tracks what is in them."""

_ENVIRONMENT_MARKS = ("pyvenv.cfg", "conda-meta")
_GIT_TIMEOUT_S = 120.0
_NESTED_REPOSITORIES_MAX = 1_000
# A git hook exports these; they would send the question to another repository.
_GIT_LOCAL_VARIABLES = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_WORK_TREE",
)


@dataclass(slots=True)
class Found:
    """What was found below a root: paths relative to it, and what to tell about it.

    ``files`` holds the `os.lstat` of each regular file and link. ``notes`` are whole
    sentences. ``complete`` is false when the search ended at the limit of files.
    """

    source: Source
    files: dict[str, os.stat_result] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    complete: bool = True


def find(root: Path, *, files_limit: int, also: Iterable[str] = ()) -> Found:
    """Find the code below ``root``; ``also`` names ignored files that are needed.

    Raises
    ------
    SnapshotError
        When a folder cannot be read.
    """
    search = _Search(root, files_limit)
    listing = _listed_by_git(root)
    if isinstance(listing, str):
        if listing:
            search.found.notes.append(listing)
        search.walk("")
    else:
        search.found.source = "git"
        search.take_repository(listing, "")
        if not search.found.files:
            # A folder that an outer repository ignores holds nothing for git.
            search.found.source = "folder"
            search.walk("")
    for path in also:
        search.take_untracked(path)
    return search.found


class _Search:
    def __init__(self, root: Path, files_limit: int) -> None:
        self.found = Found("folder")
        self._root = os.fspath(root)
        self._files_limit = files_limit
        self._repositories = 0
        self._is_real: dict[str, bool] = {"": True}
        self._is_excluded: dict[str, bool] = {"": False}

    def take_repository(self, listing: tuple[list[str], list[str]], at: str) -> None:
        """Take a repository's files; those of repositories within it as well."""
        tracked, untracked = listing
        for path in tracked:
            self._take(at + path)
        for path in untracked:
            self.take_untracked(at + path)

    def take_untracked(self, path: str) -> None:
        folder = path.rstrip("/") if path.endswith("/") else path.rpartition("/")[0]
        if not self._excluded(folder):
            self._take(path.rstrip("/"))

    def _take(self, path: str) -> None:
        if path in self.found.files or not self.found.complete:
            return
        # Git lists what its index holds, and a folder may have become a link since.
        if not self._real_folder(path.rpartition("/")[0]):
            return
        status = self._status(path)
        if status is None:
            return
        if stat.S_ISDIR(status.st_mode):
            self._take_nested_repository(path)
        else:
            self._keep(path, status)

    def _take_nested_repository(self, path: str) -> None:
        """A submodule or a clone in the tree; a folder without ``.git`` is neither."""
        if not os.path.lexists(os.path.join(self._root, path, ".git")):
            return
        self._repositories += 1
        if self._repositories > _NESTED_REPOSITORIES_MAX:
            raise SnapshotError(
                f"More than {_NESTED_REPOSITORIES_MAX} git repositories lie within "
                f"{self._root}; add their folders to .gitignore."
            )
        listing = _listed_by_git(Path(self._root, path))
        if isinstance(listing, str):
            self.found.notes.append(
                f"The nested repository {path!r} was taken as a plain folder."
            )
            self.walk(path)
        else:
            self.take_repository(listing, path + "/")

    def _keep(self, path: str, status: os.stat_result) -> None:
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
            self.found.skipped.append((path, f"is a {_kind(status.st_mode)}"))
        elif len(self.found.files) >= self._files_limit:
            self.found.complete = False
        else:
            self.found.files[path] = status

    def walk(self, at: str) -> None:
        """Take everything below ``at`` outside of excluded folders."""
        folders = [at]
        while folders and self.found.complete:
            folder = folders.pop()
            entries, subfolders = _entries(os.path.join(self._root, folder)), []
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if not self._excluded(path):
                        subfolders.append(path)
                elif status := self._status(path):
                    self._keep(path, status)
            folders.extend(reversed(subfolders))

    def _status(self, path: str) -> os.stat_result | None:
        try:
            return os.lstat(os.path.join(self._root, path))
        except (FileNotFoundError, NotADirectoryError):
            return None  # deleted since git or the folder listed it
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from error

    def _real_folder(self, folder: str) -> bool:
        known = self._is_real.get(folder)
        if known is None:
            status = self._status(folder)
            known = (
                status is not None
                and stat.S_ISDIR(status.st_mode)
                and self._real_folder(folder.rpartition("/")[0])
            )
            self._is_real[folder] = known
        return known

    def _excluded(self, folder: str) -> bool:
        known = self._is_excluded.get(folder)
        if known is None:
            parent, _, name = folder.rpartition("/")
            known = (
                name in EXCLUDED_FOLDERS
                or self._excluded(parent)
                or any(
                    os.path.lexists(os.path.join(self._root, folder, mark))
                    for mark in _ENVIRONMENT_MARKS
                )
            )
            self._is_excluded[folder] = known
        return known


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(folder, error) from error


def _listed_by_git(folder: Path) -> tuple[list[str], list[str]] | str:
    """Tracked and untracked paths relative to ``folder``, or why git has none."""
    in_repository = any(
        os.path.lexists(parent / ".git") for parent in (folder, *folder.parents)
    )
    if not in_repository:
        return ""
    answers = []
    for arguments in (("--cached",), ("--others", "--exclude-standard")):
        answer = _ask_git(folder, ("ls-files", "-z", *arguments))
        if isinstance(answer, str):
            return (
                f"The folder {os.fspath(folder)!r} was taken whole, ignored files "
                f"included, because git did not list it: {answer}"
            )
        answers.append([os.fsdecode(path) for path in answer.split(b"\0") if path])
    tracked, untracked = answers
    return tracked, untracked


def _ask_git(folder: Path, arguments: tuple[str, ...]) -> bytes | str:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in _GIT_LOCAL_VARIABLES
    }
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    # No file-system monitor: a repository's own configuration could name any program.
    command = ["git", "-C", os.fspath(folder), "-c", "core.fsmonitor=false", *arguments]
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (FileNotFoundError, NotADirectoryError):
        return "git is not installed."
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{error}."
    if done.returncode != 0:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return words[0][:300] if words else f"exit code {done.returncode}."
    return done.stdout


_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISFIFO, "named pipe"),
    (stat.S_ISBLK, "device"),
    (stat.S_ISCHR, "device"),
)


def _kind(mode: int) -> str:
    kinds: Iterator[str] = (word for test, word in _KINDS if test(mode))
    return next(kinds, "special file")


def _unreadable(path: str, error: Exception) -> SnapshotError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return SnapshotError(
        f"{path!r} cannot be read for the code snapshot: {reason}. Give your user the "
        "right to read it, or leave it out with .gitignore."
    )

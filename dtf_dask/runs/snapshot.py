"""The code of a run, as it travels to workers elsewhere: built once, read when sent."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dtf_dask.errors import SnapshotError
from dtf_dask.runs.hash_cache import HashCache
from dtf_dask.runs.snapshot_files import Found, Source, find
from dtf_dask.runs.snapshot_size import check_size
from dtf_dask.runs.stable_read import checked_chunks, hash_file, retried
from dtf_dask.snapshot_manifest import (
    FILES_MAX,
    Manifest,
    SnapshotFile,
    link_refusal,
    path_refusal,
)

SKIPPED_NAMED_MAX = 10


class Part(NamedTuple):
    """A piece of one content, in the order of `SnapshotStore.add`'s parameters."""

    digest: str
    chunk: bytes
    offset: int
    size_total: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The code below ``root`` as it was when it was built.

    ``notes`` are sentences for the user: what was left out, and why git was not asked.
    """

    root: Path
    manifest: Manifest
    source: Source
    notes: tuple[str, ...] = ()

    def parts(self, digests: Iterable[str], message_bytes: int) -> Iterator[list[Part]]:
        """Yield what a worker lacks as messages of at most ``message_bytes`` content.

        Small contents share a message: thousands of files cost few round trips. The
        last piece of a content is only sent when all of them together have the digest.

        Raises
        ------
        SnapshotError
            When a file has changed since the snapshot was built.
        """
        message: list[Part] = []
        filled = 0
        for digest, places in self._places(digests).items():
            for part in self._content(digest, places, message_bytes):
                if message and filled + len(part.chunk) > message_bytes:
                    yield message
                    message, filled = [], 0
                message.append(part)
                filled += len(part.chunk)
        if message:
            yield message

    def _places(self, digests: Iterable[str]) -> dict[str, list[SnapshotFile]]:
        """The files that have each content."""
        places: dict[str, list[SnapshotFile]] = {digest: [] for digest in digests}
        for file in self.manifest.files:
            if file.digest in places and file.link is None:
                places[file.digest].append(file)
        for digest, files in places.items():
            if not files:
                raise SnapshotError(f"The snapshot holds no content {digest[:80]!r}.")
        return places

    def _content(
        self, digest: str, places: list[SnapshotFile], chunk_bytes: int
    ) -> Iterator[Part]:
        size = places[0].size_bytes
        for file in retried(places):
            offset = 0
            chunks = checked_chunks(self.root / file.path, digest, size, chunk_bytes)
            for chunk in chunks:
                yield Part(digest, chunk, offset, size)
                offset += len(chunk)
                if offset == size:
                    return
            if offset:
                break  # half of it is under way and cannot be taken back
        raise SnapshotError(
            f"{places[0].path!r} has changed since the run started, so that workers "
            "cannot be sent what the run is about; start the run again."
        )


def build(
    root: Path,
    *,
    limit_bytes: int,
    file_limit_bytes: int,
    files_limit: int,
    cache_path: Path | None = None,
    also: Iterable[str | Path] = (),
) -> Snapshot:
    """Find and hash the code below ``root``.

    Parameters
    ----------
    root
        A folder: within a git work tree what git tracks or does not ignore is taken,
        elsewhere everything outside of environments and caches.
    limit_bytes, file_limit_bytes, files_limit
        Bounds of the whole, of one file (bytes) and of the number of files.
    cache_path
        Where digests are kept for the next time.
    also
        Files below ``root`` that are needed although git ignores them, such as a
        generated ``_version.py``; others, missing ones included, are passed over.

    Raises
    ------
    SnapshotTooLargeError
        Past a limit.
    SnapshotError
        When a file cannot be read or does not stop changing.
    """
    root = Path(os.path.realpath(root))
    if not os.path.isdir(root):
        raise SnapshotError(
            f"{os.fspath(root)!r} is no folder that can be read; name the suite's root."
        )
    files_limit = min(files_limit, FILES_MAX)
    found = find(root, files_limit=files_limit, also=_below(root, also))
    for path in list(found.files):
        if refusal := path_refusal(path):
            found.skipped.append((path, refusal))
            del found.files[path]
    check_size(
        {path: _content_bytes(status) for path, status in found.files.items()},
        limit_bytes=limit_bytes,
        file_limit_bytes=file_limit_bytes,
        files_limit=files_limit,
        complete=found.complete,
    )
    cache = HashCache(cache_path)
    files = list(_files(root, found, cache))
    cache.save()
    name = "code" if path_refusal(root.name) else root.name
    notes = (*found.notes, *_skipped_note(found.skipped))
    return Snapshot(root, Manifest(tuple(files), name), found.source, notes)


def _below(root: Path, paths: Iterable[str | Path]) -> Iterator[str]:
    for path in paths:
        absolute = os.path.normpath(root / path)
        folder = os.path.realpath(os.path.dirname(absolute))
        relative = os.path.relpath(folder, root)
        if relative != ".." and not relative.startswith("../"):
            yield os.path.normpath(os.path.join(relative, os.path.basename(absolute)))


def _content_bytes(status: os.stat_result) -> int:
    return 0 if stat.S_ISLNK(status.st_mode) else status.st_size


def _files(root: Path, found: Found, cache: HashCache) -> Iterator[SnapshotFile]:
    base = os.fspath(root)
    for path, status in found.files.items():
        if stat.S_ISLNK(status.st_mode):
            target, refusal = _link_target(base, path)
            if refusal:
                found.skipped.append((path, refusal))
            else:
                yield SnapshotFile(path, "", 0, link=target)
            continue
        digest = cache.get(path, status)
        if digest is None:
            hashed = hash_file(base, path)
            if hashed is None:
                continue
            digest, status = hashed
            cache.put(path, status, digest)
        executable = bool(status.st_mode & stat.S_IXUSR)
        yield SnapshotFile(path, digest, status.st_size, executable)


def _link_target(base: str, path: str) -> tuple[str, str]:
    """A target that stays within the root, or why there is none."""
    place = os.path.join(base, path)
    try:
        target = os.readlink(place)
        refusal = link_refusal(path, target)
        if refusal:
            # An absolute or winding way to a place within the root has a plain form.
            target = os.path.relpath(os.path.realpath(place), os.path.dirname(place))
            refusal = link_refusal(path, target)
    except OSError as error:
        return "", f"is a link that cannot be read ({error.strerror})"
    return target, f"is a link that {refusal}" if refusal else ""


def _skipped_note(skipped: list[tuple[str, str]]) -> Iterator[str]:
    if skipped:
        named = "; ".join(
            f"{path!r} {why}" for path, why in skipped[:SKIPPED_NAMED_MAX]
        )
        more = len(skipped) - SKIPPED_NAMED_MAX
        rest = f"; and {more} more" if more > 0 else ""
        yield f"Left out of the code snapshot: {named}{rest}."

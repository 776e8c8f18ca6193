"""One unpacked snapshot: made as a whole, and put right before it is used again.

The files are copies of the store's contents, not hard links to them: a test may open
any file of its suite for writing, and through a hard link it would change the stored
content and with it every other tree. For the same reason they stay writable.

The modification time of a file follows from its content. So a ``.pyc`` stays valid in
the next run, and whatever caches by path and time sees that another version differs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Collection
from pathlib import Path

from dtf_dask.errors import SnapshotIncompleteError
from dtf_dask.snapshot_manifest import Manifest, SnapshotFile, folders_of

_NS_PER_S = 1_000_000_000
_YEAR_2000_S = 946_684_800
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_COPY_BYTES = 1024**2
# Kept when a tree is put right: what Python compiled in an earlier run.
_KEPT_FOLDER = "__pycache__"


def modified_ns(file: SnapshotFile) -> int:
    """The modification time of a file of this content, within 2000 to 2008."""
    return (_YEAR_2000_S + int(file.digest[:7], 16)) * _NS_PER_S


def write_tree(
    root: Path,
    manifest: Manifest,
    content_path: Callable[[str], Path],
    kept: Collection[str] = (),
) -> None:
    """Write a snapshot below the existing folder ``root``, but for the paths ``kept``.

    Nothing else may use ``root`` meanwhile. Links are made last, so that no file is
    ever written through one.

    Raises
    ------
    SnapshotIncompleteError
        When contents are missing or damaged; the damaged ones are removed.
    OSError
        When the disk is full, or rights are missing.
    """
    for folder in folders_of(file.path for file in manifest.files):
        try:
            os.mkdir(root / folder)
        except FileExistsError:
            pass
    damaged = []
    for file in manifest.files:
        path = root / file.path
        if file.link is None and file.path not in kept:
            try:
                whole = _copy(content_path(file.digest), path, file)
            except FileNotFoundError:
                whole = False
            if not whole:
                content_path(file.digest).unlink(missing_ok=True)
                damaged.append(file)
    for file in manifest.files:
        if file.link is not None and file.path not in kept:
            os.symlink(file.link, root / file.path)
    if damaged:
        raise SnapshotIncompleteError(
            f"{len(damaged)} contents of the code snapshot are missing or damaged on "
            f"this worker, the first of {damaged[0].path!r}; send them again."
        )


def _copy(source: Path, target: Path, file: SnapshotFile) -> bool:
    """Copy a content, checking it on the way; leaves nothing if it is damaged."""
    digest = hashlib.sha256()
    mode = 0o777 if file.executable else 0o666
    with open(source, "rb", buffering=0) as content:
        handle = os.open(target, _CREATE, mode)
        with open(handle, "wb", buffering=0):
            while chunk := content.read(_COPY_BYTES):
                digest.update(chunk)
                write_all(handle, chunk)
            whole = digest.hexdigest() == file.digest
            if whole:
                os.utime(handle, ns=(modified_ns(file), modified_ns(file)))
    if not whole:
        target.unlink()
    return whole


def write_all(handle: int, chunk: bytes) -> None:
    """Write all of it, however little the system takes at a time."""
    view = memoryview(chunk)
    while view:
        view = view[os.write(handle, view) :]


def remove_foreign(root: Path, manifest: Manifest) -> set[str]:
    """Remove what an earlier run left or changed; the paths that are as written.

    Judged by kind, size, modification time and the executable bit of each file.
    """
    files = {file.path: file for file in manifest.files}
    folders = set(folders_of(files))
    kept = set()
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(root / folder) as entries:
            listed = list(entries)
        for entry in listed:
            path = f"{folder}/{entry.name}" if folder else entry.name
            is_folder = entry.is_dir(follow_symlinks=False)
            if path in folders:
                keep = is_folder
                if keep:
                    pending.append(path)
            elif path in files:
                keep = _is_as_written(entry, files[path])
                if keep:
                    kept.add(path)
            else:
                keep = is_folder and entry.name == _KEPT_FOLDER
            if not keep:
                remove(Path(entry.path))
    return kept


def _is_as_written(entry: os.DirEntry[str], file: SnapshotFile) -> bool:
    if file.link is not None:
        return entry.is_symlink() and os.readlink(entry.path) == file.link
    status = entry.stat(follow_symlinks=False)
    return (
        stat.S_ISREG(status.st_mode)
        and status.st_size == file.size_bytes
        and status.st_mtime_ns == modified_ns(file)
        and bool(status.st_mode & stat.S_IXUSR) == file.executable
    )


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it; following no link."""
    try:
        is_folder = stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    if not is_folder:
        path.unlink(missing_ok=True)
        return
    try:
        shutil.rmtree(path)
    except PermissionError:
        _open_folders(path)
        shutil.rmtree(path)


def _open_folders(root: Path) -> None:
    """Give back the rights to folders that a test took away from itself."""
    pending = [os.fspath(root)]
    while pending:
        folder = pending.pop()
        os.chmod(folder, stat.S_IRWXU)
        with os.scandir(folder) as entries:
            pending += [e.path for e in entries if e.is_dir(follow_symlinks=False)]


def tree_bytes(root: Path) -> int:
    """The size of all files below a folder; what vanishes meanwhile counts nothing."""
    total = 0
    pending = [os.fspath(root)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    return total

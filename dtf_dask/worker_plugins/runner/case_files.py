"""The files that a case leaves: its output, shortened, and its artifacts."""

from __future__ import annotations

import codecs
import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

REFUSALS_MAX = 20
MATCHES_MAX = 10_000
COPY_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The readable part of an output, and the file that holds more of it, if any."""

    text: str
    kept: Path | None


def excerpt(path: Path, *, inline_bytes_max: int, kept_bytes_max: int) -> Excerpt:
    """Shorten an output to its head and tail, and say what was cut.

    The whole stays in its file, which is itself shortened in the same way when it is
    over ``kept_bytes_max``.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= inline_bytes_max:
            return Excerpt(file.read(size).decode(errors="replace"), None)
        half = inline_bytes_max // 2
        head = file.read(half)
        file.seek(size - half)
        tail = file.read(half)
    cut = size - 2 * half
    more = f"the whole is the artifact {path.name}"
    if size > kept_bytes_max:
        _shorten(path, size, kept_bytes_max)
        more = f"the artifact {path.name} holds {kept_bytes_max:,} of them"
    note = f"\n[... {cut:,} of {size:,} bytes were cut here; {more} ...]\n"
    return Excerpt(_decode_head(head) + note + _decode_tail(tail), path)


def _decode_head(content: bytes) -> str:
    # A character cut in two at the end is left out rather than shown as broken.
    return codecs.getincrementaldecoder("utf-8")("replace").decode(content)


def _decode_tail(content: bytes) -> str:
    start = next((i for i, b in enumerate(content[:4]) if b & 0xC0 != 0x80), 0)
    return content[start:].decode(errors="replace")


def _shorten(path: Path, size: int, bytes_max: int) -> None:
    """Leave the first and last half of ``bytes_max`` in the file."""
    half = bytes_max // 2
    note = f"\n[... {size - 2 * half:,} of {size:,} bytes were cut here ...]\n"
    shorter = path.with_name(f"{path.name}.part")
    with path.open("rb") as source, shorter.open("wb") as target:
        _copy(source.fileno(), target.fileno(), half)
        os.write(target.fileno(), note.encode())
        os.lseek(source.fileno(), size - half, os.SEEK_SET)
        _copy(source.fileno(), target.fileno(), half)
    shorter.replace(path)


def _copy(source: int, target: int, count: int) -> None:
    while count > 0:
        chunk = os.read(source, min(count, COPY_BYTES))
        if not chunk:
            return
        count -= len(chunk)
        while chunk:
            chunk = chunk[os.write(target, chunk) :]


@dataclass(frozen=True, slots=True)
class Artifacts:
    """Files found by name and path, and in words why others are left out."""

    files: tuple[tuple[str, Path], ...] = ()
    refused: tuple[str, ...] = ()


def find_artifacts(
    patterns: Sequence[str],
    folder: Path,
    *,
    count_max: int,
    file_bytes_max: int,
    total_bytes_max: int,
) -> Artifacts:
    """Find the regular files that the glob patterns name inside the folder.

    A name is the path within the folder. Links that lead out, folders, pipes and what
    is over a limit are refused; each refusal is said.
    """
    root = folder.resolve()
    files: dict[str, Path] = {}
    refused: list[str] = []
    total = 0
    for pattern in patterns:
        matched = False
        for path, problem in _matches(pattern, root):
            matched = True
            name = path.relative_to(root).as_posix() if path != root else "."
            if name in files:
                continue
            if path.is_dir() and not path.is_symlink() and not problem:
                continue  # `**` matches folders too; only their files are kept
            size = 0
            if not problem:
                size, problem = _size(path, root)
            if not problem and size > file_bytes_max:
                problem = f"{size:,} bytes are over the limit of {file_bytes_max:,}"
            if not problem and len(files) >= count_max:
                problem = f"more than {count_max} files"
            if not problem and total + size > total_bytes_max:
                problem = f"all together over the limit of {total_bytes_max:,} bytes"
            if problem:
                refused.append(f"{name if path != root else pattern}: {problem}")
                continue
            files[name] = path
            total += size
        if not matched:
            refused.append(f"{pattern}: no such file")
    if len(refused) > REFUSALS_MAX:
        more = len(refused) - REFUSALS_MAX
        refused = [*refused[:REFUSALS_MAX], f"{more} more"]
    return Artifacts(tuple(sorted(files.items())), tuple(refused))


def _matches(pattern: str, root: Path) -> Iterator[tuple[Path, str]]:
    """What a pattern matches, each with a problem of the pattern itself, or ``""``."""
    parts = PurePosixPath(pattern)
    if parts.is_absolute() or ".." in parts.parts:
        yield root, "leads out of the working directory"
        return
    try:
        found = sorted(itertools.islice(root.glob(pattern), MATCHES_MAX))
    except (ValueError, NotImplementedError, OSError) as error:
        yield root, f"is no pattern for files: {error}"
        return
    yield from ((path, "") for path in found)


def _size(path: Path, root: Path) -> tuple[int, str]:
    """The size of a file, and why it cannot be kept."""
    try:
        target = path.resolve(strict=True)
        status = target.stat()
    except (OSError, RuntimeError) as error:
        return 0, f"cannot be read: {getattr(error, 'strerror', None) or error}"
    if not target.is_relative_to(root):
        return 0, "is a link that leads out of the working directory"
    if not stat.S_ISREG(status.st_mode):
        return 0, "is no regular file"
    return status.st_size, ""

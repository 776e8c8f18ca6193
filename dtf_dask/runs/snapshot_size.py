"""Whether the code is small enough to be sent, and what to tell when not. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from dtf_dask.errors import SnapshotTooLargeError

NAMED_MAX = 5

# A folder that one child fills to this share is named by its children instead.
_HEAVY_SHARE = 0.8


def check_size(
    sizes: Mapping[str, int],
    *,
    limit_bytes: int,
    file_limit_bytes: int,
    files_limit: int,
    complete: bool = True,
) -> None:
    """Refuse code over a limit with `SnapshotTooLargeError`.

    ``sizes`` are bytes by path; ``complete`` is false when there are more files.
    """
    total = sum(sizes.values())
    over = {path: size for path, size in sizes.items() if size > file_limit_bytes}
    if not complete or len(sizes) > files_limit:
        what = f"more than {files_limit:,} files"
        limit = f"dtf.snapshot.files-limit, {files_limit:,} files"
    elif over:
        what = f"{len(over)} files too large"
        limit = f"dtf.snapshot.file-limit, {_size(file_limit_bytes)} a file"
    elif total > limit_bytes:
        what = f"{_size(total)} in {len(sizes):,} files"
        limit = f"dtf.snapshot.limit, {_size(limit_bytes)}"
    else:
        return
    lines = [f"  {_size(size):>10}  {path!r}" for path, size in largest(over or sizes)]
    raise SnapshotTooLargeError(
        "\n".join(
            [
                f"The code to be sent is over a limit: {what} (limit: {limit}). "
                "The largest of it:",
                *lines,
                "Name what the tests do not need in .gitignore (in a git repository), "
                "start from a smaller root folder, or raise the limit.",
            ]
        )
    )


def largest(sizes: Mapping[str, int]) -> list[tuple[str, int]]:
    """The heaviest files and folders (``name/``), none of which holds another.

    Examples
    --------
    >>> largest({"a/b/c.bin": 900, "a/b/d.bin": 90, "e.py": 5})
    [('a/b/c.bin', 900), ('a/b/d.bin', 90), ('e.py', 5)]
    """
    children: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for path, size in sizes.items():
        parent = ""
        for part in path.split("/")[:-1]:
            child = f"{parent}{part}/"
            children[parent][child] += size
            parent = child
        children[parent][path] += size
    pool = dict(children[""])
    while True:
        named = sorted(pool.items(), key=lambda item: (-item[1], item[0]))[:NAMED_MAX]
        for name, size in named:
            inside = children.get(name, {})
            if inside and max(inside.values()) >= _HEAVY_SHARE * size:
                del pool[name]
                pool.update(inside)
                break
        else:
            return named


def _size(size_bytes: float) -> str:
    if size_bytes < 1024:
        return f"{size_bytes:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size_bytes /= 1024
        if size_bytes < 1024:
            return f"{size_bytes:.1f} {unit}"
    return f"{size_bytes / 1024:.1f} TiB"

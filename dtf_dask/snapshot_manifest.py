"""What a code snapshot is made of: a checked list of files, addressed by its content.

Shared by the client that builds it and the worker that unpacks it. Pure: no disk, no
clock. A worker trusts nothing that it was sent, so every `Manifest` checks itself: what
one admits can only be written below the folder it is unpacked into, whatever order its
files and links are made in and whatever the links are called.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgpack

from dtf_dask.errors import ProtocolError

FILES_MAX = 200_000
PATH_BYTES_MAX = 2_048
COMPONENT_BYTES_MAX = 255
DEPTH_MAX = 64
FILE_BYTES_MAX = 64 * 1024**3
SNAPSHOT_BYTES_MAX = 256 * 1024**3
MANIFEST_BYTES_MAX = 64 * 1024**2

_FORMAT = 1
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """One file or symbolic link of a snapshot.

    Parameters
    ----------
    path
        Relative to the snapshot's root, with ``/`` between its parts. Bytes of a file
        name that are no UTF-8 are carried as `os.fsdecode` shows them.
    digest
        SHA-256 of the content in hex; empty for a link.
    size_bytes
        Length of the content; 0 for a link.
    executable
        Whether its owner may execute it.
    link
        The target of a symbolic link, relative to the folder that the link is in.
    """

    path: str
    digest: str
    size_bytes: int
    executable: bool = False
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of one snapshot, sorted by path, and the name of its root folder.

    The name belongs to the address: where the root folder is itself a package, its
    name is part of every module name below it.

    Raises
    ------
    ProtocolError
        When the files cannot be a snapshot: see `path_refusal` and `link_refusal`; also
        two files of one path, a file below a file, sizes or counts over the limits.

    Examples
    --------
    >>> content = b"print('hello')"
    >>> file = SnapshotFile("a/b.py", hashlib.sha256(content).hexdigest(), len(content))
    >>> manifest = Manifest((file,))
    >>> Manifest.from_bytes(manifest.to_bytes()).digest == manifest.digest
    True
    """

    files: tuple[SnapshotFile, ...]
    name: str = "code"
    digest: str = field(init=False, repr=False, compare=False)
    size_bytes: int = field(init=False, repr=False, compare=False)
    _encoded: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        files = tuple(sorted(self.files, key=lambda file: file.path))
        _check(files, self.name)
        encoded = _encode(files, self.name)
        if len(encoded) > MANIFEST_BYTES_MAX:
            raise ProtocolError(
                f"The list of a snapshot's files takes {len(encoded)} bytes, over the "
                f"limit of {MANIFEST_BYTES_MAX}; send fewer files."
            )
        object.__setattr__(self, "files", files)
        object.__setattr__(self, "_encoded", encoded)
        object.__setattr__(self, "digest", hashlib.sha256(encoded).hexdigest())
        object.__setattr__(self, "size_bytes", sum(file.size_bytes for file in files))

    def to_bytes(self) -> bytes:
        """The one encoding of these files; `digest` is its SHA-256."""
        return self._encoded

    @classmethod
    def from_bytes(cls, encoded: bytes) -> Manifest:
        """Read what `to_bytes` wrote; anything else is refused with `ProtocolError`."""
        return cls(*_decode(encoded))

    def contents(self) -> dict[str, int]:
        """The size of each content, by its digest, in the order of the files."""
        return {f.digest: f.size_bytes for f in self.files if f.link is None}


def path_refusal(path: str) -> str | None:
    """Why no snapshot may hold this path, or None.

    Examples
    --------
    >>> path_refusal("tests/test_a.py")
    >>> path_refusal("../secret")
    "has the part '..'"
    """
    if not path:
        return "is empty"
    if "\0" in path:
        return "holds a NUL"
    if "\\" in path:
        return "holds a backslash"
    try:
        raw = _path_bytes(path)
    except UnicodeEncodeError:
        return "cannot be written as bytes"
    if raw.decode("utf-8", "surrogateescape") != path:
        return "spells valid UTF-8 as undecodable bytes"
    if len(raw) > PATH_BYTES_MAX:
        return f"is longer than {PATH_BYTES_MAX} bytes"
    if path.startswith("/"):
        return "is absolute"
    parts = path.split("/")
    if len(parts) > DEPTH_MAX:
        return f"is deeper than {DEPTH_MAX} folders"
    for part in parts:
        if part in ("", ".", ".."):
            return f"has the part {part!r}"
    if len(raw) > COMPONENT_BYTES_MAX and any(
        len(_path_bytes(part)) > COMPONENT_BYTES_MAX for part in parts
    ):
        return f"has a part longer than {COMPONENT_BYTES_MAX} bytes"
    return None


def link_refusal(path: str, target: str) -> str | None:
    """Why a link at ``path`` may not point to ``target``, or None.

    A target climbs first (``..``) and descends then. A ``..`` after a name is refused:
    the name may be a link itself, and where ``..`` leads from there no text tells. The
    folder that a link is in is never a link, so climbing is exact; descending passes
    only links that obey the same rule. By induction nothing leads out of the root.

    Examples
    --------
    >>> link_refusal("a/link", "../b/file")
    >>> link_refusal("a/link", "../../etc/passwd")
    'points outside the snapshot'
    """
    if target == ".":
        return None
    parts = target.split("/")
    climbs = 0
    while climbs < len(parts) and parts[climbs] == "..":
        climbs += 1
    if climbs > path.count("/"):
        return "points outside the snapshot"
    if climbs == len(parts):
        return None
    refusal = path_refusal("/".join(parts[climbs:]))
    if refusal is None and len(_path_bytes(target)) > PATH_BYTES_MAX:
        refusal = f"is longer than {PATH_BYTES_MAX} bytes"
    return None if refusal is None else f"has a target that {refusal}"


def _path_bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _shown(path: str) -> str:
    return repr(path if len(path) <= 200 else path[:200] + "...")


def _check(files: tuple[SnapshotFile, ...], name: str) -> None:
    if len(files) > FILES_MAX:
        raise _refused(f"{len(files)} files are over the limit of {FILES_MAX}")
    refusal = "has more than one part" if "/" in name else path_refusal(name)
    if refusal:
        raise _refused(f"the name {_shown(name)} {refusal}")
    sizes: dict[str, int] = {}
    for file in files:
        refusal = path_refusal(file.path) or _file_refusal(file)
        if refusal:
            raise _refused(f"the path {_shown(file.path)} {refusal}")
        if sizes.setdefault(file.digest, file.size_bytes) != file.size_bytes:
            raise _refused(f"{_shown(file.path)} gives one content two sizes")
    if sum(file.size_bytes for file in files) > SNAPSHOT_BYTES_MAX:
        raise _refused(f"the files hold more than {SNAPSHOT_BYTES_MAX} bytes")
    paths = {file.path for file in files}
    if len(paths) != len(files):
        raise _refused("one path is there twice")
    for folder in folders_of(paths):
        if folder in paths:
            raise _refused(f"{_shown(folder)} is both a file and a folder")


def _file_refusal(file: SnapshotFile) -> str | None:
    if file.link is not None:
        if file.digest or file.size_bytes or file.executable:
            return "is a link and has content"
        return link_refusal(file.path, file.link)
    if not _HEX_DIGEST.match(file.digest):
        return "has no SHA-256 digest"
    if not 0 <= file.size_bytes <= FILE_BYTES_MAX:
        return f"has a size outside 0 to {FILE_BYTES_MAX} bytes"
    return None


def folders_of(paths: Iterable[str]) -> list[str]:
    """Every folder that these paths lie in, parents first; not the root itself."""
    seen: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in seen:
            seen.add(folder)
            folder = folder.rpartition("/")[0]
    return sorted(seen)


def _refused(why: str) -> ProtocolError:
    return ProtocolError(f"This is no snapshot that dtf accepts: {why}.")


def _encode(files: tuple[SnapshotFile, ...], name: str) -> bytes:
    rows = [
        [
            _path_bytes(file.path),
            bytes.fromhex(file.digest),
            file.size_bytes,
            file.executable,
            None if file.link is None else _path_bytes(file.link),
        ]
        for file in files
    ]
    encoded: bytes = msgpack.packb([_FORMAT, _path_bytes(name), rows])
    return encoded


def _decode(encoded: bytes) -> tuple[tuple[SnapshotFile, ...], str]:
    if len(encoded) > MANIFEST_BYTES_MAX:
        raise _refused(f"its list is over the limit of {MANIFEST_BYTES_MAX} bytes")
    try:
        tree = msgpack.unpackb(
            encoded,
            use_list=False,
            max_array_len=FILES_MAX,
            max_bin_len=PATH_BYTES_MAX,
            max_str_len=0,
            max_map_len=0,
            max_ext_len=0,
        )
    except Exception as error:  # msgpack raises a dozen unrelated types on bad input
        raise _refused(f"its list cannot be read ({type(error).__name__})") from error
    match tree:
        case (int(version), bytes(name), tuple(rows)) if version == _FORMAT:
            return tuple(_file(row) for row in rows), _text(name)
        case (int(version), *_) if version != _FORMAT:
            raise _refused(
                f"its format is {version} and this dtf knows {_FORMAT}; install one "
                "version of dtf everywhere"
            )
    raise _refused("its list has another form")


def _file(row: Any) -> SnapshotFile:
    match row:
        case (bytes(path), bytes(digest), int(size), bool(executable), None):
            target = None
        case (bytes(path), bytes(digest), int(size), bool(executable), bytes(link)):
            target = _text(link)
        case _:
            raise _refused("an entry of its list has another form")
    if isinstance(size, bool):  # a bool is an int to `match`
        raise _refused("an entry of its list has another form")
    return SnapshotFile(_text(path), digest.hex(), size, executable, target)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")

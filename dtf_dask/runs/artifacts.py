"""Files that attempts leave, kept by the SHA-256 of their content, through fsspec."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import fsspec

from dtf_dask.errors import ResultsCorruptError, ResultsUnavailableError, UsageError

ARTIFACT_BYTES_MAX = 2**30
CHUNK_BYTES = 2**20
MEMORY_BYTES_MAX = 8 * 2**20
GRACE_S = 3600.0
"""A file this young may belong to an attempt that is not recorded yet."""

_DIGEST = re.compile("[0-9a-f]{64}")


class ArtifactStore:
    """A content-addressed store in a folder, or wherever fsspec reaches.

    Equal content is kept once, however many attempts leave it. A file appears under
    its digest only when it is whole; what is read is checked against the digest.

    Parameters
    ----------
    url
        A folder's path, or an fsspec URL such as ``s3://bucket/prefix``.
    bytes_max
        The largest file taken in.

    Examples
    --------
    >>> store = ArtifactStore("memory://example")
    >>> digest = store.put_file(__file__)
    >>> with store.open(digest) as file:
    ...     file.read() == Path(__file__).read_bytes()
    True
    """

    def __init__(self, url: str | Path, *, bytes_max: int = ARTIFACT_BYTES_MAX) -> None:
        try:
            self._fs, root = fsspec.core.url_to_fs(str(url))
        except (ImportError, ValueError) as error:
            raise UsageError(f"no artifacts can be kept at {url}: {error}") from None
        self._root: str = root.rstrip("/")
        self._is_local = "file" in _protocols(self._fs)
        self.bytes_max = bytes_max

    def put_file(self, path: str | Path) -> str:
        """Keep a copy of the file at ``path``; return its digest (hex).

        Raises
        ------
        UsageError
            If it is no regular file, cannot be read, or is over ``bytes_max``.
        ResultsUnavailableError
            If the copy cannot be written.
        """
        with (
            _regular_file(path) as source,
            self._guarded(),
            self._incoming() as (file, name),
        ):
            # Copied and hashed in one pass: the file may still be changing.
            digest, size = hashlib.sha256(), 0
            while chunk := source.read(CHUNK_BYTES):
                size += len(chunk)
                if size > self.bytes_max:
                    raise self._too_large(str(path))
                digest.update(chunk)
                file.write(chunk)
            file.close()
            found = digest.hexdigest()
            if not self._refresh(found):
                self._publish(name, found)
        return found

    def open(self, digest: str) -> IO[bytes]:
        """Return a file with the content of ``digest``, read whole and verified.

        Raises
        ------
        ResultsUnavailableError
            If there is none, or it cannot be read.
        ResultsCorruptError
            If what is kept there is not what was put in.
        """
        url = self.url(digest)
        target = tempfile.SpooledTemporaryFile(  # noqa: SIM115 (the caller closes it)
            max_size=MEMORY_BYTES_MAX
        )
        try:
            with self._guarded():
                actual = hashlib.sha256()
                with self._fs.open(self._path(digest), "rb") as source:
                    while chunk := source.read(CHUNK_BYTES):
                        actual.update(chunk)
                        target.write(chunk)
            if actual.hexdigest() != digest:
                raise ResultsCorruptError(
                    f"the artifact at {url} is damaged: its content does not match its "
                    "digest; delete it, and run its case again if it is needed"
                )
        except BaseException:
            target.close()
            raise
        target.seek(0)
        return cast(IO[bytes], target)

    def exists(self, digest: str) -> bool:
        """Whether content with this digest is kept."""
        path = self._path(digest)
        with self._guarded():
            return bool(self._fs.exists(path))

    def delete(self, digest: str) -> bool:
        """Delete what is kept under ``digest``; return whether there was anything."""
        path = self._path(digest)
        with self._guarded():
            try:
                self._fs.rm_file(path)
            except FileNotFoundError:
                return False
        return True

    def delete_old(self, digest: str, now: float) -> bool:
        """Delete ``digest`` unless it was put within the last hour before ``now``."""
        if not _DIGEST.fullmatch(digest):
            return False  # never kept here
        path = self._path(digest)
        with self._guarded():
            try:
                if now - self._fs.modified(path).timestamp() < GRACE_S:
                    return False
            except FileNotFoundError:
                return False
            except NotImplementedError:
                pass
        return self.delete(digest)

    def url(self, digest: str) -> str:
        """Return where ``digest`` is or would be: a path if local, else a URL."""
        path = self._path(digest)
        return path if self._is_local else str(self._fs.unstrip_protocol(path))

    def _path(self, digest: str) -> str:
        if not _DIGEST.fullmatch(digest):  # also keeps "../" out
            raise UsageError(f"no SHA-256 in hex: {digest!r:.100}")
        return f"{self._root}/{digest[:2]}/{digest[2:4]}/{digest}"

    def _refresh(self, digest: str) -> bool:
        """Return whether ``digest`` is kept; if so it counts as new (`delete_old`)."""
        path = self._path(digest)
        if not self._is_local:
            return bool(self._fs.exists(path))
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        except PermissionError:  # somebody else's file, but there
            return True
        return True

    @contextlib.contextmanager
    def _incoming(self) -> Iterator[tuple[IO[bytes], str]]:
        """Open a new file that becomes visible by `_publish` only."""
        if self._is_local:
            folder = f"{self._root}/incoming"
            os.makedirs(folder, exist_ok=True)
            name = f"{folder}/{uuid.uuid4().hex}"
        else:  # an upload becomes visible as a whole, so the last step is the upload
            name = f"{tempfile.gettempdir()}/dtf-{uuid.uuid4().hex}"
        file = open(name, "xb")  # noqa: SIM115 (closed below, or by whoever publishes)
        try:
            yield file, name
        finally:
            with contextlib.suppress(OSError):
                file.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)

    def _publish(self, name: str, digest: str) -> None:
        path = self._path(digest)
        if self._is_local:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.replace(name, path)
        else:
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._fs.put_file(name, path)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise ResultsUnavailableError(
                f"there is no such artifact in {self._root} ({error}): it was pruned, "
                "or is kept in another store"
            ) from error
        except OSError as error:
            raise ResultsUnavailableError(
                f"the artifacts in {self._root} cannot be used ({error}): check the "
                "folder's rights and the free space of its disk"
            ) from error

    def _too_large(self, what: str) -> UsageError:
        return UsageError(
            f"{what} is over the limit of {self.bytes_max:,} bytes for an artifact: "
            "keep a smaller file, or raise the limit"
        )


@contextlib.contextmanager
def _regular_file(path: str | Path) -> Iterator[IO[bytes]]:
    try:
        # Not blocking: opening a pipe that nobody writes to would wait for ever.
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise UsageError(f"an artifact cannot be read: {error}") from None
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise UsageError(f"{path} is no regular file: only those are artifacts")
    with os.fdopen(number, "rb", buffering=0) as file:
        yield cast(IO[bytes], file)


def _protocols(filesystem: Any) -> tuple[str, ...]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)

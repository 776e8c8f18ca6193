"""The end of a log: the segment that is written to, and what of it is on the disk.

A disk that is full is an ordinary case: what was being written is taken back and
`DiskFullError` raised, and the next write may succeed. After any other failure to
write, or to sync, nobody knows what is on the disk (the kernel may have dropped the
pages, and says so once): everything is refused from then on.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence

from dtf_dask.errors import DiskFullError, LedgerDiskError
from dtf_dask.ha.files import Files, OpenFile, disk_error, write_whole
from dtf_dask.ha.wal_format import (
    BATCH,
    SEGMENT,
    SegmentHead,
    encode_head,
    encode_preamble,
    encode_record,
)
from dtf_dask.ha.wal_index import LogIndex
from dtf_dask.ha.wal_opening import (
    TEMPORARY,
    LogIdentity,
    Replayed,
    Segment,
    segment_path,
)


class SegmentWriter:
    """Appends records to the last segment of a log, and begins the next."""

    def __init__(
        self, folder: str, identity: LogIdentity, files: Files, replayed: Replayed
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._files = files
        self.segments = replayed.segments
        """Those of the log; the size of the last one is `size`."""
        self.size = 0
        self._chain = replayed.chain
        self._file: OpenFile | None = None
        self._durable = 0
        self._failed: str | None = None

    @property
    def number(self) -> int:
        """The segment that is written to."""
        return self.segments[-1].number

    @property
    def path(self) -> str:
        """Its file."""
        return segment_path(self._folder, self.number)

    @property
    def synced(self) -> bool:
        """Whether all that was written is on the disk."""
        return self._durable == self.size

    def check_usable(self) -> None:
        """Raise `LedgerDiskError` once the disk has failed."""
        if self._failed is not None:
            raise LedgerDiskError(self._failed)

    def resume(self, *, cut: bool) -> None:
        """Open the last segment to go on at its end."""
        self.size = self.segments[-1].size
        try:
            self._file = self._files.open(self.path)
            if cut:
                self._file.truncate(self.size)
            # What was read may not be on the disk yet: a process that was killed had
            # written it, and the machine did not go down.
            self._file.sync()
            self._files.sync_folder(self._folder)
        except OSError as error:
            raise self._fail(error) from error
        self._durable = self.size

    def begin(self, number: int, index: LogIndex) -> None:
        """Begin a segment: it gets its name when its head is on the disk."""
        own = self._identity
        head = SegmentHead(
            *(own.cluster, own.node, number, index.next_index, index.state, index.point)
        )
        seed = secrets.randbits(32)
        record, chain = encode_record(
            SEGMENT, encode_head(head), seed=seed, chain=self._chain, durable=0
        )
        start = encode_preamble(seed) + record
        path = segment_path(self._folder, number)
        file: OpenFile | None = None
        try:
            file = self._files.create(path + TEMPORARY)
            write_whole(file, 0, start)
            file.sync()
            self._files.rename(path + TEMPORARY, path)
        except OSError as error:
            if file is not None:
                file.close()
            problem = disk_error(error, path)
            if isinstance(problem, LedgerDiskError):
                raise self._fail(error) from error
            self.remove_temporary()
            raise problem from error
        old, self._file = self._file, file
        if self.segments:
            self.segments[-1] = self.segments[-1]._replace(size=self.size)
        self.segments.append(Segment(number, seed, 0))
        self._chain = chain
        self.size = self._durable = len(start)
        try:
            if old is not None:
                old.close()
            self._files.sync_folder(self._folder)
        except OSError as error:
            raise self._fail(error) from error

    def roll(self, index: LogIndex) -> None:
        """Begin another segment, with the old one on the disk."""
        self.sync()
        self.begin(self.number + 1, index)

    def write(self, bodies: Sequence[bytes]) -> list[int]:
        """Write records that belong together, all or nothing; where each one starts."""
        self.check_usable()
        seed, chain, at = self.segments[-1].seed, self._chain, self.size
        offsets: list[int] = []
        records: list[bytes] = []
        for number, body in enumerate(bodies, start=1):
            more = number < len(bodies)
            record, chain = encode_record(
                BATCH, body, seed=seed, chain=chain, durable=self._durable, more=more
            )
            offsets.append(at)
            records.append(record)
            at += len(record)
        self._write_all(records[0] if len(records) == 1 else b"".join(records))
        self._chain = chain
        return offsets

    def sync(self) -> None:
        """Return when all that was written is on the disk."""
        self.check_usable()
        if self._durable == self.size:
            return
        try:
            self._active().sync()
        except OSError as error:
            raise self._fail(error) from error
        self._durable = self.size

    def drop_before(self, number: int) -> int:
        """Delete the segments before one; how many bytes that freed."""
        freed = 0
        try:
            # The oldest first, so that a crash leaves no gap.
            while self.segments[0].number < number:
                gone = self.segments[0]
                self._files.remove(segment_path(self._folder, gone.number))
                self.segments.pop(0)
                freed += gone.size
            if freed:
                self._files.sync_folder(self._folder)
        except OSError as error:
            raise self._fail(error) from error
        return freed

    def remove_temporary(self) -> None:
        """Delete what a crash left of a segment that had no name yet."""
        try:
            for name in self._files.names(self._folder):
                if name.endswith(".log" + TEMPORARY):
                    self._files.remove(os.path.join(self._folder, name))
        except OSError as error:
            raise self._fail(error) from error

    def close(self) -> None:
        """Refuse everything from now on."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._failed = self._failed or "the log is closed"

    def _write_all(self, records: bytes) -> None:
        file = self._active()
        try:
            write_whole(file, self.size, records)
        except OSError as error:
            problem = disk_error(error, self.path)
            if isinstance(problem, LedgerDiskError):
                raise self._fail(error) from error
            try:
                file.truncate(self.size)
                file.sync()  # or a crash could bring a part of it back
            except OSError as second:
                raise self._fail(second) from second
            self._durable = self.size
            raise problem from error
        self.size += len(records)

    def _active(self) -> OpenFile:
        assert self._file is not None
        return self._file

    def _fail(self, error: OSError) -> LedgerDiskError:
        """What to raise, now and from now on."""
        problem = disk_error(error, self.path if self.segments else self._folder)
        if isinstance(problem, DiskFullError):
            problem = LedgerDiskError(f"{problem}, and what is there is not known")
        self._failed = str(problem)
        return problem

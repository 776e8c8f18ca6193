"""Every error that dtf raises on purpose, and the exit code each one ends a run with.

Named by whose fault it is: a `...Error` tells what the caller gave and what to do about
it. Exit codes 0 to 6 are pytest's own, ours start at 9, so that the two never meet.
"""

from __future__ import annotations


class DtfError(Exception):
    """Base of all errors of dtf; ``exit_code`` is what ``dtf`` ends with.

    Positional arguments only, so that every one of them pickles.
    """

    exit_code = 10


class UsageError(DtfError):
    """The command line, a marker or a keyword argument makes no sense."""

    exit_code = 4  # the same meaning as pytest's own usage error


class ConfigurationError(DtfError):
    """A configuration file or variable holds something that dtf does not know."""

    exit_code = 9


class ClusterUnreachableError(DtfError):
    """No scheduler answered at the address within the time allowed."""

    exit_code = 11


class VersionMismatchError(DtfError):
    """A worker runs another version of dtf than the client."""

    exit_code = 12


class EnvironmentMismatchError(DtfError):
    """Python or the suite's packages differ on a worker, and the policy is strict."""

    exit_code = 13


class CollectionMismatchError(DtfError):
    """A worker that imported the same snapshot found other tests than the client."""

    exit_code = 14


class DuplicateCaseError(DtfError):
    """Two cases have one id, so that their results could not be told apart."""

    exit_code = 15


class SnapshotTooLargeError(DtfError):
    """The code to be sent is larger than the configured limit."""

    exit_code = 16


class ResultsUnavailableError(DtfError):
    """The results store cannot be read or written (rights, full disk, no server)."""

    exit_code = 17


class ResultsCorruptError(DtfError):
    """The results database exists but is no database of ours, or is damaged."""

    exit_code = 18


class DriverLostError(DtfError):
    """The process that drives the run ended before the run did."""

    exit_code = 19


class ProtocolError(DtfError):
    """A frame between dtf's own processes was malformed or over its limit."""

    exit_code = 20


class SnapshotError(DtfError):
    """The code to be sent cannot be read, or changes while it is read."""

    exit_code = 21


class SnapshotStoreError(DtfError):
    """A worker cannot keep the code it was sent (full disk, rights, its limit)."""

    exit_code = 22


class SnapshotIncompleteError(SnapshotStoreError):
    """A worker lacks contents of a snapshot, or found them damaged: send them again."""

    exit_code = 23


class DemandError(UsageError):
    """What a task needs, or a worker accepts, is said in no way that can be met."""

    exit_code = 24


class TaskRefusedError(DtfError):
    """What a task asks of the scheduler makes no sense, or could never be given."""

    exit_code = 25


class DeadlineError(TaskRefusedError):
    """A task cannot meet its deadline, and was to be refused or cancelled then."""

    exit_code = 26


class OverloadedError(TaskRefusedError):
    """The scheduler has more work than it is allowed to hold, and shed this task."""

    exit_code = 27


class TaskTimeoutError(DtfError):
    """A task ran longer than the time it was given."""

    exit_code = 28


class UpstreamFailedError(DtfError):
    """Something that a task depends on failed: why it was skipped, or its input."""

    exit_code = 29


class SchedulingUnavailableError(DtfError):
    """The scheduler knows nothing of dtf, or has fallen back to Dask's own ways."""

    exit_code = 30


class LedgerDamagedError(DtfError):
    """A node's log or snapshot is damaged where nothing may be missing."""

    exit_code = 40


class LedgerFolderError(DtfError):
    """A node's folder is another's, in use, of an unknown format, or holds no log."""

    exit_code = 41


class LedgerDiskError(DtfError):
    """A node's disk failed to write or to sync: what it holds cannot be relied on."""

    exit_code = 42


class DiskFullError(DtfError):
    """There is no room on the disk; nothing was changed, so try again with room."""

    exit_code = 43


class PeerRefusedError(DtfError):
    """A node does not let another in, or finds another than it looked for."""

    exit_code = 44


class PeerUnavailableError(DtfError):
    """A node cannot be reached, or does not have or take what is asked of it."""

    exit_code = 45


class NotLeadingError(DtfError):
    """A node was asked for what only the leader does; it says who leads."""

    exit_code = 46


class MembershipError(DtfError):
    """Members of a cluster, or who leads it, were not changed as it was asked for."""

    exit_code = 47


class NotChangedError(MembershipError):
    """Nothing of a change of members or of who leads was begun: all is as it was."""

    exit_code = 49


class SessionExpiredError(DtfError):
    """A session of the ledger has expired; it says what is known of its commands."""

    exit_code = 50


class ContentUnavailableError(DtfError):
    """A content is not kept by most nodes of a ledger, or no node has it."""

    exit_code = 51


class ClientVersionError(DtfError):
    """A client is older or newer than the cluster, and they do not talk."""

    exit_code = 56


class ClientReplacedError(DtfError):
    """A cluster knows another client of the same id, and takes nothing of this one."""

    exit_code = 57


class TaskLostError(DtfError):
    """What a task made is lost with its worker, and cannot be made again."""

    exit_code = 58


class FailoverError(DtfError):
    """The scheduler died before it answered: whether it acted is not known."""

    exit_code = 60


class NodeProcessError(DtfError):
    """The process of a node could not be started, or ended by itself."""

    exit_code = 48

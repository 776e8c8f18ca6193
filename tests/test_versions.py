"""What has a number of its version: docs/deployment.md says what is done about another
one, and that is done.

Of clients it is tried in `tests/durable/test_client_refusals.py`, of the scheduler's
process in `tests/ha/test_scheduler_link.py`, of kept results in `tests/results`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import msgpack
import pytest

from dtf_dask.comm import greeting
from dtf_dask.comm.greeting import Greeting, Objection
from dtf_dask.durable import inventory, operations
from dtf_dask.durable.inventory import Inventory, read_inventory
from dtf_dask.durable.operations import encode_operation
from dtf_dask.errors import (
    LedgerFolderError,
    PeerRefusedError,
    ProtocolError,
)
from dtf_dask.ha import handshake, snapshot_file, wal_format
from dtf_dask.ha.handshake import Channel, Hello, NodeName, decode_hello, encode_hello
from dtf_dask.ha.ledger import entries, kinds
from dtf_dask.ha.ledger.entries import decode_entry, encode_command, encode_entry
from dtf_dask.ha.ledger.outcomes import Unreadable
from dtf_dask.ha.raft import config_codec
from dtf_dask.ha.raft.messages import (
    ConfigChange,
    ConfigState,
    ConfigStep,
    Entry,
    NodeId,
    SnapshotPoint,
    StepKind,
)
from dtf_dask.ha.snapshots import SnapshotStore
from dtf_dask.ha.wal import Wal
from dtf_dask.ha.wal_opening import LogIdentity
from dtf_dask.scheduler_plugins.adapter import offers
from dtf_dask.standby import journal, primitives_records, takeover_records
from dtf_dask.standby.takeover_records import Known
from dtf_dask.submission import table_codec
from dtf_dask.submission.table import Table
from dtf_dask.worker_plugins.hardware import advert

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"^_?(?:[A-Z]+_)*VERSION = \d", re.MULTILINE)
NAME = NodeName("lab", NodeId(1))


def numbers() -> set[str]:
    """Modules in which something has a number of its version."""
    root = ROOT / "dtf_dask"
    return {
        str(file.relative_to(root))
        for file in root.rglob("*.py")
        if NUMBER.search(file.read_text("utf-8"))
    }


def test_all_that_has_a_number_has_a_row() -> None:
    """And no row is left of what has none."""
    text = (ROOT / "docs" / "deployment.md").read_text("utf-8")
    _, _, table = text.partition("| Who hears it |")
    table, _, _ = table.partition("\n\n")
    assert set(re.findall(r"`([\w/]+\.py)`", table)) == numbers()


class Newer:
    """Has something written by a process of the next version."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def __call__(
        self, module: ModuleType, write: Callable[[], Any], name: str = "VERSION"
    ) -> Any:
        with self._patch.context() as patch:
            patch.setattr(module, name, getattr(module, name) + 1)
            return write()


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Newer:
    return Newer(monkeypatch)


def test_coordinators_speak_the_older_version(newer: Newer) -> None:
    """One that is older names its own, and that is then spoken."""
    hello = Hello(NAME, NodeId(2), Channel.MESSAGES, None, 2)
    with pytest.raises(PeerRefusedError, match=r"version 2 .* this node 1") as refused:
        decode_hello(encode_hello(hello))
    answer = handshake.encode_refusal(NAME, str(refused.value))
    assert (
        newer(handshake, lambda: handshake.older_version(answer, 2), "PROTOCOL_VERSION")
        == 1
    )
    assert handshake.older_version(answer, 1) is None


def test_an_older_coordinator_stops_at_what_is_new_and_not_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A leader that is newer writes entries which older nodes read, as long as nobody
    uses what they do not know."""
    put = encode_command(kinds.PUT, "n", "k", b"v")
    delete = encode_command(kinds.DELETE, "n", "k")
    monkeypatch.setattr(entries, "VERSION", kinds.VERSION + 1)
    since = {**entries._SINCE, bytes((kinds.DELETE,)): kinds.VERSION + 1}
    monkeypatch.setattr(entries, "_SINCE", since)
    old = kinds.VERSION
    assert not isinstance(decode_entry(encode_entry(5, [put]), version=old), Unreadable)
    assert not isinstance(decode_entry(encode_entry(5, []), version=old), Unreadable)
    stops = decode_entry(encode_entry(5, [put, delete]), version=old)
    assert isinstance(stops, Unreadable)
    assert f"version {old + 1}" in str(stops)
    assert f"up to {old}" in str(stops)
    assert max(kind.since for kind in kinds.KINDS.values()) <= kinds.VERSION


def test_a_change_of_members_that_cannot_be_read_is_none(newer: Newer) -> None:
    """Every node, whatever its version, has to take it in the same way."""
    change = ConfigChange((ConfigStep(StepKind.REMOVE, NodeId(2)),))
    written = newer(config_codec, lambda: config_codec.encoded(change), "_VERSION")
    assert config_codec.decoded(Entry(1, 1, *written)) is None
    written = config_codec.encoded(change)
    assert written is not None
    assert config_codec.decoded(Entry(1, 1, *written)) == change


def test_logs_and_snapshots_of_another_format(newer: Newer, tmp_path: Path) -> None:
    """They are named, with both numbers."""
    log = LogIdentity("lab", NodeId(1))
    made = newer(
        wal_format, lambda: Wal.create(str(tmp_path / "n"), log), "FORMAT_VERSION"
    )
    made.close()
    with pytest.raises(LedgerFolderError, match=r"format 2; .* 1 only"):
        Wal.open(str(tmp_path / "n"), log)
    store = SnapshotStore(str(tmp_path / "s"), "lab")
    point = SnapshotPoint(1, 1, ConfigState((NodeId(1),)))
    newer(snapshot_file, lambda: store.write(point, [b"x"]), "_VERSION")
    (path,) = (tmp_path / "s").iterdir()
    with pytest.raises(LedgerFolderError, match=r"format 2; .* knows 1"):
        snapshot_file.checked_snapshot(str(path), "lab")


def test_what_schedulers_refuse(newer: Newer) -> None:
    """Submissions, inventories and records of another version, with both numbers."""
    table = newer(
        table_codec, lambda: table_codec.encode_table(Table("c", 1, (), (), ()))
    )
    with pytest.raises(ProtocolError, match=r"version 2, .* 1: run the same"):
        table_codec.decode_table(table)
    said = newer(inventory, Inventory("w", 1, (), (), ()).words)
    with pytest.raises(ProtocolError, match=r"version 3, .* 2: run the same"):
        read_inventory(said)
    key, packed = newer(
        primitives_records,
        lambda: primitives_records.encode_record("event", "e"),
    )
    with pytest.raises(ProtocolError, match=r"version 2, .* 1: run the same"):
        primitives_records.decode_record(key, packed)

    def written() -> list[bytes]:
        return newer(journal, lambda: journal.parts_of(1.0, [b"one"], [1.0]), says)

    says = "_SAYS_TIMES"
    (part,) = newer(journal, written, says)
    with pytest.raises(ProtocolError, match=r"version 4, .* 3: run the same"):
        list(journal.batches([(journal.key_of(1), part)]))


def test_a_record_of_the_journal_is_of_the_oldest_version_that_knows_it() -> None:
    """So older coordinators read what a newer one writes, until there is more."""
    known = encode_operation(operations.RELEASE, "c", ("x",))
    new = encode_operation(operations.VOID, "c", ("x",), 1.0)
    was = encode_operation(operations.COUNTS, "", ("x",), (1,), (0,), (7,))
    now = encode_operation(operations.COUNTS, "", ("x",), (1,), (0,), (7,), (9,))

    def version(packed: list[bytes], *times: list[float]) -> int:
        (part,) = journal.parts_of(1.0, packed, *times)
        (batch,) = journal.batches([(journal.key_of(1), part)])
        assert list(batch.operations) == packed
        return int(msgpack.unpackb(part[1:])[0])

    assert version([]) == version([known]) == version([was]) == 1
    assert version([known, new]) == version([known], [1.0]) == 2
    assert version([was, new, now]) == 3


@pytest.mark.logs("A record of a worker is passed over")
def test_a_worker_of_another_versions_record_is_not_called(newer: Newer) -> None:
    """It is none that is known."""
    known = Known("tcp://1", "w", {})
    packed = newer(
        takeover_records, lambda: takeover_records.pack_known(known), "_VERSION"
    )
    ledger = SimpleNamespace(records=lambda prefix: [(f"{prefix}tcp://1", packed)])
    assert takeover_records.known_workers(ledger) == {}


def test_who_greets_in_another_version_is_passed_over(newer: Newer) -> None:
    """By workers and clients, for good."""
    words = newer(greeting, Greeting(NAME, 3).words)
    found = greeting.read_greeting({greeting.KEY: words})
    assert isinstance(found, Objection)
    assert found.final
    assert "version 2, and this process knows 1" in found.why


def test_an_advert_of_another_version_is_said() -> None:
    """The worker is there, without facts."""
    told = {"version": offers.VERSION + 1, "facts": {"os.name": "linux"}}
    made, problems = offers.offer(told, threads=2)
    assert (made.threads, dict(made.facts)) == (2, {})
    assert "version 2, not 1" in problems[0]
    assert advert.VERSION == offers.VERSION

"""What has a number of its version: docs/deployment.md says what is done about another
one, and that is done."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from dtf_dask import frames
from dtf_dask.comm import greeting
from dtf_dask.comm.greeting import Greeting, Objection
from dtf_dask.durable import client_half, client_words, inventory
from dtf_dask.durable.inventory import Inventory, read_inventory
from dtf_dask.errors import (
    ClientVersionError,
    LedgerFolderError,
    PeerRefusedError,
    ProtocolError,
)
from dtf_dask.ha import handshake, scheduler_words, snapshot_file, wal, wal_opening
from dtf_dask.ha.handshake import Channel, Hello, NodeName, decode_hello, encode_hello
from dtf_dask.ha.ledger import entries, kinds
from dtf_dask.ha.ledger.entries import decode_entry, encode_command, encode_entry
from dtf_dask.ha.ledger.outcomes import Unreadable
from dtf_dask.ha.raft import config_codec
from dtf_dask.ha.raft.messages import (
    ConfigChange,
    ConfigStep,
    Entry,
    NodeId,
    StepKind,
)
from dtf_dask.ha.snapshots import SnapshotStore
from dtf_dask.ha.wal_format import SnapshotPoint
from dtf_dask.ha.wal_opening import LogIdentity
from dtf_dask.model import Run
from dtf_dask.runs.results import portions
from dtf_dask.scheduler_plugins.adapter import offers
from dtf_dask.standby import journal, primitives_records, takeover_records
from dtf_dask.standby.takeover_records import Known
from dtf_dask.submission import table_codec
from dtf_dask.submission.table import Table

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"^_?(?:[A-Z]+_)*VERSION = \d", re.MULTILINE)
NAME = NodeName("lab", NodeId(1))

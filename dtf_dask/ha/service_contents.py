"""How a node serves contents to its clients: sent, kept by a majority, read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from dtf_dask.errors import (
    DtfError,
    LedgerDamagedError,
    UsageError,
)
from dtf_dask.ha.ledger.references import Reference
from dtf_dask.ha.local_ledger import NodeLedger
from dtf_dask.ha.service_words import Op, Status

_Answered = tuple[Any, ...]


async def _add(
    ledger: NodeLedger, digest: bytes, size: int, offset: int, chunk: bytes
) -> _Answered:
    uploads = ledger.node.contents.uploads
    try:
        return Status.OK, await uploads.add(Reference(digest, size), offset, chunk)
    except (UsageError, LedgerDamagedError) as error:
        return Status.WRONG, str(error)
    except DtfError as error:
        return _not_done(ledger, str(error))


async def _keep(
    ledger: NodeLedger, digest: bytes, size: int, timeout_ms: int
) -> _Answered:
    keeping = ledger.node.contents.keeping
    reason = await keeping.keep(Reference(digest, size), timeout_ms / 1_000)
    return _not_done(ledger, reason) if reason else (Status.OK,)


async def _read(
    ledger: NodeLedger,
    digest: bytes,
    size: int,
    offset: int,
    length: int,
    timeout_ms: int,
) -> _Answered:
    contents = ledger.node.contents
    reference = Reference(digest, size)
    try:
        chunk = await contents.read(reference, offset, length, timeout_ms / 1_000)
    except DtfError as error:
        return _not_done(ledger, str(error))
    return Status.OK, chunk


def _not_done(ledger: NodeLedger, reason: str) -> _Answered:
    return Status.NOT_DONE, ledger.node.raw.core.lead, reason


CONTENT_HANDLERS: dict[Op, Callable[..., Awaitable[_Answered]]] = {
    Op.CONTENT_ADD: _add,
    Op.CONTENT_KEEP: _keep,
    Op.CONTENT_READ: _read,
}

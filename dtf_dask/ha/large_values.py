"""Values of any size: small ones in the ledger itself, large ones by reference."""

from __future__ import annotations

import asyncio

from dtf_dask.ha.ledger.entries import encode_command
from dtf_dask.ha.ledger.kinds import PUT, PUT_CONTENT, VALUE_BYTES_MAX
from dtf_dask.ha.ledger.outcomes import Outcome
from dtf_dask.ha.ledger.protocol import Ledger
from dtf_dask.ha.ledger.references import Value


async def put_value(
    ledger: Ledger, namespace: str, key: str, value: bytes, timeout_s: float
) -> Outcome:
    """Write a record, whatever was there; one above 1 MiB refers to its content.

    Raises
    ------
    ContentUnavailableError
        Most nodes could not keep the content: nothing was written.
    UsageError
        That is no record, or the value is too large for a content.
    """
    if len(value) <= VALUE_BYTES_MAX:
        command = encode_command(PUT, namespace, key, value)
    else:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + timeout_s
        reference = await ledger.put_content(value, timeout_s)
        command = encode_command(PUT_CONTENT, namespace, key, *reference)
        timeout_s = max(0.0, ends_at - loop.time())
    (outcome,) = await ledger.propose([command], timeout_s)
    return outcome


async def value_bytes(ledger: Ledger, value: Value, timeout_s: float) -> bytes:
    """The bytes of a record's value, wherever they are.

    Raises
    ------
    ContentUnavailableError
        No node could send the content in time.
    """
    if isinstance(value, bytes):
        return value
    return await ledger.get_content(value, timeout_s)

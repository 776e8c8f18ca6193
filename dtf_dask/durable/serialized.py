"""What Dask serialized, as bytes that a ledger or an inventory may hold.

Nothing is opened here: exceptions and tracebacks stay what they were, until a client
reads them.
"""

from __future__ import annotations

import msgpack
from distributed.protocol import Serialize, Serialized, serialize

from dtf_dask.errors import ProtocolError


def pack(value: Serialize | Serialized | None) -> bytes:
    """The header and frames of a value, as one; empty for None.

    Examples
    --------
    >>> unpack(pack(Serialize("why"))).frames[0] != b""
    True
    """
    if value is None:
        return b""
    if isinstance(value, Serialized):
        header, frames = value.header, value.frames
    else:
        header, frames = serialize(value.data)
    packed: bytes = msgpack.packb((header, [bytes(frame) for frame in frames]))
    return packed


def unpack(packed: bytes) -> Serialized | None:
    """What `pack` packed, as schedulers hold it: Dask sends it on as it is.

    Raises
    ------
    ProtocolError
        It is something else.
    """
    if not packed:
        return None
    try:
        header, frames = msgpack.unpackb(packed, use_list=False)
        if type(header) is not dict or not all(type(one) is bytes for one in frames):
            raise ValueError("no header and frames")
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"this is nothing that was serialized: {error}") from error
    return Serialized(header, list(frames))

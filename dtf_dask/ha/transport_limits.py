"""The limits of a node's network. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """Times in seconds, sizes in bytes.

    Parameters
    ----------
    handshake_s
        From the first packet to the welcome.
    handshakes_max
        Connections that are not let in yet; one more ends the oldest.
    reconnect_s, reconnect_max_s
        The pause before a connection is tried again: at first, and at most.
    outbox_messages_max, outbox_bytes_max
        What waits for one peer.
    chunk_bytes, chunks_ahead
        Of content: how much is asked for at once, and how often ahead of the answer.
    content_bytes_per_s
        How fast content is sent to one peer; 0 for as fast as it goes.
    content_bytes_max
        The largest content that is taken.
    content_answer_s
        How long one chunk may take.
    """

    handshake_s: float = 3.0
    handshakes_max: int = 64
    reconnect_s: float = 0.05
    reconnect_max_s: float = 2.0
    outbox_messages_max: int = 8_192
    outbox_bytes_max: int = 32 * 2**20
    chunk_bytes: int = 256 * 2**10
    chunks_ahead: int = 4
    content_bytes_per_s: int = 0
    content_bytes_max: int = 4 * 2**30
    content_answer_s: float = 15.0


def reconnect_pause_s(limits: TransportLimits, failures: int, random: Random) -> float:
    """How long to wait before a connection is tried again.

    Twice as long after each failure, up to a limit, and by chance down to half of it,
    so that nodes that lost the same peer do not all come back at once.
    """
    grown = limits.reconnect_s * 2.0 ** min(failures, 32)
    return min(limits.reconnect_max_s, grown) * random.uniform(0.5, 1.0)

"""Events as browsers read them: server-sent events, with ids to go on from. Pure."""

from __future__ import annotations

from dtf_dask.view.read_model import Event, EventId, Snapshot

HEARTBEAT = b": nothing new\n\n"
RETRY_MS = 1_000
"""After which a reader that was cut off comes back."""

_TAG_CHARS_MAX = 40


def written_id(id: EventId, tag: str) -> str:
    """When something was: ``term:index:tag``, the tag being that of the cluster.

    Examples
    --------
    >>> written_id(EventId(3, 1200), "9f2c"), read_id("3:1200:9f2c", "9f2c")
    ('3:1200:9f2c', EventId(term=3, index=1200))
    >>> read_id("3:1200:aaaa", "9f2c"), read_id("yesterday", "9f2c")
    (None, None)
    """
    return f"{id}:{tag}"


def read_id(text: str, tag: str) -> EventId | None:
    """What `written_id` wrote, here or on another node; None for anything else.

    The tag may be left out.
    """
    when, colon, named = text.rpartition(":")
    if colon and ":" in when and len(named) <= _TAG_CHARS_MAX:
        return EventId.of(when) if named == tag else None
    return EventId.of(text)


def change(event: Event, tag: str) -> bytes:
    """What changed."""
    return _event("changes", event.json, written_id(event.id, tag))


def whole(snapshot: Snapshot, tag: str) -> bytes:
    """All there is."""
    return _event("snapshot", snapshot.json, written_id(snapshot.id, tag))


def reset(why: str) -> bytes:
    """That what was seen is of no use; all there is follows."""
    return _event("reset", b'{"why":"%s"}' % why.encode())


def standing(json: bytes) -> bytes:
    """How the coordinators stand; it is no part of what ids number."""
    return _event("coordinators", json)


def _event(name: str, json: bytes, id: str = "") -> bytes:
    # JSON of one line, so that it is one line of data.
    head = f"id: {id}\nevent: {name}\ndata: " if id else f"event: {name}\ndata: "
    return head.encode() + json + b"\n\n"

"""The ids by which a run, its cases and attempts are known in traces. Pure.

They follow from the run's id, so that whoever knows that knows the trace: driver, test
process and whoever looks for it. As W3C's Trace Context has them.
"""

from __future__ import annotations

import hashlib
import re

VARIABLE = "TRACEPARENT"
"""The variable in which the context is, of who starts a run and of each test."""

_PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


def parent_of(text: str) -> tuple[str, str] | None:
    """The trace and the span that ``TRACEPARENT`` names; None if it makes no sense.

    Examples
    --------
    >>> parent_of(traceparent("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"))
    ('0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331')
    >>> parent_of("00-00000000000000000000000000000000-b7ad6b7169203331-01")
    """
    found = _PARENT.fullmatch(text)
    if found is None or not int(found[1], 16) or not int(found[2], 16):
        return None
    return found[1], found[2]


def traceparent(trace: str, span: str) -> str:
    """The context of a span, to be passed on."""
    return f"00-{trace}-{span}-01"


def trace_of(run_id: str, parent: str) -> str:
    """The trace of a run: that of who started it, or one of its own.

    Parameters
    ----------
    parent
        ``TRACEPARENT`` of who started it; empty for none.
    """
    known = parent_of(parent)
    return known[0] if known is not None else _digest(16, "trace", run_id)


def span_of(*names: str) -> str:
    """The span of a run, or of a case or an attempt of it."""
    return _digest(8, "span", *names)


def _digest(size: int, *words: str) -> str:
    text = "\0".join(words).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=size).hexdigest()

"""Keeps what a report carries within bounds, whatever a test made of it. Pure."""

from __future__ import annotations

from typing import Any

from dtf_dask.frames import encode

PROPERTY_BYTES_MAX = 256 * 1024
REPORT_BYTES_MAX = 8 * 2**20
_TEXT_CHARACTERS_MAX = 1024 * 1024
_NEEDED = ("$report_type", "nodeid", "location", "outcome", "when", "duration", "start")


def bound(data: dict[str, Any]) -> None:
    """Shorten a serialized report in place.

    A property over its limit is replaced by its size. A report that is still too
    long keeps its outcome and the ends of its text.
    """
    properties = data.get("user_properties")
    if properties:
        data["user_properties"] = [_bounded_property(entry) for entry in properties]
    if _size_at_most(data) <= REPORT_BYTES_MAX:
        return
    size = len(encode(data))
    if size <= REPORT_BYTES_MAX:
        return
    text = _text(data.get("longrepr"))
    if len(text) > _TEXT_CHARACTERS_MAX:
        half = _TEXT_CHARACTERS_MAX // 2
        cut = len(text) - 2 * half
        text = f"{text[:half]}\n[... {cut} characters cut ...]\n{text[-half:]}"
    needed = {name: data[name] for name in (*_NEEDED, "stop") if name in data}
    if data.get("$report_type") not in ("TestReport", "CollectReport", None):
        needed = dict(data)  # a plugin's own form: it knows what it needs
    data.clear()
    data.update(needed)
    data["longrepr"] = text or None
    data["keywords"], data["user_properties"] = {}, []
    note = f"the report had {size} bytes; the limit is {REPORT_BYTES_MAX}"
    data["sections"] = [["dtf", note]]


def _bounded_property(entry: Any) -> Any:
    size = len(encode(entry))
    if size <= PROPERTY_BYTES_MAX:
        return entry
    name = str(entry[0])[:200] if isinstance(entry, list | tuple) and entry else ""
    return [name, f"[{size} bytes; the limit is {PROPERTY_BYTES_MAX}]"]


def _size_at_most(value: Any, depth_left: int = 12) -> int:
    """Bytes that a value surely fits in when packed; cheap for the usual report."""
    if isinstance(value, str):
        return 4 * len(value) + 5
    if isinstance(value, bytes):
        return len(value) + 5
    if value is None or isinstance(value, bool | int | float):
        return 9 if not isinstance(value, int) or value.bit_length() <= 64 else 2**62
    if depth_left == 0:
        return 2**62
    if isinstance(value, dict):
        pairs = [part for pair in value.items() for part in pair]
        return 5 + sum(_size_at_most(part, depth_left - 1) for part in pairs)
    if isinstance(value, list | tuple):
        return 5 + sum(_size_at_most(part, depth_left - 1) for part in value)
    return 2**62


def _text(longrepr: Any) -> str:
    if longrepr is None or isinstance(longrepr, str):
        return longrepr or ""
    if isinstance(longrepr, dict):
        crash = longrepr.get("reprcrash") or {}
        entries = (longrepr.get("reprtraceback") or {}).get("reprentries") or ()
        lines = [
            str(line)
            for entry in entries
            for line in ((entry.get("data") or {}).get("lines") or ())
        ]
        return "\n".join([*lines, str(crash.get("message", ""))])
    return str(longrepr)

"""What is to be seen, as the window has it: of now, or of a past time. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dtf_dask.view.alerts import Alert, alerts
from dtf_dask.view.records import Record


class Picture:
    """The records, by kind.

    Attributes
    ----------
    at
        When it was so, by the clock of the coordinator that told it; 0 before.
    coordinators
        How they stand, as one of them says; empty before.
    """

    def __init__(self) -> None:
        self.at = 0.0
        self.coordinators: Mapping[str, Any] = {}
        self._kinds: dict[str, dict[str, Record]] = {}

    def replace(self, records: Mapping[str, Record]) -> frozenset[str]:
        """These are all there are; the kinds that may have changed."""
        touched = set(self._kinds)
        self._kinds = {}
        for key, record in records.items():
            self._kinds.setdefault(_kind(key), {})[key] = record
        return frozenset(touched | self._kinds.keys())

    def change(self, put: Mapping[str, Record], gone: set[str]) -> frozenset[str]:
        """Some were put, some are gone; the kinds that changed."""
        touched = set()
        for key, record in put.items():
            kind = _kind(key)
            self._kinds.setdefault(kind, {})[key] = record
            touched.add(kind)
        for key in gone:
            kind = _kind(key)
            if self._kinds.get(kind, {}).pop(key, None) is not None:
                touched.add(kind)
        return frozenset(touched)

    def get(self, key: str) -> Record | None:
        """A record, by its key."""
        return self._kinds.get(_kind(key), {}).get(key)

    def kind(self, kind: str) -> Mapping[str, Record]:
        """The records of a kind, by key; not to be changed."""
        return self._kinds.get(kind, {})

    def of_kind(self, kind: str) -> Iterator[tuple[str, Record]]:
        """The records of a kind, with their keys."""
        return iter(self.kind(kind).items())

    def records(self) -> dict[str, Record]:
        """All of them, in a map of one's own."""
        return {
            key: one for records in self._kinds.values() for key, one in records.items()
        }

    @property
    def cluster(self) -> Record | None:
        """The whole in some numbers."""
        return self.get("cluster")

    def alerts(self, now: float) -> list[Alert]:
        """What is wrong, the worst first."""
        return alerts(self, now, coordinators=_standing(self.coordinators))


def _kind(key: str) -> str:
    return key.partition("/")[0]


def _standing(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What rules look at of a coordinator, as far as it tells others."""
    items = told.get("items")
    if not isinstance(items, list) or "leader" not in told:
        return []
    rows = [one for one in items if isinstance(one, Mapping)]
    here = next((one for one in rows if one.get("here")), {})
    return [
        {
            "name": str(here.get("name", told.get("seen_by", ""))),
            "role": str(here.get("role", "")),
            "leader": told["leader"] or 0,
            "quorum_left": told.get("quorum_left"),
            "voters": [one.get("node") for one in rows if one.get("votes")],
        }
    ]

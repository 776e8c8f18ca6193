"""Files that an attempt left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtWidgets import QWidget

from monitor_app.models.language import mark, tr
from monitor_app.models.table import Column, RowsModel
from monitor_app.models.words import plain, size
from monitor_app.views.table_view import TableView
from monitor_app.views.theme import Theme

COLUMNS = (
    Column(mark("File"), lambda row: plain(row["name"]), width=50),
    Column(
        mark("Size"),
        lambda row: size(row["size_bytes"]),
        lambda row: row["size_bytes"],
        right=True,
        width=10,
    ),
    Column(mark("Digest"), lambda row: plain(row["digest"]), width=66),
)


class Artifacts(TableView):
    """Their names and sizes, and the digests by which they are kept."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        self.rows = RowsModel(COLUMNS, theme.brush)
        super().__init__(
            self.rows,
            theme,
            tr("Artifacts"),
            parent,
            stretched=0,
        )
        self.rows.setParent(self)

    def show_files(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Show these, as the API lists them."""
        found = {}
        for one in items:
            name = str(one["name"])
            row = {
                "name": name,
                "size_bytes": int(one["size_bytes"]),
                "digest": str(one.get("digest") or ""),
            }
            before = self.rows.row(self.rows.place(name))
            found[name] = before if before == row else row
        self.rows.show(found)

"""A table whose rows come, go and change places, told to Qt's views as it happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from PySide6.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QPersistentModelIndex,
    Qt,
)

from monitor_app.models.rows import ranges

K = TypeVar("K")
Index = QModelIndex | QPersistentModelIndex
NOWHERE = QModelIndex()

# Enums of Qt are slow to compare, and `data` is called by the thousand.
DISPLAY = int(Qt.ItemDataRole.DisplayRole)
TIP = int(Qt.ItemDataRole.ToolTipRole)
ALIGN = int(Qt.ItemDataRole.TextAlignmentRole)
FOREGROUND = int(Qt.ItemDataRole.ForegroundRole)
SPOKEN = int(Qt.ItemDataRole.AccessibleTextRole)
RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
LEFT = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
BAR = int(Qt.ItemDataRole.UserRole) + 1
"""The role of a share from 0 to 1 that is painted below the text."""
SQUARES = int(Qt.ItemDataRole.UserRole) + 2
"""The role of words that are painted as a row of squares; empty ones for nothing."""

_MOVES_MAX = 200
"""Of more ranges than that views are not told one by one: they look at all anew."""
_CHANGES_MAX = 50


class ArrangedModel(QAbstractTableModel, Generic[K]):
    """The rows that are shown, by their keys, in order."""

    _keys: list[K]

    def arrange(
        self, wanted: list[K], leave: Callable[[], None] = lambda: None
    ) -> None:
        """Show these, in this order.

        Whoever looks at what goes is told before; `leave` is called when nobody does
        any more.
        """
        if wanted == self._keys:
            leave()
            return
        there, staying = set(self._keys), set(wanted)
        gone = [*ranges([n for n, key in enumerate(self._keys) if key not in staying])]
        new = [*ranges([n for n, key in enumerate(wanted) if key not in there])]
        if len(gone) + len(new) > _MOVES_MAX:
            self.beginResetModel()
            self._keys = wanted
            leave()
            self.endResetModel()
            return
        for start, end in reversed(gone):
            self.beginRemoveRows(NOWHERE, start, end)
            del self._keys[start : end + 1]
            self.endRemoveRows()
        leave()
        self._permute([key for key in wanted if key in there] if new else wanted)
        for start, end in new:
            self.beginInsertRows(NOWHERE, start, end)
            self._keys[start:start] = wanted[start : end + 1]
            self.endInsertRows()

    def told(self, places: Sequence[int]) -> None:
        """What stands in these rows changed; they rise."""
        found = [*ranges(places)]
        if len(found) > _CHANGES_MAX:
            found = [(places[0], places[-1])]
        last = self.columnCount() - 1
        for start, end in found:
            self.dataChanged.emit(self.index(start, 0), self.index(end, last))

    def recolour(self) -> None:
        """The theme is another."""
        if self._keys:
            self.told(range(len(self._keys)))

    def rowCount(self, parent: Index = NOWHERE) -> int:
        """How many rows are shown (Qt asks)."""
        return 0 if parent.isValid() else len(self._keys)

    def _permute(self, wanted: list[K]) -> None:
        if wanted == self._keys:
            return
        self.layoutAboutToBeChanged.emit()
        held = self.persistentIndexList()
        keys = [self._keys[one.row()] for one in held]
        self._keys = list(wanted)
        if held:
            places = {key: n for n, key in enumerate(wanted)}
            moved = [
                self.index(places[key], one.column())
                for key, one in zip(keys, held, strict=True)
            ]
            self.changePersistentIndexList(held, moved)
        self.layoutChanged.emit()

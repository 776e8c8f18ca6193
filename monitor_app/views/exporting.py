"""Saves what is shown: the table, a chart, the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QAbstractItemModel, Qt
from PySide6.QtWidgets import QApplication, QFileDialog, QWidget

from dtf_dask.errors import UsageError
from monitor_app.models.arranged import DISPLAY
from monitor_app.models.cases import CasesModel
from monitor_app.models.exports import run_report, write_table
from monitor_app.models.language import tr
from monitor_app.models.session import Session
from monitor_app.models.table import RowsModel
from monitor_app.models.words import count, plain
from monitor_app.views.chart import Chart
from monitor_app.views.table_view import TableView

_HORIZONTAL = Qt.Orientation.Horizontal


def table_of(view: QWidget) -> TableView | None:
    """The table that somebody works in, or the last one of the view."""
    found = [one for one in view.findChildren(TableView) if one.isVisible()]
    focused = QApplication.focusWidget()
    return next((one for one in found if one is focused), found[-1] if found else None)


def save_table(table: TableView, path: Path) -> None:
    """Save what a table shows; UsageError if it cannot be."""
    model = table.model()
    if isinstance(model, CasesModel):
        titles = ["outcome", "case", "seconds", "attempts"]
        rows: Any = ((what, id, took, n) for id, what, took, n in model.rows())
    else:
        columns = range(model.columnCount())
        titles = [str(model.headerData(n, _HORIZONTAL, DISPLAY)) for n in columns]
        rows = (
            [_value(model, row, n) for n in columns] for row in range(model.rowCount())
        )
    write_table(path, titles, rows)


def saving(parent: QWidget, title: str, name: str, kinds: str) -> QFileDialog:
    """Asks where to save something: what is chosen as its kind is its suffix, too."""
    dialog = QFileDialog(parent, title, "", kinds)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setDefaultSuffix(Path(name).suffix)
    dialog.selectFile(name)

    def chosen(kind: str) -> None:
        suffix = kind.partition("*")[2].rstrip(")")
        dialog.setDefaultSuffix(suffix)
        known = Path(dialog.selectedFiles()[0])
        dialog.selectFile(str(known.with_suffix(suffix)))

    dialog.filterSelected.connect(chosen)
    return dialog


def _value(model: QAbstractItemModel, row: int, column: int) -> Any:
    """A number as such, whatever else as it is shown."""
    found = model.value(row, column) if isinstance(model, RowsModel) else None
    return (
        str(model.data(model.index(row, column), DISPLAY)) if found is None else found
    )


class Exporting:
    """Asks where to, saves, and says what came of it.

    Parameters
    ----------
    parent
        The window; it has `note`.
    """

    def __init__(self, session: Session, parent: Any) -> None:
        self._session, self._parent = session, parent

    def table(self, view: QWidget) -> None:
        """Save the table of a view."""
        table = table_of(view)
        if table is None:
            self._parent.note(tr("There is no table here."))
            return
        name = f"{table.accessibleName().lower().replace(' ', '-')}.csv"
        kinds = "CSV (*.csv);;Parquet (*.parquet)"
        path = self._where(tr("Save the table"), name, kinds)
        if path is not None:
            try:
                save_table(table, path)
            except UsageError as error:
                self._parent.note(plain(error))
            else:
                self._saved(path)

    def chart(self, chart: Chart) -> None:
        """Save a chart."""
        name = f"{chart.accessibleName().lower().replace(' ', '-')}.png"
        path = self._where(tr("Save the chart"), name, "PNG (*.png);;SVG (*.svg)")
        if path is None:
            return
        if chart.save(str(path)):
            self._saved(path)
        else:
            self._parent.note(tr("{path} cannot be written", path=plain(path)))

    def run(self, run: str) -> None:
        """Save a run as an HTML report."""
        path = self._where(tr("Save the run"), f"{run}.html", "HTML (*.html)")
        if path is not None:
            self.run_to(run, path)

    def run_to(self, run: str, path: Path) -> None:
        """Save a run there."""

        def told(part: Mapping[str, Any]) -> None:
            if "path" in part:
                self._saved(path)
            else:
                words = tr(
                    "{run}: {n} of {m} cases are read",
                    run=plain(run),
                    n=count(part["done"]),
                    m=count(part["of"]),
                )
                self._parent.note(words)

        self._session.ask(run_report(run, path), told, self._parent.note)

    def _saved(self, path: Path) -> None:
        self._parent.note(tr("Saved: {path}", path=plain(path)))

    def _where(self, title: str, name: str, kinds: str) -> Path | None:
        dialog = saving(self._parent, title, name, kinds)
        found = dialog.selectedFiles() if dialog.exec() else []
        dialog.deleteLater()
        return Path(found[0]) if found else None

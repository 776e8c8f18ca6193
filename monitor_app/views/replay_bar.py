"""Rewinds the whole window to a past time, steps, plays, and returns to now."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import (
    QComboBox,
    QFrame,
    QHBoxLayout,
    QPushButton,
    QSlider,
    QWidget,
)

from monitor_app.models.language import tr
from monitor_app.models.recording import Recording
from monitor_app.models.words import clock, duration
from monitor_app.views.card import label

SPEEDS = (1, 10, 60)


class ReplayBar(QFrame):
    """The bar below the views."""

    def __init__(self, recording: Recording, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("card")
        self.setAccessibleName(tr("Looking back"))
        self._recording = recording
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 6, 12, 6)
        self.back = self._button("◂", tr("The change before"), self._step_back)
        self.play = self._button("▸▸", tr("Let it go on"), self._play)
        self.play.setCheckable(True)
        self.on = self._button("▸", tr("The change after"), self._step_on)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName(tr("Time that is looked at"))
        self.slider.valueChanged.connect(self._slid)
        self.speed = QComboBox()
        self.speed.setAccessibleName(tr("Speed"))
        for speed in SPEEDS:
            self.speed.addItem(f"× {speed}", speed)
        self.speed.setCurrentIndex(SPEEDS.index(recording.speed))
        self.speed.currentIndexChanged.connect(self._speed_chosen)
        self.said = label()
        self.said.setMinimumWidth(self.fontMetrics().averageCharWidth() * 30)
        self.now = QPushButton(tr("Back to now (Ctrl+L)"))
        self.now.clicked.connect(recording.now)
        for one in (self.back, self.play, self.on):
            row.addWidget(one)
        row.addWidget(self.slider, 1)
        row.addWidget(self.speed)
        row.addWidget(self.said)
        row.addWidget(self.now)
        recording.moved.connect(self._show)

    def begin(self) -> None:
        """Look at the last time that is kept."""
        self.show()
        end = self._recording.past.end
        if self._recording.at is None and end is not None:
            self._recording.look(end)
        self.slider.setFocus()
        self._show()

    def _button(self, text: str, name: str, call: Callable[[], object]) -> QPushButton:
        button = QPushButton(text)
        button.setAccessibleName(name)
        button.setToolTip(name)
        button.clicked.connect(lambda: call())
        return button

    def _step_back(self) -> None:
        self._recording.step(-1)

    def _step_on(self) -> None:
        self._recording.step(1)

    def _play(self) -> None:
        self._recording.play(self.play.isChecked())

    def _speed_chosen(self, which: int) -> None:
        self._recording.speed = SPEEDS[which]

    def _slid(self, seconds: int) -> None:
        start = self._recording.past.start
        if start is not None:
            self._recording.look(start + seconds)

    def _show(self) -> None:
        if not self.isVisible():
            return
        recording = self._recording
        at, start, end = recording.at, recording.past.start, recording.past.end
        there = start is not None and end is not None
        for one in (self.back, self.on, self.play, self.slider):
            one.setEnabled(there)
        self.play.setChecked(recording.playing)
        self.now.setEnabled(at is not None)
        if start is None or end is None:
            self.said.setText(tr("Nothing is kept yet."))
            return
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, max(1, round(end - start)))
            self.slider.setPageStep(60)
            self.slider.setValue(round((end if at is None else at) - start))
        if at is None:
            text = tr("{span} are kept", span=duration(end - start))
        else:
            ago = duration(max(0.0, round(end - at)))
            text = tr("{time}, {ago} ago", time=clock(at), ago=ago)
        self.said.setText(text)

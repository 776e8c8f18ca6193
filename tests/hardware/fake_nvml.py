"""NVML without a GPU: what is used of the module ``pynvml``, answered from a list."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

LOST, NOT_SUPPORTED, NOT_FOUND, NO_LIBRARY, MISMATCH = 15, 3, 6, 12, 18


class FakeError(Exception):
    """As `pynvml.NVMLError`: a code, and words for it."""

    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


class NVMLLibraryMismatchError(Exception):
    """As pynvml's, which has no code."""


@dataclass
class Card:
    """One GPU; ``error`` is what every question about it is answered with."""

    uuid: str
    name: str = "NVIDIA H100 80GB HBM3"
    memory: int | None = 80 * 2**30
    capability: tuple[int, int] = (9, 0)
    reasons: int = 0
    celsius: int = 40
    busy: int = 75
    held: dict[int, int] = field(default_factory=dict)
    error: int = 0
    parts: list[Card] | None = None


@dataclass
class FakeNvml:
    cards: list[Card]
    init_error: int = 0
    opened: int = 0
    closed: int = 0
    calls: list[str] = field(default_factory=list)

    def nvmlInit(self) -> None:
        if self.init_error:
            raise FakeError(self.init_error)
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.closed += 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return "550.54.15"

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return 12040

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Card:
        return self._there(self.cards[index])

    def nvmlDeviceGetUUID(self, card: Card) -> str:
        return self._there(card).uuid

    def nvmlDeviceGetName(self, card: Card) -> str:
        return self._there(card).name

    def nvmlDeviceGetMemoryInfo(self, card: Card) -> Any:
        if self._there(card).memory is None:
            raise FakeError(NOT_SUPPORTED)
        return SimpleNamespace(total=card.memory, used=sum(card.held.values()))

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Card:
        (found,) = (card for card in self.cards if card.uuid == uuid)
        return self._there(found)

    def nvmlDeviceGetUtilizationRates(self, card: Card) -> Any:
        return SimpleNamespace(gpu=self._there(card).busy)

    def nvmlDeviceGetComputeRunningProcesses(self, card: Card) -> list[Any]:
        return [
            SimpleNamespace(pid=pid, usedGpuMemory=size)
            for pid, size in self._there(card).held.items()
        ]

    def nvmlDeviceGetGraphicsRunningProcesses(self, card: Card) -> list[Any]:
        raise NVMLLibraryMismatchError("this driver has another version of it")

    def nvmlDeviceGetCudaComputeCapability(self, card: Card) -> tuple[int, int]:
        return self._there(card).capability

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, card: Card) -> int:
        return self._there(card).reasons

    def nvmlDeviceGetTemperature(self, card: Card, sensor: int) -> int:
        return self._there(card).celsius

    def nvmlDeviceGetMigMode(self, card: Card) -> list[int]:
        if self._there(card).parts is None:
            raise FakeError(NOT_SUPPORTED)
        return [1, 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, card: Card) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, card: Card, place: int) -> Card:
        if place >= len(card.parts or ()):
            raise FakeError(NOT_FOUND)
        return (card.parts or [])[place]

    def _there(self, card: Card) -> Card:
        if card.error:
            raise FakeError(card.error)
        return card

"""NVIDIA's GPUs: what is said of them, and what of one that is not there any more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_nvml import LOST, MISMATCH, NO_LIBRARY, Card, FakeNvml
from nvidia_driver import with_driver

from dtf_dask.worker_plugins.hardware.gpu import GpuProbe
from dtf_dask.worker_plugins.hardware.gpu_choice import architecture


def probe(
    nvml: FakeNvml | None, visible: str | None = None, driver: Path = Path("/absent")
) -> GpuProbe:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    return GpuProbe(lambda: nvml, environment, driver)


def states(one: GpuProbe) -> list[tuple[str, int, str]]:
    return [(gpu.id, gpu.index, gpu.state) for gpu in one.sight.gpus]


def test_what_is_said_of_gpus() -> None:
    """Count, the least memory, the sum, the driver's versions, NVIDIA's name."""
    one = probe(FakeNvml([Card("GPU-a"), Card("GPU-b", memory=40 * 2**30)]))
    assert one.facts() == {
        "gpu.count": 2,
        "gpu.model": "NVIDIA H100 80GB HBM3",
        "gpu.throttled": False,
        "gpu.capability": "9.0",
        "gpu.arch": "hopper",
        "gpu.memory": 40 * 2**30,
        "gpu.memory_total": 120 * 2**30,
        "gpu.driver": "550.54.15",
        "gpu.cuda": "12.4",
    }
    assert states(one) == [("GPU-a", 0, "ok"), ("GPU-b", 1, "ok")]


def test_a_mixed_worker_is_as_good_as_its_weakest_gpu() -> None:
    """A task may be given any of them, so it is promised no more than the worst."""
    old = Card("GPU-old", "Tesla V100", 32 * 2**30, (7, 0))
    facts = probe(FakeNvml([Card("GPU-new"), old])).facts()
    assert (facts["gpu.model"], facts["gpu.arch"]) == ("Tesla V100", "volta")
    assert facts["gpu.capability"] == "7.0"


def test_without_a_driver_there_are_no_gpus_and_no_problem() -> None:
    """Most machines have none; that is nothing to complain about."""
    for nvml in (None, FakeNvml([], NO_LIBRARY)):
        one = probe(nvml)
        assert one.facts() == {"gpu.count": 0}
        assert one.sight.problems == ()


def test_a_driver_that_cannot_be_asked_is_a_problem(tmp_path: Path) -> None:
    """Where the kernel has a driver, somebody expects GPUs."""
    for nvml in (None, FakeNvml([], NO_LIBRARY)):
        one = probe(nvml, driver=tmp_path)
        assert one.facts() == {"gpu.count": 0}
        assert len(one.sight.problems) == 1
    one = probe(FakeNvml([], MISMATCH))
    assert one.facts() == {"gpu.count": 0}
    assert one.sight.problems == (f"NVIDIA's driver: NVML error {MISMATCH}",)


def test_a_lost_gpu_is_shown_as_lost_and_counts_for_nothing() -> None:
    """It keeps its name and its number; its last values are no facts any more."""
    cards = [Card("GPU-a"), Card("GPU-b", memory=2**30)]
    nvml = FakeNvml(cards)
    one = probe(nvml)
    one.facts()
    cards[1].error = LOST
    facts = one.facts()
    assert (facts["gpu.count"], facts["gpu.memory"]) == (1, 80 * 2**30)
    assert states(one) == [("GPU-a", 0, "ok"), ("GPU-b", 1, "lost")]
    assert one.sight.gpus[1].celsius is None
    assert one.sight.problems == (f"GPU 1: NVML error {LOST}",)
    cards[1].error = 0
    assert one.facts()["gpu.count"] == 2
    assert states(one)[1] == ("GPU-b", 1, "ok")
    assert nvml.opened == 2, "the driver was not asked to list its devices anew"


def test_a_gpu_that_fell_off_the_bus_is_lost() -> None:
    """The driver counts what is left from 0; the numbers stay different here."""
    nvml = FakeNvml([Card("GPU-a"), Card("GPU-b")])
    one = probe(nvml)
    one.facts()
    del nvml.cards[0]
    assert one.facts()["gpu.count"] == 1
    assert states(one) == [("GPU-b", 0, "ok"), ("GPU-a", 1, "lost")]
    assert one.facts()["gpu.count"] == 1
    assert states(one) == [("GPU-b", 0, "ok"), ("GPU-a", 1, "lost")]


def test_a_driver_that_dies_loses_all_gpus() -> None:
    """None is shown as it was before."""
    nvml = FakeNvml([Card("GPU-a")])
    one = probe(nvml)
    one.facts()
    nvml.cards[0].error = 999
    nvml.init_error = MISMATCH
    for _ in range(2):
        assert one.facts() == {"gpu.count": 0}
        assert states(one) == [("GPU-a", 0, "lost")]
    assert one.sight.without_answer().gpus[0].state == "lost"


@pytest.mark.parametrize(("reasons", "state"), [(0x04, "ok"), (0x40, "throttled")])
def test_heat_is_throttling_and_a_power_cap_is_not(reasons: int, state: str) -> None:
    """A GPU under full load reaches its power cap: that is how it is meant to run."""
    one = probe(FakeNvml([Card("GPU-a", reasons=reasons)]))
    assert one.facts()["gpu.throttled"] is (state == "throttled")
    assert states(one) == [("GPU-a", 0, state)]


def test_a_gpu_without_memory_of_its_own_says_none() -> None:
    """Its memory is the machine's: no fact is better than a wrong one."""
    facts = probe(FakeNvml([Card("GPU-a", memory=None)])).facts()
    assert facts["gpu.count"] == 1
    assert "gpu.memory" not in facts


@pytest.mark.parametrize(
    ("variable", "ids"),
    [
        (None, ["GPU-aa", "GPU-ab", "GPU-c"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("2,0", ["GPU-aa", "GPU-c"]),
        ("1,-1,2", ["GPU-ab"]),
        ("1,9,2", ["GPU-ab"]),
        ("GPU-c, 0", ["GPU-aa", "GPU-c"]),
        ("GPU-a", []),
        ("0,0", ["GPU-aa"]),
    ],
)
def test_the_visible_devices_are_those_of_cuda(
    variable: str | None, ids: list[str]
) -> None:
    """Numbers, UUIDs or their unique beginnings, up to the first that names none."""
    one = probe(FakeNvml([Card("GPU-aa"), Card("GPU-ab"), Card("GPU-c")]), variable)
    assert one.facts()["gpu.count"] == len(ids)
    assert [gpu.id for gpu in one.sight.gpus] == ids


def test_a_lost_gpu_does_not_shift_the_numbers_of_the_others() -> None:
    """``1`` names the second GPU whether or not the first answers."""
    nvml = FakeNvml([Card("GPU-a", error=LOST), Card("GPU-b")])
    one = probe(nvml, "0,1")
    assert one.facts()["gpu.count"] == 1
    assert states(one) == [("GPU-b", 1, "ok")]


@pytest.mark.parametrize(
    ("variable", "ids"),
    [
        (None, ["MIG-1"]),
        ("0", ["MIG-1"]),
        ("MIG-2,MIG-1", ["MIG-1", "MIG-2"]),
        ("GPU-a", []),
    ],
)
def test_of_a_gpu_cut_by_mig_there_are_its_instances(
    variable: str | None, ids: list[str]
) -> None:
    """The GPU itself cannot be used; unnamed, CUDA shows the first instance only."""
    parts = [Card("MIG-1", "H100 MIG 1g.10gb", 10 * 2**30)]
    parts.append(Card("MIG-2", "H100 MIG 2g.20gb", 20 * 2**30))
    one = probe(FakeNvml([Card("GPU-a", parts=parts)]), variable)
    facts = one.facts()
    assert [gpu.id for gpu in one.sight.gpus] == ids
    assert facts["gpu.count"] == len(ids) == len({g.index for g in one.sight.gpus})
    if ids:
        assert facts["gpu.memory"] == 10 * 2**30


@pytest.mark.parametrize(
    ("capability", "name"),
    [((12, 0), "blackwell"), ((8, 6), "ampere"), ((7, 2), "volta"), ((2, 0), None)],
)
def test_names_of_architectures(capability: tuple[int, int], name: Any) -> None:
    """By compute capability; what is too old has none."""
    assert architecture(capability) == name


def test_the_drivers_own_library_is_asked(tmp_path: Path) -> None:
    """`pynvml` over a library of NVIDIA's name: one GPU answers, one is lost.

    The library knows nothing of throttling and MIG, as an old driver.
    """
    environment = os.environ | with_driver(tmp_path)
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    code = "from dtf_dask.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, "hardware", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    advert = json.loads(done.stdout)
    gpu = {name: v for name, v in advert["facts"].items() if name.startswith("gpu.")}
    assert gpu == {
        "gpu.count": 1,
        "gpu.model": "Fake A100",
        "gpu.arch": "ampere",
        "gpu.capability": "8.0",
        "gpu.driver": "535.1",
        "gpu.cuda": "12.2",
        "gpu.memory": 40 * 2**30,
        "gpu.memory_total": 40 * 2**30,
        "gpu.throttled": False,
    }
    assert advert["gpus"] == [
        {
            "id": "GPU-11111111",
            "index": 0,
            "model": "Fake A100",
            "memory": 40 * 2**30,
            "state": "ok",
        }
    ]
    assert "GPU 1: GPU is lost" in advert["problems"]

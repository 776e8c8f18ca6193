"""Runs whose tests ask for hardware, over workers of this machine and elsewhere."""

from __future__ import annotations

import json

from dtf_process import attempts, dtf, run, suite
from nvidia_driver import with_driver

_ASKING = """
import json, os, pathlib, pytest, time

def note(name):
    began = time.monotonic()
    time.sleep(0.3)
    seen = [os.environ.get("CUDA_VISIBLE_DEVICES"), began, time.monotonic()]
    pathlib.Path(name + ".json").write_text(json.dumps(seen))

@pytest.mark.dtf(gpus=1)
@pytest.mark.parametrize("n", range(3))
def test_gpu(n):
    file = pathlib.Path(os.environ["DTF_TEST_GPU_MEMORY"])
    read = file.with_suffix(".read")
    file.write_text(f"1 5\\n{os.getpid()} {n + 1}000000\\n")
    note(f"gpu{n}")
    for _ in range(2 if n == 1 else 0):  # what was read first is kept by the second
        read.unlink(missing_ok=True)
        while not read.exists(): time.sleep(0.02)
    file.unlink()

@pytest.mark.dtf(hardware="gpu.count >= 2")
def test_two_gpus(): note("two")

def test_any(): note("any")
"""


def test_tests_get_the_gpu_that_there_is(tmp_path):
    """One at a time, each sees it and no other; what fits nowhere is said to be lost.

    All workers of the machine have the one GPU together. How much of its memory a test
    had is kept, if it was there for long enough to be seen.
    """
    environment = with_driver(tmp_path) | {"CUDA_VISIBLE_DEVICES": "0"}
    folder = suite(tmp_path / "suite", test_s=_ASKING)
    ended = run(folder, dtf("run", "-n", "2"), **environment)
    assert ended.code == 1, ended.out
    assert "1 failed, 4 passed" in ended.out, ended.out
    assert "no worker fits: needs gpu.count >= 2, has 1 (2 workers)" in ended.out
    seen = {p.stem: json.loads(p.read_text()) for p in folder.glob("*.json")}
    assert seen["any"][0] == "0"
    (kept,) = attempts(folder)["test_s.py::test_gpu[1]"]
    assert kept.gpu_memory == 2_000_000
    spans = []
    for n in range(3):
        visible, began, ended_at = seen[f"gpu{n}"]
        assert visible == "GPU-11111111"
        spans.append((began, ended_at))
    spans.sort()
    assert spans[0][1] <= spans[1][0]
    assert spans[1][1] <= spans[2][0]


_ORDERED = """
import pytest

@pytest.mark.dtf(after=["test_s.py::test_b"])
def test_a(): pass

@pytest.mark.dtf(priority_class="nightly")
def test_b(): pass

@pytest.mark.dtf(priority_class="interactive")
def test_c(): pass

@pytest.mark.dtf(retries=1)
def test_flaky(tmp_path_factory):
    import pathlib
    seen = pathlib.Path("seen")
    first = not seen.exists()
    seen.touch()
    assert not first
"""


def test_classes_order_and_retries_of_single_tests(tmp_path):
    """The urgent one first; after= waits; a test's own retries count."""
    folder = suite(tmp_path / "suite", test_s=_ORDERED)
    ended = run(folder, dtf("run", "-n", "1", "-v"))
    assert ended.code == 0, ended.out
    tries = attempts(folder)
    order = sorted(tries, key=lambda name: tries[name][0].started_at)
    names = [name.partition("::")[2] for name in order]
    assert names.index("test_c") == 0
    assert names.index("test_b") < names.index("test_a")
    assert [one.outcome.value for one in tries["test_s.py::test_flaky"]] == [
        "failed",
        "passed",
    ]


def test_what_cannot_be_asked_is_said_before_anything_runs(tmp_path):
    """Unreadable demands, classes that are none, circles: exit code 4."""
    for number, (mark, words) in enumerate(
        (
            ('hardware="gpu.cout >= 1"', "did you mean 'gpu.count'?"),
            ('priority_class="nihgtly"', "did you mean 'nightly'?"),
            ('after=["test_s.py::test_x"]', "wait for each other in a circle"),
            ('after=["test_s.py::test_y"]', "there is no such case"),
        )
    ):
        text = f"import pytest\n\n@pytest.mark.dtf({mark})\ndef test_x(): pass\n"
        folder = suite(tmp_path / str(number), test_s=text)
        ended = run(folder, dtf("run", "-n", "1"))
        assert ended.code == 4, ended.out
        assert words in ended.out
        assert not (folder / ".dtf" / "results.sqlite").exists()

"""The account of batches that are out: each case ends once, or comes back."""

from __future__ import annotations

from dtf_dask.runs.out_batches import OutBatches


class Released:
    def __init__(self) -> None:
        self.times = 0

    def release(self) -> None:
        self.times += 1


def test_a_case_ends_once() -> None:
    """A second report of a case, or one of a batch that is over, is no news."""
    out, future = OutBatches(), Released()
    out.begin(7, [3, 4, 5], "gw0", future)
    assert (7 in out, out.slot(7), out.left(7)) == (True, "gw0", [3, 4, 5])
    assert [out.take(7, 4), out.take(7, 4), out.take(7, 9)] == [True, False, False]
    assert out.take_back(7, [5, 9]) == [5]
    assert out.end(7) == [3]
    assert future.times == 1
    assert (7 in out, out.take(7, 3), out.end(7), out.slot(7)) == (False, False, [], "")


def test_a_batch_has_begun_when_a_case_of_it_ended() -> None:
    """What is taken back from it, or comes when it is over, says nothing of that."""
    out = OutBatches()
    out.begin(1, [3, 4, 5], "gw0", Released())
    assert out.take_back(1, [5]) == [5]
    assert not out.has_begun(1)
    out.take(1, 3)
    assert out.has_begun(1)
    out.end(1)
    out.take(1, 4)
    assert not out.has_begun(1)


def test_all_end() -> None:
    """At the end of a run every future is released."""
    out, futures = OutBatches(), [Released(), Released()]
    for batch, future in enumerate(futures):
        out.begin(batch, [batch], "gw0", future)
    out.end_all()
    assert [future.times for future in futures] == [1, 1]
    assert 0 not in out

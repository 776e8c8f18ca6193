"""Huge operations are taken in without a search for garbage, and said to take long."""

from __future__ import annotations

import gc
from collections.abc import Generator

import pytest

from dtf_dask.standby.huge import HUGE_BYTES, in_turns, uncollected


def turns(seen: list[bool]) -> Generator[None, None, None]:
    for _ in range(3):
        seen.append(gc.isenabled())
        yield
    seen.append(gc.isenabled())


@pytest.mark.parametrize(("size", "is_huge"), [(HUGE_BYTES, True), (100, False)])
def test_what_is_huge_is_not_looked_at_by_the_collector(
    size: int, is_huge: bool
) -> None:
    """Nor is what was made; each turn that follows a pause is said to take long."""
    seen: list[bool] = []
    said: list[float] = []
    frozen = gc.get_freeze_count()
    try:
        with uncollected(HUGE_BYTES if is_huge else 0):  # as its bytes are read
            assert len(list(in_turns(turns(seen), size, said.append))) == 3
            assert gc.isenabled() is not is_huge
        assert seen == [not is_huge] * 4
        assert len(said) == (3 if is_huge else 0)
        assert (gc.get_freeze_count() > frozen) is is_huge
        assert gc.isenabled()
    finally:
        gc.unfreeze()


def test_the_collector_works_again_after_a_failure() -> None:
    """An operation that cannot be acted on changes nothing for those after it."""
    try:
        with pytest.raises(ValueError, match="no"), uncollected(HUGE_BYTES):
            raise ValueError("no")
        assert gc.isenabled()
    finally:
        gc.unfreeze()

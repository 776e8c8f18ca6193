"""The list of bugs fits the core as it is; `mutate_raft.py` tries them."""

from __future__ import annotations

from collections import Counter

import pytest
from mutate_raft import ROOT, patched
from raft_mutations import MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_each_bug_can_be_written(mutation: Mutation) -> None:
    """Its place is in the source just once, and what comes out is Python."""
    path = ROOT / f"dtf_dask/ha/raft/{mutation.module}.py"
    source = path.read_text("utf-8")
    changed = patched(mutation, source)
    assert changed != source
    compile(changed, str(path), "exec")


def test_bugs_have_names_of_their_own() -> None:
    """There are enough of them, and the table can be read."""
    names = Counter(mutation.name for mutation in MUTATIONS)
    assert max(names.values()) == 1
    assert len(names) >= 40

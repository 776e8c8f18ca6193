"""Whole groups of nodes, message by message, as the data files say."""

from __future__ import annotations

from pathlib import Path

import pytest
from raft_datadriven import SHARED, WHY_SKIPPED, directives, files, without_log
from raft_group import Group

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason=WHY_SKIPPED)


@pytest.mark.parametrize("path", files("interaction"), ids=lambda path: path.stem)
def test_groups_agree_with_the_files(path: Path) -> None:
    """Each directive prints what the file says, byte for byte, but for the log."""
    group = Group()
    for one in directives(path):
        printed = group.handle(one)
        expected = without_log(one.expected)
        if not expected:
            # The other library printed nothing but its log.
            expected = ["ok"]
        assert printed == expected, f"{one.place}: {one.command}"

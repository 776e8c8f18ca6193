"""What the tests of the web process share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from site_room import SiteRoom, site_room


@pytest.fixture
def room(tmp_path: Path) -> Iterator[SiteRoom]:
    """A site that is served; it has not been told anything."""
    with site_room(tmp_path) as one:
        yield one

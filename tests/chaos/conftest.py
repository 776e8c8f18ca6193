"""What is tried here is checked by the checker in ``tests/ha``."""

from __future__ import annotations

import sys
from pathlib import Path

_HA = str(Path(__file__).parents[1] / "ha")
if _HA not in sys.path:
    sys.path.append(_HA)

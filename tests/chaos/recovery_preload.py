"""A preload of schedulers that fails while a drill says so."""

import os
from pathlib import Path

if Path(os.environ["DTF_DRILL"], "crashes").exists():
    raise RuntimeError("a preload that fails, as the drill has it")

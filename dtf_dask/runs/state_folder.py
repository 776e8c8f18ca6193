"""The folder ``.dtf`` of a project, where results and artifacts are by default."""

from __future__ import annotations

import time
import uuid
from pathlib import Path


def state_folder(root: Path) -> Path:
    """The folder, made if it can be; version control is told to leave it alone."""
    folder = root / ".dtf"
    try:
        folder.mkdir(exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError:
        pass  # the recorder says so, and spools elsewhere
    return folder


def new_run_id() -> str:
    """An id that sorts by time and that nobody else has."""
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + uuid.uuid4().hex[:6]

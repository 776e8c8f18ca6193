"""Output over the limit goes to a file; head and tail stay where people look."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from pathlib import Path


class Spill:
    """Keeps texts bounded.

    Parameters
    ----------
    folder
        Where whole texts are written. Whoever started the runner takes them away.
    inline_limit
        Characters that stay inline.
    """

    def __init__(self, folder: str, inline_limit: int) -> None:
        self._folder = Path(folder)
        self._limit = inline_limit

    def bounded(self, text: str, name: str, artifacts: list[dict[str, object]]) -> str:
        """``text``, or its two ends when it is long; then the whole is an artifact."""
        if len(text) <= self._limit:
            return text
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "output"
        path = self._folder / f"{uuid.uuid4().hex}.txt"
        try:
            with open(path, "wb") as file:
                for start in range(0, len(text), 2**20):
                    piece = text[start : start + 2**20]
                    file.write(piece.encode("utf-8", "surrogatepass"))
            size = path.stat().st_size
            artifacts.append({"name": f"{slug}.txt", "file": path.name, "size": size})
            where = f"all of it is the artifact {slug}.txt"
        except (OSError, UnicodeEncodeError) as error:
            _remove(path)
            where = f"the whole could not be kept: {error}"
        half = self._limit // 2
        cut = len(text) - 2 * half
        return f"{text[:half]}\n[... {cut} characters cut; {where} ...]\n{text[-half:]}"

    def take(self, source: Path, name: str, artifacts: list[dict[str, object]]) -> str:
        """Keep a copy of a file that a test made, under the name that it gave.

        The result says why that was not possible; "" if it was.
        """
        path = self._folder / uuid.uuid4().hex
        try:
            shutil.copyfile(source, path)
            size = path.stat().st_size
            artifacts.append({"name": name, "file": path.name, "size": size})
        except OSError as error:
            _remove(path)
            return f"{name}: {error}"
        return ""


def _remove(path: Path) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass

"""The files of the pages: ours and BokehJS, as they are sent. No Bokeh is loaded.

Their addresses hold a digest of what is in them, so that browsers keep them, and pages
of two versions never mix.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

FOLDER = Path(__file__).parent / "static"
SHELL = "index.html"
WORKER = "feed_worker.js"
BOKEH = ("bokeh.min.js", "bokeh-api.min.js")

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_GZIP_LEVEL = 6


@dataclass(frozen=True)
class Asset:
    """A file."""

    body: bytes
    content_type: str

    @cached_property
    def gzipped(self) -> bytes:
        """The same, smaller."""
        return gzip.compress(self.body, _GZIP_LEVEL, mtime=0)


class Assets:
    """All of them, by the folder and the name under which they are asked for."""

    def __init__(self) -> None:
        own = {
            path.name: path.read_bytes()
            for path in sorted(FOLDER.iterdir())
            if path.suffix in _TYPES
        }
        digest = hashlib.blake2b(digest_size=6)
        for name, body in own.items():
            digest.update(b"%b %d " % (name.encode(), len(body)) + body)
        self.own = f"static-{digest.hexdigest()}"
        self.bokeh = f"bokeh-{version('bokeh')}"
        shell = own.pop(SHELL).decode()
        # Else a browser learns of each when it has read who imports it.
        preload = '<link rel="modulepreload" href="/dtf/{own}/%s">'
        modules = [name for name in own if name.endswith(".js") and name != WORKER]
        shell = shell.replace("{modules}", "\n".join(preload % one for one in modules))
        for name, folder in (("{own}", self.own), ("{bokeh}", self.bokeh)):
            shell = shell.replace(name, folder)
        self.shell = Asset(shell.encode(), _TYPES[".html"])
        self._files = {
            (self.own, name): Asset(body, _TYPES[Path(name).suffix])
            for name, body in own.items()
        }

    def get(self, folder: str, name: str) -> Asset | None:
        """A file, read when it is asked for first; None if there is no such file."""
        found = self._files.get((folder, name))
        if found is None and folder == self.bokeh and name in BOKEH:
            body = (bokeh_folder() / name).read_bytes()
            found = self._files[folder, name] = Asset(body, _TYPES[".js"])
        return found


def bokeh_folder() -> Path:
    """Where the installed Bokeh keeps BokehJS."""
    spec = find_spec("bokeh")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("Bokeh is not installed")
    return Path(spec.origin).parent / "server" / "static" / "js"

"""The plugins that schedulers send to a worker, over several registrations.

Each registration is answered with all of them. Dask would end and begin each anew,
with whatever it holds.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from distributed import Worker

logger = logging.getLogger(__name__)


class ReceivedPlugins:
    """Sets up what is new, and what has changed; removes what is gone.

    What was there before this began to look is taken to be as it is sent first.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._sent: dict[str, bytes] = {}
        self._add = worker.handlers["plugin-add"]
        self._remove = worker.handlers["plugin-remove"]
        worker.handlers["plugin-add"] = self.add
        worker.handlers["plugin-remove"] = self.remove

    async def add(self, plugin: Any, name: str | None = None) -> Any:
        """A client has one sent to all workers that are there."""
        if name is not None and isinstance(plugin, bytes):
            self._sent[name] = plugin
        return await self._add(plugin=plugin, name=name)

    async def remove(self, name: str) -> Any:
        """A client has one removed from all workers that are there."""
        self._sent.pop(name, None)
        return await self._remove(name=name)

    async def update(self, sent: Mapping[str, bytes]) -> None:
        """Become as the answer to a registration says."""
        for name in [one for one in self._sent if one not in sent]:
            await self.remove(name)
        for name, plugin in sent.items():
            known = self._sent.get(name)
            if known is None and name in self._worker.plugins:
                self._sent[name] = plugin
            elif known != plugin:
                try:
                    await self.add(plugin, name)
                except Exception:  # it cannot be opened here: what runs goes on
                    logger.exception("The plugin %s cannot be set up", name)

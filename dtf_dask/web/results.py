"""The node's results store, asked from threads: a slow question holds nobody up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtf_dask.errors import DtfError, ResultsUnavailableError, UsageError
from dtf_dask.web.problem import refused

if TYPE_CHECKING:
    import sqlalchemy as sa

    from dtf_dask.runs.results.pages import Pages
    from dtf_dask.runs.results.store import ResultsStore

FILE = "results.sqlite"
THREADS = 2
WAITING_MAX = 64
"""Questions that wait for a thread; more are refused for now."""
RETRY_S = 2
_BUSY_S = 5.0

Question = Callable[["Pages", "sa.Connection"], Any]


class NoResultsError(Exception):
    """No run has come to this node yet."""


class Results:
    """The store in a folder, which may come later.

    Parameters
    ----------
    folder
        Of the node; empty for none.
    store
        The store itself, a file or a URL, if it is not a node's.
    """

    def __init__(self, folder: str, store: str = "") -> None:
        self._store = store or (str(Path(folder) / FILE) if folder else "")
        self._threads = ThreadPoolExecutor(THREADS, "dtf-web-results")
        self._mutex = threading.Lock()
        self._opened: tuple[ResultsStore, Pages] | None = None
        self._waiting = 0

    async def ask(self, question: Question, *, nothing: Any = None) -> Any:
        """The answer to a question; ``nothing`` if there is no store yet.

        Raises
        ------
        RefusedError
            There is no such run, or the store cannot be read, or it is asked too much.
        """
        if self._waiting >= WAITING_MAX:
            raise refused(
                *(503, f"{self._waiting} questions wait: ask again"),
                Retry_After=str(RETRY_S),
            )
        self._waiting += 1
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, self._answer, question)
        except NoResultsError:
            if nothing is None:
                raise refused(404, "there are no runs on this node yet") from None
            return nothing
        except UsageError as error:
            raise refused(404, str(error)) from None
        except DtfError as error:
            raise refused(
                *(503, f"the results store of this node cannot be read: {error}"),
                Retry_After=str(RETRY_S),
            ) from None
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Ask no more."""
        self._threads.shutdown()
        if self._opened is not None:
            self._opened[0].close()

    def _answer(self, question: Question) -> Any:
        store, pages = self._open()
        with store.reading() as connection:
            return question(pages, connection)

    def _open(self) -> tuple[ResultsStore, Pages]:
        with self._mutex:
            if self._opened is None:
                if not self._is_there():
                    raise NoResultsError
                # Imported here: a third of a second, and nobody may ever ask.
                from dtf_dask.runs.results.pages import Pages
                from dtf_dask.runs.results.store import ResultsStore

                try:
                    store = ResultsStore.open(
                        self._store, create=False, busy_timeout_s=_BUSY_S
                    )
                except ResultsUnavailableError:
                    if self._is_there():
                        raise
                    raise NoResultsError from None
                self._opened = (store, Pages())
            return self._opened

    def _is_there(self) -> bool:
        """Whether there is a store, as far as that can be said without opening it."""
        found = self._store
        return "://" in found or (found != "" and Path(found).exists())

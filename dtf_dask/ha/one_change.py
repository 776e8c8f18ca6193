"""One change at a time, with an end; it tells whether anything of it has begun."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from dtf_dask.errors import MembershipError, NotChangedError, NotLeadingError


class OneChange:
    """The change that is under way, if one is.

    Parameters
    ----------
    must_lead
        Raises `NotLeadingError` where nothing can be changed.
    """

    def __init__(self, must_lead: Callable[[], None]) -> None:
        self._must_lead = must_lead
        self.what = ""
        """What is being done; empty if nothing is."""
        self.stage = ""
        self.begun = False
        """Whether anything of it has been proposed."""

    @asynccontextmanager
    async def of(self, what: str, limit_s: float) -> AsyncIterator[None]:
        """Carry it out; what fails before anything has begun is `NotChangedError`."""
        if self.what:
            self._must_lead()
            raise NotChangedError(f"{self.what}: one change at a time")
        self.what, self.stage, self.begun = what, "nothing is done yet", False
        try:
            async with asyncio.timeout(limit_s):
                self._must_lead()
                yield
        except TimeoutError:
            raise (MembershipError if self.begun else NotChangedError)(
                f"{what}, and that took longer than {limit_s:g} s: {self.stage}"
            ) from None
        except MembershipError as error:
            raise error if self.begun else NotChangedError(str(error)) from None
        except NotLeadingError as error:
            if not self.begun:
                raise
            raise MembershipError(f"{what}, and now {error}: {self.stage}") from None
        finally:
            self.what = ""

"""A short talk with a running scheduler, for the commands that ask it something."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click
import dask.config
from distributed import Security
from distributed.core import rpc

from dtf_dask.comm.search import told
from dtf_dask.config import load
from dtf_dask.errors import (
    ClusterUnreachableError,
    SchedulingUnavailableError,
    UsageError,
)

T = TypeVar("T")
Ask = Callable[..., Awaitable[Any]]
"""``await ask(op, **arguments)``: a message to the scheduler."""

address_option = click.option(
    "--address",
    metavar="ADDRESS",
    help="The scheduler, such as tcp://host:8786. [Dask's scheduler-address]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object.")


def talk(address: str | None, about: Callable[[Ask], Awaitable[T]]) -> T:
    """Ask the scheduler at an address, or at the one that is configured.

    Raises
    ------
    UsageError
        If there is neither, or it is no address.
    ClusterUnreachableError
        If nobody answers in time.
    SchedulingUnavailableError
        If the scheduler knows nothing of dtf, or has given up scheduling by it.
    """
    found = chosen(address, "--address tcp://HOST:8786")
    timeout_s = load().driver.connect_timeout_s
    try:
        return asyncio.run(_talk(found, timeout_s, about))
    except ValueError as error:
        raise UsageError(f"{found} is no address of a scheduler: {error}") from None
    except (OSError, TimeoutError) as error:
        if said := told(error):  # by coordinators: it names them all
            raise ClusterUnreachableError(said) from error
        said = str(error)
        why = f": {said}" if said else f" within {timeout_s:g} s"
        raise ClusterUnreachableError(
            f"no scheduler answers at {found}{why}; start one with `dtf scheduler`"
        ) from error


def chosen(address: str | None, how: str) -> str:
    """The address of a scheduler that was given, or is configured.

    Parameters
    ----------
    how
        How one is given.

    Raises
    ------
    UsageError
        If there is neither.
    """
    found = address or dask.config.get("scheduler-address", None)
    if not found:
        raise UsageError(
            "which scheduler? Give the address that `dtf scheduler` or `dtf dev` "
            f"printed: {how}, or set DASK_SCHEDULER_ADDRESS"
        )
    return str(found)


def reached(address: str, timeout_s: float) -> Any:
    """What calls operations of the scheduler there, connected when it is used."""
    security = Security().get_connection_args("client")  # type: ignore[no-untyped-call]
    return rpc(address, timeout=timeout_s, connection_args=security)


async def _talk(
    address: str, timeout_s: float, about: Callable[[Ask], Awaitable[T]]
) -> T:
    async with (
        asyncio.timeout(timeout_s),
        reached(address, timeout_s) as scheduler,
    ):

        async def ask(op: str, **arguments: Any) -> Any:
            answer = await getattr(scheduler, op)(**arguments)
            if answer is None:  # what a Dask server says to what it does not know
                raise SchedulingUnavailableError(
                    f"the scheduler at {address} does not schedule with dtf: start it "
                    "with `dtf scheduler`, and leave scheduling.enabled as it is"
                )
            if isinstance(answer, dict) and answer.get("failure"):
                raise SchedulingUnavailableError(
                    f"the scheduler at {address} has fallen back to Dask's own ways, "
                    f"without regard to what tasks ask: {answer['failure']}"
                )
            return answer

        return await about(ask)

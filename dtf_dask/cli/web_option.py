"""``--web``: where the API of a coordinator is served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from dtf_dask.ha.dialing import Address
from dtf_dask.ha.node_config import parse_address
from dtf_dask.web.visitors import is_loopback

_HOST = "127.0.0.1"


def web_value(
    ctx: click.Context, param: click.Parameter, text: str | None
) -> Address | None:
    """What ``--web`` says; of this machine, if it names none."""
    if text is None:
        return None
    try:
        host, port = parse_address(f"{_HOST}:{text}" if text.isdecimal() else text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not is_loopback(host):
        raise click.BadParameter(
            f"{host} is reached by others, and nobody is asked who he is: serve it at"
            f" {_HOST}:{port}, and come from elsewhere through a tunnel"
            f" (ssh -L {port}:{_HOST}:{port})"
        )
    return host, port


def web_option(words: str, default: str | None = None) -> Callable[[Any], Any]:
    """The option, with what it says of itself."""
    return click.option(
        "--web",
        callback=web_value,
        metavar="[HOST:]PORT",
        default=default,
        help=f"{words}, to this machine only. [default: {default or 'nowhere'}]",
    )

"""Whether coordinators can listen where they are to, before they say that they run.

Their schedulers listen only when they lead: that may be days later.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterable

from dtf_dask.errors import ConfigurationError
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.node_config import NodeConfig, shown_address

_ENDS_S, _AGAIN_S = 3.0, 0.1
"""So long the scheduler of a coordinator that was killed may take to end."""


def require_free(configs: Iterable[NodeConfig]) -> None:
    """See that nobody listens where schedulers are to.

    Raises
    ------
    ConfigurationError
        Somebody does.
    """
    ends = time.monotonic() + _ENDS_S
    for config in configs:
        where = config.schedulers[config.node]
        while _is_taken(where):
            if time.monotonic() > ends:
                own = config.names.get(config.node, str(config.node))
                raise ConfigurationError(
                    f"something listens at {shown_address(where)} already, where the"
                    f" scheduler of coordinator {own} is to listen when it leads: end"
                    f" that, or have {config.folder} made for another port"
                )
            time.sleep(_AGAIN_S)


def _is_taken(where: Address) -> bool:
    try:
        found = socket.getaddrinfo(*where, type=socket.SOCK_STREAM)
    except socket.gaierror:
        return False  # a name that comes later, as in Kubernetes
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return True
    return False

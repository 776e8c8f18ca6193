"""TLS between nodes: the contexts of a `distributed.Security`, made strict.

Both sides show a certificate of the cluster's authority, as `Security` has it for the
scheduler: it serves and connects, so it needs both usages. TLS 1.3, and no session
tickets: a certificate that was revoked or has ended is not brought back by one.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dtf_dask.errors import ConfigurationError

if TYPE_CHECKING:
    from distributed import Security

_ROLE = "scheduler"


def node_contexts(security: Security) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The contexts for listening and for connecting.

    Raises
    ------
    ConfigurationError
        There is no certificate or no authority, a file cannot be read, or TLS 1.3 is
        not allowed.
    """
    try:
        serving = security.get_listen_args(_ROLE)["ssl_context"]
        connecting = security.get_connection_args(_ROLE)["ssl_context"]
        for context in (serving, connecting):
            if context is None:
                raise ConfigurationError(
                    "nodes speak TLS only: tls_ca_file, tls_scheduler_cert and"
                    " tls_scheduler_key have to be set"
                )
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.verify_mode = ssl.CERT_REQUIRED
            context.options |= ssl.OP_NO_TICKET
        if serving.maximum_version not in (
            *(ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.MAXIMUM_SUPPORTED),
        ):
            raise ConfigurationError("nodes speak TLS 1.3, which is not allowed here")
        serving.num_tickets = 0
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise ConfigurationError(f"TLS between nodes: {error}") from error
    return serving, connecting


def seconds_valid(certificate: Mapping[str, Any]) -> float:
    """How long a peer's certificate still holds."""
    return ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()

"""TLS between nodes: the contexts of a `distributed.Security`, made strict.

Both sides show a certificate of the cluster's authority, as `Security` has it for the
scheduler: it serves and connects, so it needs both usages. TLS 1.3, and no session
tickets: a certificate that was revoked or has ended is not brought back by one.

A process of a node makes its contexts of files (`NodeCertificate`), so that it does
not load Dask for them: that is more memory than all the rest of it.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from dtf_dask.errors import ConfigurationError

_ROLE = "scheduler"
_FLIGHTS_MAX = 4  # of a handshake, each way


class Credentials(Protocol):
    """Where contexts come from: a `distributed.Security`, or `NodeCertificate`."""

    def get_listen_args(self, role: str) -> dict[str, Any]:
        """Under ``ssl_context`` the one for listening, or None."""

    def get_connection_args(self, role: str) -> dict[str, Any]:
        """Under ``ssl_context`` the one for connecting, or None."""


@dataclass(frozen=True, slots=True)
class NodeCertificate:
    """A certificate with its key, and the authority that both sides must be of."""

    authority: str
    certificate: str
    key: str

    def get_listen_args(self, role: str) -> dict[str, Any]:
        """As `distributed.Security` has it; of every role."""
        return {"ssl_context": self._context(ssl.Purpose.CLIENT_AUTH)}

    def get_connection_args(self, role: str) -> dict[str, Any]:
        """As `distributed.Security` has it; of every role."""
        return {"ssl_context": self._context(ssl.Purpose.SERVER_AUTH)}

    def _context(self, purpose: ssl.Purpose) -> ssl.SSLContext:
        context = ssl.create_default_context(purpose, cafile=self.authority)
        context.load_cert_chain(self.certificate, self.key)
        # Who the peer is says the URI in its certificate, not the name of its host.
        context.check_hostname = False
        # As in Dask: not all authorities in use are to the letter of RFC 5280.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


def node_contexts(security: Credentials) -> tuple[ssl.SSLContext, ssl.SSLContext]:
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


def own_certificate(security: Credentials) -> Mapping[str, Any]:
    """The certificate that a node shows, once it is clear that its peers can take it.

    Raises
    ------
    ConfigurationError
        They cannot: it has ended, or is of another authority than the one given.
    """
    serving, connecting = node_contexts(security)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = connecting.wrap_bio(to_client, to_server)
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    try:
        for _ in range(_FLIGHTS_MAX):
            for side in (client, server):
                with suppress(ssl.SSLWantReadError):
                    side.do_handshake()
    except ssl.SSLError as error:
        raise ConfigurationError(f"the node's own certificate: {error}") from error
    return client.getpeercert() or {}

"""The ``dtf://`` scheme of Dask: its backend, loaded by an entry point.

Dask asks it for everything that has such an address: a scheduler that leads, where it
listens; all others, how they connect. A worker that was told ``dtf://`` for its own
address, as Dask does by default, listens by plain TCP or TLS.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from distributed.comm.addressing import unparse_host_port
from distributed.comm.core import Connector, Listener
from distributed.comm.registry import Backend, get_backend
from distributed.utils import ensure_ip, get_ip

from dtf_dask.comm import dask_seam
from dtf_dask.comm.address import (
    PREFIX,
    SCHEME,
    Contact,
    Coordinator,
    is_contact,
    parse_contact,
)
from dtf_dask.comm.greeting import KEY, Greeting
from dtf_dask.comm.known import Known
from dtf_dask.comm.looks import Looks
from dtf_dask.comm.search import LeaderConnector


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a scheduler says that leads: who it is, and how its cluster is reached."""

    contact: Contact
    greeting: Greeting


_announced: dict[tuple[str, int], Announcement] = {}


def announce(listens_at: str, contact: Contact, greeting: Greeting) -> None:
    """Have a scheduler of this process greet as a coordinator of a cluster.

    Parameters
    ----------
    listens_at
        Host and port that it is going to listen at, as it will be given them. It may
        be another host than the contact's, as ``0.0.0.0`` is.
    contact
        All coordinators: what the scheduler's address will be.
    greeting
        Who it is, and its term. To lead in another term, announce and listen anew.

    Raises
    ------
    ValueError
        The cluster is another than that of the contact.
    """
    if contact.cluster not in ("", greeting.name.cluster):
        raise ValueError(f"{contact} is not of cluster {greeting.name.cluster!r}")
    _announced[dask_seam.host_and_port(listens_at)] = Announcement(contact, greeting)


def heard_of_leader(
    contact: Contact, coordinator: Coordinator | None, term: int
) -> None:
    """Have connections of this process look for who leads this term, or a newer one.

    Parameters
    ----------
    coordinator
        Who it is, if that is known: it is asked first.
    """
    backend = get_backend(SCHEME)
    if isinstance(backend, DtfBackend):
        backend.known.heard_of(contact, coordinator, term)


class DtfBackend(Backend):
    """What Dask asks about ``dtf://``.

    Raises
    ------
    RuntimeError
        The installed Dask is not as this was made for.
    """

    def __init__(self) -> None:
        missing = dask_seam.broken()
        if missing:
            raise RuntimeError(
                "dtf:// does not know this version of distributed:"
                f" {', '.join(missing)}; use one of {' to '.join(dask_seam.VERSIONS)},"
                " or a newer dtf_dask"
            )
        self._known = Known()
        self._looks = Looks()

    @property
    def known(self) -> Known:
        """What this process remembers of clusters."""
        return self._known

    def get_connector(self) -> Connector:
        """What connects to the leader."""
        return LeaderConnector(self._known, self._looks)

    def get_listener(
        self,
        loc: str,
        handle_comm: Callable[..., Any],
        deserialize: bool,
        **connection_args: Any,
    ) -> Listener:
        """What listens: a coordinator if one was announced there, else a worker.

        Raises
        ------
        ValueError
            Nobody listens at several addresses.
        RuntimeError
            Encryption is required, and there is nothing to encrypt with.
        """
        if is_contact(loc):
            raise ValueError(f"dtf://{loc[:200]} cannot be listened at: give one host")
        said = _announced.get(dask_seam.host_and_port(loc))
        if said is None:
            told = dask_seam.told_scheduler(handle_comm)
            if told.startswith(PREFIX):
                # Dask says this to listeners of tcp and tls only.
                told = told.removeprefix(PREFIX)
                connection_args.setdefault("default_host", self._own_host(told))
            return dask_seam.listener(loc, handle_comm, deserialize, **connection_args)
        return dask_seam.greeting_listener(
            loc,
            handle_comm,
            deserialize,
            contact=str(said.contact),
            overrides={KEY: said.greeting.words()},
            **connection_args,
        )

    def get_address_host(self, loc: str) -> str:
        """The host of a single address; of several the last leader's, or the first."""
        return self.get_address_host_port(loc)[0]

    def get_address_host_port(self, loc: str) -> tuple[str, int]:
        """Host and port, as `get_address_host` chooses them."""
        if not is_contact(loc):
            return dask_seam.host_and_port(loc)
        contact = parse_contact(loc)
        one = self._known.leader(contact) or contact.coordinators[0]
        return one.host, one.port

    def resolve_address(self, loc: str) -> str:
        """The same: it is the name by which a cluster is known everywhere."""
        return loc

    def get_local_address_for(self, loc: str) -> str:
        """The address of this machine by which a coordinator would reach it."""
        return unparse_host_port(self._own_host(loc))

    def _own_host(self, loc: str) -> str:
        named = parse_contact(loc).coordinators if is_contact(loc) else ()
        hosts = (self.get_address_host(loc), *(one.host for one in named))
        for host in hosts:
            try:
                return str(get_ip(ensure_ip(host)))
            except socket.gaierror:
                continue  # a coordinator may be gone, with its name
        return str(get_ip())

"""The file that says what a node is: ``node.json`` in its folder."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dtf_dask.errors import ConfigurationError
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.handshake import NodeName
from dtf_dask.ha.node_options import CONTENT_KEEP_S
from dtf_dask.ha.node_tls import NodeCertificate
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.ha.scheduler_words import hello
from dtf_dask.ha.serving import NodePlan
from dtf_dask.view import feed_words

FILE = "node.json"
_BYTES_MAX = 1_000_000
_NODES_MAX = 99
_FIELDS = (
    "cluster",
    "node",
    "peers",
    "clients",
    "joins",
    "metrics",
    "web",
    "tls",
    "content_keep_s",
    "names",
    "schedulers",
    "scheduler",
)
_SCHEDULER_FIELDS = {"dashboard": str, "preload": list, "tls": bool}
_KEEP_S_MIN = 10.0


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """What a node is.

    Parameters
    ----------
    folder
        Its own; files of ``tls`` are relative to it.
    cluster, node
        Its name.
    peers, clients
        Where each node lets other nodes, and clients, in.
    joins
        Whether it is added to a cluster that runs.
    metrics
        Where Prometheus may read, if it may.
    web
        Where its web process serves, if it has one.
    content_keep_s
        See `NodeOptions`.
    names
        What nodes are called by people, where they are called other than by number.
    schedulers
        Where each node's scheduler lets workers and clients in while it leads; empty if
        nodes keep a ledger and nothing else.
    scheduler
        Of this node's: ``dashboard``, its address; ``preload``, modules; ``tls``,
        whether workers and clients are let in by certificates of the authority only.
    """

    folder: Path
    cluster: str
    node: NodeId
    peers: Mapping[NodeId, Address]
    clients: Mapping[NodeId, Address]
    joins: bool = False
    metrics: Address | None = None
    web: Address | None = None
    authority: str = "authority.pem"
    certificate: str = "certificate.pem"
    key: str = "certificate.key"
    content_keep_s: float = CONTENT_KEEP_S
    names: Mapping[NodeId, str] = field(default_factory=dict)
    schedulers: Mapping[NodeId, Address] = field(default_factory=dict)
    scheduler: Mapping[str, Any] = field(default_factory=dict)

    def started(self, said: Mapping[str, Any]) -> NodeConfig:
        """The same, as `this_time` has it: for one start, and not written."""
        web = parse_address(said["web"]) if "web" in said else self.web
        scheduler = {**self.scheduler, **said.get("scheduler", {})}
        return replace(self, web=web, scheduler=scheduler)

    @property
    def plan(self) -> NodePlan:
        """What runs."""
        return NodePlan(
            NodeName(self.cluster, self.node),
            str(self.folder),
            self.peers,
            self.clients[self.node],
            self.joins,
        )

    def security(self) -> NodeCertificate:
        """The node's certificate, which is also what its own tools show."""
        folder = self.folder
        return NodeCertificate(
            str(folder / self.authority),
            str(folder / self.certificate),
            str(folder / self.key),
        )

    @property
    def contact(self) -> str:
        """The address of the cluster for workers and clients, ``dtf://...``."""
        named = ",".join(
            shown_address(one) for _, one in sorted(self.schedulers.items())
        )
        return f"dtf://{named}/{self.cluster}"

    def scheduler_hello(self) -> dict[str, Any]:
        """What its scheduler process is told first."""
        names = {str(node): name for node, name in self.names.items()}
        options: dict[str, Any] = {
            **self.scheduler,
            "names": names,
            "results": str(self.folder),
            "web": "" if self.web is None else shown_address(self.web),
        }
        tls = self.security() if options.pop("tls", False) else None
        return hello(
            *(self.cluster, self.node),
            listens_at=shown_address(self.schedulers[self.node]),
            contact=self.contact,
            tls=None if tls is None else asdict(tls),
            options=options,
        )

    def web_hello(self) -> dict[str, Any]:
        """What its web process is told first.

        Raises
        ------
        ConfigurationError
            The authority's certificate cannot be read.
        """
        assert self.web is not None
        authority = self.folder / self.authority
        try:
            tag = hashlib.blake2b(authority.read_bytes(), digest_size=4).hexdigest()
        except OSError as error:
            raise ConfigurationError(f"{authority}: {error}") from error
        return feed_words.hello(
            *(self.cluster, self.node),
            {str(node): name for node, name in self.names.items()},
            shown_address(self.web),
            tag=tag,
            contact=self.contact if self.schedulers else "",
            results=str(self.folder),
        )

    def write(self) -> None:
        """Write the file, whole."""
        plain: dict[str, Any] = {
            "cluster": self.cluster,
            "node": self.node,
            "peers": _plain(self.peers),
            "clients": _plain(self.clients),
            "joins": self.joins,
            "metrics": None if self.metrics is None else shown_address(self.metrics),
            "web": None if self.web is None else shown_address(self.web),
            "tls": {
                "authority": self.authority,
                "certificate": self.certificate,
                "key": self.key,
            },
            "content_keep_s": self.content_keep_s,
        }
        if self.names:
            plain["names"] = {str(node): one for node, one in self.names.items()}
        if self.schedulers:
            plain["schedulers"] = _plain(self.schedulers)
            plain["scheduler"] = dict(self.scheduler)
        path = self.folder / FILE
        temporary = path.with_name(FILE + ".tmp")
        try:
            temporary.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
            os.replace(temporary, path)
        except OSError as error:
            raise ConfigurationError(f"{path}: {error}") from error


def this_time(web: Address | None, scheduler: Mapping[str, Any]) -> dict[str, Any]:
    """What a start says that is for that start only, as plain words."""
    said: dict[str, Any] = {"scheduler": dict(scheduler)} if scheduler else {}
    if web is not None:
        said["web"] = shown_address(web)
    return said


def read_config(folder: Path) -> NodeConfig:
    """What a folder's ``node.json`` says.

    Raises
    ------
    ConfigurationError
        It is not there, or something in it makes no sense: it says what.
    """
    path = folder / FILE
    try:
        with path.open("rb") as file:
            text = file.read(_BYTES_MAX + 1)
    except FileNotFoundError:
        raise ConfigurationError(
            f"{folder} is no node's folder: it has no {FILE}; 'dtf ha init' makes one"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    if len(text) > _BYTES_MAX:
        raise ConfigurationError(f"{path} is larger than {_BYTES_MAX} bytes")
    try:
        return _config(folder, json.loads(text))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ConfigurationError(f"{path}: {_said(error)}") from error


def parse_address(text: Any) -> Address:
    """``host:port``, with brackets around the host of an IPv6 address."""
    if type(text) is not str:
        raise ValueError(f"{text!r} is no address: host:port")
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"{text!r} is no address: host:port")
    return host, int(port)


def shown_address(address: Address) -> str:
    """An address as `parse_address` reads it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _config(folder: Path, plain: Any) -> NodeConfig:
    if type(plain) is not dict:
        raise ValueError("it holds no object")
    unknown = sorted(set(plain) - set(_FIELDS))
    if unknown:
        raise ValueError(f"unknown: {', '.join(map(str, unknown))}")
    node = plain["node"]
    if type(node) is not int:
        raise ValueError("node is no number")
    name = NodeName(plain["cluster"], NodeId(node))
    peers, clients = _addresses(plain["peers"]), _addresses(plain["clients"])
    for what, addresses in (("peers", peers), ("clients", clients)):
        if name.node not in addresses:
            raise ValueError(f"{what} does not say where node {node} is reached")
    tls, joins = plain.get("tls", {}), plain.get("joins", False)
    if type(tls) is not dict or not all(type(one) is str for one in tls.values()):
        raise ValueError("tls holds the names of files")
    if type(joins) is not bool:
        raise ValueError("joins is true or false")
    metrics, web = (
        None if told is None else parse_address(told)
        for told in (plain.get("metrics"), plain.get("web"))
    )
    keep_s = plain.get("content_keep_s", CONTENT_KEEP_S)
    if type(keep_s) not in (int, float) or not _KEEP_S_MIN <= keep_s < math.inf:
        raise ValueError(f"content_keep_s is a number of seconds from {_KEEP_S_MIN:g}")
    schedulers = _addresses(plain["schedulers"]) if "schedulers" in plain else {}
    if schedulers and name.node not in schedulers:
        raise ValueError(f"schedulers does not say where that of node {node} listens")
    return NodeConfig(
        *(folder, name.cluster, name.node, peers, clients, joins, metrics, web),
        **tls,
        content_keep_s=keep_s,
        names=_names(plain.get("names", {})),
        schedulers=schedulers,
        scheduler=_scheduler(plain.get("scheduler", {})),
    )


def _names(plain: Any) -> dict[NodeId, str]:
    if type(plain) is not dict or not all(type(one) is str for one in plain.values()):
        raise ValueError("names holds names by node")
    return {NodeId(int(node)): one for node, one in plain.items()}


def _scheduler(plain: Any) -> dict[str, Any]:
    if type(plain) is not dict:
        raise ValueError("scheduler holds no object")
    for word, value in plain.items():
        kind = _SCHEDULER_FIELDS.get(word)
        if kind is None or type(value) is not kind:
            known = ", ".join(
                f"{one}: {k.__name__}" for one, k in _SCHEDULER_FIELDS.items()
            )
            raise ValueError(f"scheduler: {word} is none of {known}")
    if not all(type(one) is str for one in plain.get("preload", ())):
        raise ValueError("scheduler: preload holds names of modules")
    return dict(plain)


def _addresses(plain: Any) -> dict[NodeId, Address]:
    if type(plain) is not dict or not 0 < len(plain) <= _NODES_MAX:
        raise ValueError(f"1 to {_NODES_MAX} addresses by node")
    return {NodeId(int(node)): parse_address(text) for node, text in plain.items()}


def _plain(addresses: Mapping[NodeId, Address]) -> dict[str, str]:
    return {str(node): shown_address(one) for node, one in sorted(addresses.items())}


def _said(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    return str(error)

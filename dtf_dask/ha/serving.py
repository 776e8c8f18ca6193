"""A node with everything around it: folder, peers, clients. What a process of it runs.

`ServingNode.start` returns when the node takes part and clients are let in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random, SystemRandom

from dtf_dask.errors import ConfigurationError, PeerRefusedError
from dtf_dask.ha.dialing import Address
from dtf_dask.ha.handshake import NodeName, certified_name
from dtf_dask.ha.local_ledger import NodeLedger
from dtf_dask.ha.members import Members
from dtf_dask.ha.node import Node
from dtf_dask.ha.node_folder import (
    NodeFolder,
    check_new_start,
    create_node,
    forbid_new_start,
    node_exists,
    open_node,
)
from dtf_dask.ha.node_options import NodeOptions
from dtf_dask.ha.node_tls import Credentials, own_certificate
from dtf_dask.ha.peers import Peers
from dtf_dask.ha.raft.messages import NodeId
from dtf_dask.ha.service import Service
from dtf_dask.ha.wal_opening import LogIdentity


@dataclass(frozen=True, slots=True)
class NodePlan:
    """What a node is and where it is reached.

    Parameters
    ----------
    name
        Its cluster and id.
    folder
        What it keeps is there.
    peers
        Where each of the first members, itself too, lets the others in.
    clients
        Where it lets clients in.
    joins
        Whether it is to be added to a cluster that runs, rather than one of the first.
    """

    name: NodeName
    folder: str
    peers: Mapping[NodeId, Address]
    clients: Address
    joins: bool = False


class ServingNode:
    """A node that others reach.

    Parameters
    ----------
    plan
        What it is.
    security
        Its certificate.
    failed
        Called once if it can do nothing more.
    """

    def __init__(
        self,
        plan: NodePlan,
        security: Credentials,
        failed: Callable[[str], None],
        options: NodeOptions | None = None,
    ) -> None:
        self._plan = plan
        self._security = security
        self._failed = failed
        self._options = options or NodeOptions()
        self.node: Node | None = None
        self.members: Members | None = None
        self.service: Service | None = None
        self.clients: Address = plan.clients

    async def start(self) -> NodeFolder:
        """Take part; what was found in the folder.

        Raises
        ------
        ConfigurationError
            The certificate is not this node's, or nobody would take it.
        LedgerFolderError, LedgerDamagedError, LedgerDiskError
            As `open_node`.
        OSError
            An address cannot be had.
        """
        plan, name = self._plan, self._plan.name
        _check_certificate(name, self._security)
        identity = LogIdentity(name.cluster, name.node)
        if not node_exists(plan.folder):
            if not plan.joins:
                check_new_start(plan.folder)
            voters = () if plan.joins else tuple(plan.peers)
            create_node(plan.folder, identity, voters)
        folder = open_node(plan.folder, identity)
        forbid_new_start(plan.folder)
        network = Peers(name, self._security, folder.contents, [folder.snapshots])
        seed = SystemRandom().getrandbits(64)
        self.node = Node(
            *(name.node, folder, network, self._options, Random(seed), self._failed)
        )
        await network.listen(plan.peers[name.node], self.node)
        told = {at: one for at, one in plan.peers.items() if at != name.node}
        if network.transport.reached_at is not None:
            told[name.node] = network.transport.reached_at
        members = self.members = network.members = Members(self.node, told)
        await self.node.start()
        ledger = NodeLedger(self.node)
        self.service = Service(ledger, members, name.cluster, self._security)
        self.clients = await self.service.listen(plan.clients)
        return folder

    async def close(self) -> None:
        """Let nobody in any more, then stop."""
        if self.service is not None:
            await self.service.close()
        if self.node is not None:
            await self.node.close()


def _check_certificate(name: NodeName, security: Credentials) -> None:
    try:
        found = certified_name(own_certificate(security))
    except PeerRefusedError as error:
        raise ConfigurationError(f"the node's own certificate: {error}") from error
    if found != name:
        raise ConfigurationError(
            f"the certificate is that of {found.uri}, and this is {name.uri}"
        )

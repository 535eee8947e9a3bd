"""The keys of a sealed simulation: an authority and an aggregator for one run, and its nodes.

They come from the operating system, also in a seeded run: masks and seals change nothing of a sum,
so the released model is the same whatever they are. A run that goes on after an interruption gets
new ones; what its nodes knew of the sessions before went with their keys.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from homebody_client.host import Host
from homebody_client.secure.leg_store import LegStore, shared_memory
from homebody_client.secure.node import SecureNode
from homebody_client.secure.opening import store_key
from homebody_client.secure.policy import Policy
from homebody_client.secure.shard import ShardWorker
from homebody_privacy.certificate import Certificate
from homebody_privacy.identity import NodeIdentity
from homebody_privacy.node_folder import NodeFolder
from homebody_privacy.signing import SigningKey
from homebody_server.secure.home import AggregatorHome
from homebody_simulation.setup import Prepared

FLEET: Final = "simulation"
"""Name of the fleet that every sealed simulation makes for itself."""

_LIFE_S: Final = 366 * 86_400


@dataclass(frozen=True, slots=True)
class SealedNodes:
    """The nodes of one run and whom they answer.

    Attributes:
        home: What the server app needs. Secret.
        identities: The nodes' keys, in the order of their numbers. Secret.
    """

    home: AggregatorHome = field(repr=False)
    identities: tuple[NodeIdentity, ...] = field(repr=False)

    @classmethod
    def make(cls, nodes: int) -> Self:
        """Make the keys of that many nodes; the authority's key is forgotten at once."""
        authority = SigningKey.generate()
        identities = tuple(NodeIdentity.generate() for _ in range(nodes))
        not_after = int(time.time()) + _LIFE_S
        certificates = [
            Certificate.issue(
                authority,
                fleet=FLEET,
                signing=one.signing.public,
                recipient=one.recipient.public,
                not_after=not_after,
            )
            for one in identities
        ]
        home = AggregatorHome.of(
            SigningKey.generate(), authority=authority.public, fleet=FLEET, nodes=certificates
        )
        return cls(home, identities)

    def introduce(self, prepared: Prepared) -> None:
        """Put what the server app needs into the run's folder, in the place of what was there."""
        folder = prepared.folder.aggregator_folder
        shutil.rmtree(folder, ignore_errors=True)
        self.home.save(folder)

    def write(self, folder: Path) -> None:
        """Write each node's folder, named by its number."""
        for number, identity in enumerate(self.identities):
            NodeFolder.create(
                folder / str(number),
                identity=identity,
                certificate=self.home.registered[identity.node_id],
                pins=self.home.pins,
            )

    def in_process(self, prepared: Prepared, host: Callable[[int], Host]) -> list[SecureNode]:
        """Return the nodes as they work in this process: what they keep is gone with it.

        Args:
            prepared: The run.
            host: Opens what the node of a number hosts.
        """
        policy = Policy.of(prepared.config, reference=prepared.spec.ceiling is None)
        db = shared_memory()
        return [
            SecureNode(
                identity=identity,
                certificate=self.home.registered[identity.node_id],
                pins=self.home.pins,
                policy=policy,
                store=LegStore.in_memory(store_key(identity), db),
                worker=lambda _, number=number: ShardWorker(lambda: host(number)),  # type: ignore[misc]
                shielded=False,
            )
            for number, identity in enumerate(self.identities)
        ]

"""Open a node from its folder, for the one message its process answers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from homebody_privacy.identity import NodeIdentity
from homebody_privacy.legs import Announcement
from homebody_privacy.node_folder import NodeFolder
from homebody_privacy.stream import derive_key

from .guard import RoundGuard
from .leg_store import LegStore
from .node import SecureNode
from .policy import Policy
from .worker import Worker


def store_key(identity: NodeIdentity) -> bytes:
    """Return the key of a node's ``LegStore``. Secret."""
    return derive_key(identity.signing.secret, "homebody/legs/v1")


@contextmanager
def opened_node(
    folder: NodeFolder,
    policy: Policy,
    worker: Callable[[Announcement], Worker],
    *,
    shielded: bool = True,
    guard: RoundGuard | None = None,
) -> Iterator[SecureNode]:
    """Open the node of a folder while the block lasts.

    Args:
        folder: Identity, certificate, pins and state of the node.
        policy: What the node's own config says.
        worker: Opens its devices for a run.
        shielded: Answer a defect with a code.
        guard: Refuses what is not approved or not charged; a simulated node has none.

    Raises:
        InvalidFileError: If a file is missing or damaged, or others have rights to the keys.
        IntegrityError: If the state is damaged.
    """
    identity = folder.identity()
    store = LegStore.open(folder.state_file, store_key(identity))
    try:
        yield SecureNode(
            identity=identity,
            certificate=folder.certificate(),
            pins=folder.pins(),
            policy=policy,
            store=store,
            worker=worker,
            shielded=shielded,
            guard=guard,
        )
    finally:
        store.close()

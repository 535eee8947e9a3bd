"""The systems compared: what runs each, with which Python, and how close its sum must come."""

from dataclasses import dataclass
from typing import Final, Literal

Peer = Literal["pfl", "fedjax", "flower"]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One row of the table.

    Attributes:
        name: What ``--only`` takes.
        title: What the table shows.
        peer: Which other project it is of; None for homebody.
        worker: Its program, below this folder.
        cores: Processors it can keep busy: processes or threads.
        warm: Rounds before the clock starts.
        rounds: Rounds timed in a pass.
        bound: Most its sum may differ from the oracle's, over the oracle's largest entry: of a peer
            what its own float32 sums cost, of homebody what truncation to the lattice costs.
    """

    name: str
    title: str
    peer: Peer | None = None
    worker: str = "own_worker.py"
    cores: int = 1
    warm: int = 3
    rounds: int = 200
    bound: float = 4e-3


SYSTEMS: Final = (
    System(
        name="flower",
        title="Flower's simulation runtime (Ray), 2 actors",
        peer="flower",
        worker="peers/flower_worker.py",
        cores=2,
        warm=1,
        rounds=2,
        bound=2e-2,  # it averages nearly equal tables in float32; its replies are checked closer
    ),
    System(
        name="pfl",
        title="pfl, sparse gradients, 1 process",
        peer="pfl",
        worker="peers/pfl_worker.py",
        rounds=8,
        bound=2e-4,
    ),
    System(
        name="pfl-2",
        title="pfl, sparse gradients, 2 processes",
        peer="pfl",
        worker="peers/pfl_worker.py",
        cores=2,
        rounds=8,
        bound=2e-4,
    ),
    System(
        name="fedjax",
        title="fedjax, sparse step by hand, table given away",
        peer="fedjax",
        worker="peers/fedjax_worker.py",
        rounds=16,
        bound=2e-6,
    ),
    System(name="reference", title="homebody, one device at a time (reference)", rounds=4),
    System(name="torch", title="homebody, torch: the way for any model", rounds=8),
    System(name="numba", title="**homebody, numba, 1 thread**"),
    System(name="numba-2", title="**homebody, numba, 2 threads**", cores=2),
    System(name="triton", title="homebody, Triton on a GPU", rounds=100),
)
BY_NAME: Final = {system.name: system for system in SYSTEMS}

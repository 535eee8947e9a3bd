"""What a node asks of its devices' own record of what they joined."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from homebody_client.participation import Allowance


class JoinRecord(Protocol):
    """Counts what devices join, by each device's own rules. Secret.

    ``ParticipationStore`` keeps one file for one device or for many, with a hash for each join. A
    simulation of very many devices may keep columns instead, under the same rules.
    """

    def join_many(
        self, devices: npt.NDArray[np.int64], allowance: Allowance, number: int, digest: str
    ) -> npt.NDArray[np.int64]:
        """Count the joins of those that may join a round, and return them, in the order given.

        Each device is judged as ``Life.refusal`` judges it. What is counted is kept, so that a
        process that is killed afterwards finds it, before this returns.

        Args:
            devices: Device numbers, without repeats, shape ``(n,)``.
            allowance: What the config allows.
            number: Round, from 1; 0 for what is asked before the first.
            digest: SHA-256 of the broadcast model, as hex.

        Raises:
            IntegrityError: If the record was deleted, cut or put back.
            ValueError: If a device is named twice.
        """
        ...

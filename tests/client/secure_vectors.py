"""What the devices of a tested node add, known beforehand, and what their node let out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_client.check_in import Parameters, Protect
from homebody_client.secure.policy import Policy
from homebody_client.secure.worker import Consent, Worker
from homebody_privacy.errors import HomebodyError
from homebody_privacy.lattice import Lattice
from homebody_privacy.legs import Step
from homebody_privacy.messages import Invitation, Question

NOW: Final = 1_800_000_000
RUN: Final = "autumn"
FLEET: Final = "village"
CONFIG: Final = sha256(b"the approved config").hexdigest()
MODEL: Final = np.arange(7, dtype=np.float32)
MODEL_SHA: Final = sha256(MODEL.tobytes()).hexdigest()
LATTICE: Final = Lattice(clip_norm=0.5, bits=16)
POLICY: Final = Policy(
    config_sha256=CONFIG,
    max_corrupt=0.1,
    max_dropout=0.3,
    least=3,
    lattice=LATTICE,
    purposes={"quality": "metrics"},
)
STEPS: Final = (Step.ADVERTISE, Step.SHARE, Step.UPDATE, Step.CONFIRM, Step.UNMASK)

Integers = npt.NDArray[np.int64]


@dataclass
class Vectors(Worker):
    """Hosts devices whose answers are known, and remembers what it let out."""

    parts: Mapping[int, Integers]
    tag: str = "a" * 32
    shut: HomebodyError | None = None
    busy: HomebodyError | None = None
    trained: list[tuple[int, ...]] = field(default_factory=list)
    out: list[tuple[str, bytes]] = field(default_factory=list)

    def devices(self) -> list[int]:
        """Return the numbers of the devices."""
        return sorted(self.parts)

    def consent(self, purpose: str) -> Consent:
        """Return the tag, unless the purpose is shut."""
        assert purpose in ("training", "metrics")
        if self.shut is not None:
            raise self.shut
        return Consent(tag=self.tag)

    def ready(self) -> None:
        """Refuse while busy."""
        if self.busy is not None:
            raise self.busy

    def train(self, asked: Invitation, parameters: Parameters, protect: Protect) -> bytes:
        """Return the protected sum of the asked devices."""
        assert (parameters == MODEL).all()
        return self._sum(asked.devices, len(MODEL) + (asked.clip_norm is not None), protect)

    def figures(self, asked: Question, parameters: Parameters, protect: Protect) -> bytes:
        """Return the protected sum of the asked devices' first figures."""
        assert (parameters == MODEL).all()
        return self._sum(asked.devices, 2, protect)

    def _sum(self, devices: tuple[int, ...], length: int, protect: Protect) -> bytes:
        self.trained.append(devices)
        total = np.zeros(length, np.int64)
        for device in devices:
            total += self.parts[device][:length]
        sealed = protect(total)
        self.out.append(("work", sealed))
        return sealed

    def let_out(self, payload: bytes, what: str, purpose: str, number: int) -> None:
        """Let everything out, unless the purpose is shut."""
        del purpose, number
        if self.shut is not None:
            raise self.shut
        self.out.append((what, payload))


def part_of(device: int) -> Integers:
    """Return what a device adds: negative and large numbers too."""
    rng = np.random.default_rng(device)
    return rng.integers(-(2**16), 2**16, len(MODEL) + 1)

"""The devices one Flower node hosts, and what the node knows about the run.

In a deployment a node hosts one device. In a simulation it may host a shard of the population: it
then trains each invited device on its own, bounds each contribution on its own, and answers with
their sum. Integers add up the same in any order, so the grouping does not change the result.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from homebody_models.interactions import Interactions
from homebody_models.recommender import Recommender
from homebody_models.zoo import ModelSpec
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import PolicyViolationError
from homebody_privacy.lattice import Lattice

Setting = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What a node needs to train its devices.

    Attributes:
        config: Privacy config in force on the node; the server's word is not taken for it.
        config_digest: Its digest; computed here, once.
        model: The model being trained.
        histories: Histories the node reads; only hosted rows are read.
        devices: Numbers of the hosted devices.
        example_key: Key of each device's choice of training examples; no privacy rests on it.
        record_key: Key of record-level coins and noise in a simulation, so that it can be resumed;
            None draws from the system, as every deployment does.
        lattice: Bound and step of one device's contribution.
    """

    config: PrivacyConfig
    config_digest: str = field(init=False)
    model: Recommender
    histories: Interactions = field(repr=False)
    devices: frozenset[int] = field(repr=False)
    example_key: bytes = field(repr=False)
    record_key: bytes | None = field(repr=False)
    lattice: Lattice

    def __post_init__(self) -> None:
        """Compute the digest every invitation is compared with."""
        object.__setattr__(self, "config_digest", self.config.digest())

    def history(self, device: int) -> npt.NDArray[np.int32]:
        """Return a hosted device's history, oldest first. Secret.

        Raises:
            ValueError: If the device is not hosted here.
        """
        if device not in self.devices:
            raise ValueError("the device is not hosted by this node")
        return self.histories.history(device)


def shard(devices: int, part: int, parts: int) -> frozenset[int]:
    """Return the devices of one part of a population dealt out in turn.

    Examples:
        >>> sorted(shard(7, part=1, parts=3))
        [1, 4]
    """
    if not 0 <= part < parts:
        raise ValueError(f"part must be in 0..{parts - 1}, got {part}")
    return frozenset(range(part, devices, parts))


def open_host(run_config: Mapping[str, Setting], node_config: Mapping[str, Setting]) -> Host:
    """Open a simulated node from Flower's run and node configs; histories are memory-mapped.

    Args:
        run_config: ``privacy-file``, ``population`` (folder), ``model`` (JSON), ``clip-norm``,
            ``lattice-bits``, ``reference`` (a laboratory run without differential privacy),
            ``example-key`` and ``record-key`` (hex).
        node_config: ``partition-id`` and ``num-partitions``, as Flower's simulation sets them.

    Raises:
        KeyError: If one is missing.
        InvalidFileError: If the privacy config is missing or invalid: nothing trains.
        PolicyViolationError: If the run's bound is not the config's.
    """
    config = PrivacyConfig.load(Path(str(run_config["privacy-file"])))
    lattice = Lattice(
        clip_norm=float(run_config["clip-norm"]), bits=int(run_config["lattice-bits"])
    )
    own = Lattice(clip_norm=config.dp.clip_norm, bits=config.dp.lattice_bits)
    if not run_config["reference"] and lattice != own:
        raise PolicyViolationError("the run's clip norm or lattice is not the privacy config's")
    histories = Interactions.load(Path(str(run_config["population"])))
    model = json.loads(str(run_config["model"]))
    parts = int(node_config["num-partitions"])
    return Host(
        config=config,
        model=ModelSpec(model["name"], model["options"]).build(histories.catalog),
        histories=histories,
        devices=shard(histories.devices, int(node_config["partition-id"]), parts),
        example_key=bytes.fromhex(str(run_config["example-key"])),
        record_key=bytes.fromhex(str(run_config["record-key"])),
        lattice=lattice,
    )

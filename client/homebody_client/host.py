"""The devices one Flower node hosts, and what the node knows about the run.

In a deployment a node hosts one device. In a simulation it may host a shard of the population: it
then trains each invited device on its own, bounds each contribution on its own, and answers with
their sum. Integers add up the same in any order, so the grouping does not change the result.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_client.attendance import Attendance
from homebody_client.devices_home import DevicesHome
from homebody_client.join_record import JoinRecord
from homebody_client.participation import Allowance
from homebody_client.record_files import RecordFiles
from homebody_client.shard_engine import ShardEngine
from homebody_models.interactions import Interactions
from homebody_models.recommender import Recommender
from homebody_models.zoo import ModelSpec
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import PolicyViolationError
from homebody_privacy.lattice import Lattice

Setting = str | int | float | bool

HELD_OUT: Final = "held_out.npy"
"""Name of the file of held-out items, in a population's folder."""


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
        participation: The devices' own record of what they joined; None where nothing is
            promised, in a laboratory reference without noise.
        records: What the devices' records have spent, where the record level is on.
        held_out: Item of each device's latest event, which it does not train on, -1 for none;
            None where no device holds one back.
        engine: Answers for all the devices at once, in a simulation; None does one after another.
        attendance: Which devices are there when asked, in a simulation; None: all, always.
    """

    config: PrivacyConfig
    config_digest: str = field(init=False)
    model: Recommender
    histories: Interactions = field(repr=False)
    devices: Collection[int] = field(repr=False)
    example_key: bytes = field(repr=False)
    record_key: bytes | None = field(repr=False)
    lattice: Lattice
    participation: JoinRecord | None = field(repr=False, default=None)
    records: RecordFiles | None = field(repr=False, default=None)
    held_out: npt.NDArray[np.int32] | None = field(repr=False, default=None)
    engine: ShardEngine | None = field(repr=False, default=None)
    attendance: Attendance | None = field(repr=False, default=None)

    def __post_init__(self) -> None:
        """Compute the digest every invitation is compared with."""
        object.__setattr__(self, "config_digest", self.config.digest())

    @property
    def simulated(self) -> bool:
        """Whether the node is one of a simulation, which may be killed and go on as it was."""
        return self.record_key is not None

    def history(self, device: int) -> npt.NDArray[np.int32]:
        """Return a hosted device's history, oldest first. Secret.

        Raises:
            ValueError: If the device is not hosted here.
        """
        if device not in self.devices:
            raise ValueError("the device is not hosted by this node")
        return self.histories.history(device)

    def check_hosted(self, devices: npt.NDArray[np.int64]) -> None:
        """Refuse devices of others: an engine sees the whole population.

        Raises:
            ValueError: If one is not hosted here.
        """
        if not all(device in self.devices for device in devices.tolist()):
            raise ValueError("the device is not hosted by this node")

    def held_out_item(self, device: int) -> int | None:
        """Return the item of a device's latest event, or None if it holds none back. Secret."""
        item = -1 if self.held_out is None else int(self.held_out[device])
        return None if item < 0 else item

    def admitted(
        self,
        devices: Sequence[int] | npt.NDArray[np.int64],
        allowance: Allowance,
        number: int,
        model: str,
    ) -> npt.NDArray[np.int64]:
        """Return the devices that may join a round by their own record, which counts them. Secret.

        The others answer zeros: a device that is asked too early or too often adds nothing.

        Args:
            devices: Who is asked, shape ``(n,)``.
            allowance: What the config allows.
            number: Round, from 1; 0 for what is asked before the first.
            model: SHA-256 of the broadcast model, as hex.

        Raises:
            IntegrityError: If the record was deleted, cut or put back.
        """
        if self.participation is None:
            return np.array(devices, np.int64)
        return self.participation.join_many(np.array(devices, np.int64), allowance, number, model)

    def online(self, devices: Sequence[int], number: int, about: str = "") -> npt.NDArray[np.int64]:
        """Return the devices that hear a question; see ``Attendance``."""
        asked = np.array(devices, np.int64)
        if self.attendance is None:
            return asked
        return asked[self.attendance.online(asked, number, about)]

    def delivering(
        self, devices: npt.NDArray[np.int64], number: int, about: str = ""
    ) -> npt.NDArray[np.int64]:
        """Return the devices, of those online, whose answer comes in time."""
        if self.attendance is None:
            return devices
        return devices[self.attendance.delivering(devices, number, about)]


def shard(devices: int, part: int, parts: int) -> range:
    """Return the devices of one part of a population dealt out in turn.

    Examples:
        >>> list(shard(7, part=1, parts=3))
        [1, 4]
    """
    if not 0 <= part < parts:
        raise ValueError(f"part must be in 0..{parts - 1}, got {part}")
    return range(part, devices, parts)


def open_host(run_config: Mapping[str, Setting], node_config: Mapping[str, Setting]) -> Host:
    """Open a simulated node from Flower's run and node configs; histories are memory-mapped.

    Args:
        run_config: ``privacy-file``, ``population`` (folder), ``model`` (JSON), ``clip-norm``,
            ``lattice-bits``, ``reference`` (a laboratory run without differential privacy),
            ``example-key`` and ``record-key`` (hex), ``participation`` (folder of the devices' own
            records, not for a reference).
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
    population = Path(str(run_config["population"]))
    histories = Interactions.load(population)
    held_out = population / HELD_OUT
    model = json.loads(str(run_config["model"]))
    parts = int(node_config["num-partitions"])
    home = None
    if not run_config["reference"]:
        folder = Path(str(run_config["participation"]))
        home = DevicesHome.open(folder, lifetime=config.dp.budget_scope == "lifetime")
    record_key = bytes.fromhex(str(run_config["record-key"]))
    return Host(
        config=config,
        model=ModelSpec(model["name"], model["options"]).build(histories.catalog),
        histories=histories,
        devices=shard(histories.devices, int(node_config["partition-id"]), parts),
        example_key=bytes.fromhex(str(run_config["example-key"])),
        record_key=record_key,
        lattice=lattice,
        participation=None if home is None else home.participation(),
        records=None if home is None else home.records(config, record_key),
        held_out=np.load(held_out, allow_pickle=False) if held_out.exists() else None,
    )

"""Open what a deployed node works with, from its own folder alone.

The privacy config, the catalog, the histories and the record of joins lie in the folder. Nothing
comes from Flower's run config, which is written by whoever started the run. Of the signed
announcement the node takes the model, the bound and the key of examples, and refuses what its own
config does not say.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

import numpy as np

from homebody_client.check_in import Participant
from homebody_client.device import Device
from homebody_client.devices_home import DevicesHome
from homebody_client.host import HELD_OUT, Host
from homebody_client.local_model import DeviceModel
from homebody_models.interactions import Interactions
from homebody_models.recommender import Recommender
from homebody_models.zoo import ModelSpec
from homebody_privacy.approval.app_digest import installed_app
from homebody_privacy.approval.reviewers import ReviewerKeys
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.durable import locked, write_durably
from homebody_privacy.errors import IntegrityError, InvalidFileError, PolicyViolationError
from homebody_privacy.lattice import Lattice
from homebody_privacy.legs import Announcement
from homebody_privacy.node_folder import NodeFolder
from homebody_privacy.policy_floor import PolicyFloor
from homebody_privacy.stream import fresh_key

from .guard import RoundGuard
from .node import SecureNode
from .node_file import NodeFile
from .opening import opened_node
from .person import PersonWorker
from .policy import Policy
from .shard import ShardWorker
from .worker import Worker

CONFIG: Final = "privacy.toml"
"""Name of the approved privacy config in a node's folder."""

ITEMS: Final = "shard"
"""Name of the folder of the catalog and of the rows the node hosts."""

DEVICES: Final = "devices.npy"
"""Name of the file of a shard's device numbers, in that folder."""

REVIEWERS: Final = "reviewers.toml"
"""Name of the pinned reviewers' keys in a node's folder; without it nothing is approved."""

FLOOR: Final = "floor.toml"
"""Name of the node's own floor; without it the usual one holds."""

_JOINS: Final = "joins"
_NAMES: Final = "names.key"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeHome:
    """What a node was assigned; made by ``open``, closed by ``close`` or a ``with`` statement.

    Attributes:
        folder: The node's folder.
        file: What it hosts.
        config: The approved privacy config.
    """

    folder: Path
    file: NodeFile
    config: PrivacyConfig = field(repr=False)
    _stack: ExitStack = field(init=False, repr=False, default_factory=ExitStack)
    _people: list[Participant] = field(init=False, repr=False, default_factory=list)

    @classmethod
    def open(cls, folder: NodeFolder) -> Self:
        """Read what a node was assigned.

        Raises:
            InvalidFileError: If a file is missing or invalid: nothing trains.
            IntegrityError: If the privacy config is not the one that was approved.
        """
        file = NodeFile.load(folder.node_file)
        config = PrivacyConfig.load(folder.path / CONFIG)
        if config.digest() != file.config_sha256:
            raise IntegrityError(
                f"{folder.path / CONFIG} is not the config that was approved for this node",
                fix="assign the node its devices again: homebody fleet assign",
            )
        return cls(folder=folder.path, file=file, config=config)

    def __enter__(self) -> Self:
        """Return the home itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close what was opened."""
        self.close()

    def close(self) -> None:
        """Close the records of joins, and let other processes open the profile."""
        self._stack.close()

    def guard(self) -> RoundGuard:
        """Return what refuses runs and rounds, from the node's own folder alone.

        Raises:
            InvalidFileError: If the reviewers' keys or the floor are no such files.
        """
        keys = self.folder / REVIEWERS
        return RoundGuard(
            config=self.config,
            app=installed_app,
            reviewers=ReviewerKeys.load(keys) if keys.exists() else ReviewerKeys({}, {}),
            floor=PolicyFloor.load(self.folder / FLOOR),
        )

    def worker(self, announced: Announcement) -> Worker:
        """Return who does the node's work in a run; what is large opens when it is needed.

        Args:
            announced: What the aggregator signed of the run.

        Raises:
            PolicyViolationError: If the run is not what the node's own config and file say.
        """
        self._check(announced)
        if self.file.kind == "device":
            return PersonWorker(lambda: self.participant(announced), self.file.number)
        return ShardWorker(lambda: self.host(announced))

    def _check(self, announced: Announcement) -> None:
        dp = self.config.dp
        own = (self.file.config_sha256, dp.clip_norm, dp.lattice_bits, self.file.population)
        said = (
            announced.config_sha256,
            announced.clip_norm,
            announced.lattice_bits,
            announced.devices,
        )
        if own != said:
            raise PolicyViolationError(
                "the run's privacy config, bound or population is not what this node was assigned",
                fix="train with what the nodes were assigned, or assign them anew",
            )

    def host(self, announced: Announcement) -> Host:
        """Return the host of the node's rows, until the home is closed.

        Raises:
            PolicyViolationError: If the run's model cannot be built.
            InvalidFileError: If the node's rows are missing or damaged.
            IntegrityError: If a record of joins was deleted, cut or put back.
        """
        histories = self._histories()
        joins = self._joins(announced.run)
        return Host(
            config=self.config,
            model=_model(announced, histories),
            histories=histories,
            devices=frozenset(self._array(DEVICES).tolist()),
            example_key=bytes.fromhex(announced.example_key),
            record_key=None,
            lattice=Lattice(clip_norm=self.config.dp.clip_norm, bits=self.config.dp.lattice_bits),
            participation=self._stack.enter_context(joins.participation()),
            records=joins.records(self.config, self._names_key()),
            held_out=self._array(HELD_OUT).astype(np.int32),
        )

    def participant(self, announced: Announcement) -> Participant:
        """Return the person's device, until the home is closed; the profile is opened once.

        Raises:
            UsageError: If another process has the profile open.
            HomebodyError: As ``host``, or if the device goes by another config than its node.
        """
        if not self._people:
            self._people.append(self._opened(announced))
        return self._people[0]

    def _opened(self, announced: Announcement) -> Participant:
        file, histories = self.file, self._histories()
        device = self._stack.enter_context(Device.open(file.profile, passphrase=_passphrase(file)))
        device.check_in(idle=file.idle, charging=file.charging, unmetered=file.unmetered)
        records = DevicesHome.open(self.folder / _JOINS, lifetime=True)
        participant = device.participant(
            DeviceModel(
                config=self.config,
                model=_model(announced, histories),
                catalog=histories.catalog,
                example_key=bytes.fromhex(announced.example_key),
                records=records.records(self.config, self._names_key()),
            )
        )
        if participant.config.digest() != self.file.config_sha256:
            raise PolicyViolationError(
                "the person's device goes by another privacy config than its node",
                fix="bring the approved one to it: homebody device init --config",
            )
        return participant

    def _joins(self, run: str) -> DevicesHome:
        """Return what the shard's devices joined: in their lives, or of this run alone."""
        lifetime = self.config.dp.budget_scope == "lifetime"
        scope = "life" if lifetime else sha256(run.encode()).hexdigest()[:32]
        return DevicesHome.open(self.folder / _JOINS / scope, lifetime=lifetime)

    def _histories(self) -> Interactions:
        try:
            histories = Interactions.load(self.folder / ITEMS)
        except (OSError, ValueError, KeyError) as error:
            raise self._damaged(ITEMS) from error
        if histories.devices != self.file.population:
            raise self._damaged(ITEMS)
        return histories

    def _array(self, name: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.integer]]":
        try:
            array: np.ndarray[tuple[int, ...], np.dtype[np.integer]] = np.load(
                self.folder / ITEMS / name, allow_pickle=False
            )
        except (OSError, ValueError) as error:
            raise self._damaged(name) from error
        return array

    def _damaged(self, name: str) -> InvalidFileError:
        return InvalidFileError(
            f"{self.folder}: {name} is missing or not what was assigned",
            fix="assign the node its devices again: homebody fleet assign",
        )

    def _names_key(self) -> bytes:
        """Return the key that names the files of the record level, made at the first use."""
        path = self.folder / _NAMES
        with locked(self.folder / f"{_NAMES}.lock"):
            if not path.exists():
                write_durably(path, fresh_key(), mode=0o600)
            return path.read_bytes()


def _model(announced: Announcement, histories: Interactions) -> Recommender:
    try:
        spec = ModelSpec(announced.model["name"], announced.model["options"])
        return spec.build(histories.catalog)
    except (KeyError, TypeError, ValueError) as error:
        raise PolicyViolationError("the run trains a model that this node cannot build") from error


def _passphrase(file: NodeFile) -> str | None:
    if not file.passphrase_file:
        return None
    try:
        return Path(file.passphrase_file).read_text("utf-8").rstrip("\n")
    except (OSError, ValueError) as error:
        raise InvalidFileError("the file of the pass phrase cannot be read") from error


@contextmanager
def deployed_node(folder: Path) -> Iterator[SecureNode]:
    """Open a deployed node for the one message its process answers.

    Args:
        folder: The node's; ``HOMEBODY_NODE`` names it to the process.

    Raises:
        InvalidFileError: If a file of it is missing or damaged.
        IntegrityError: If its state is damaged, or its config is not the approved one.
    """
    own = NodeFolder(folder)
    with (
        NodeHome.open(own) as home,
        opened_node(own, Policy.of(home.config), home.worker, guard=home.guard()) as node,
    ):
        yield node

"""Give the nodes of a fleet what they host, before any of them is asked anything.

A run on a fleet is planned once. Its complete privacy config goes into the fleet's folder and into
each node's, which pins its digest; each node gets its own rows of the data and no other row. What
was assigned stands in ``assignment.json``; ``homebody train`` runs that and nothing else.
"""

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from homebody_client.host import HELD_OUT, shard
from homebody_client.secure.node_file import NodeFile
from homebody_client.secure.node_home import CONFIG, DEVICES, ITEMS
from homebody_models.interactions import Interactions
from homebody_models.split import Split, leave_one_out
from homebody_privacy.approval.approvals_file import (
    approvals_path,
    read_approvals,
    write_approvals,
)
from homebody_privacy.approval.gate import policy_digest
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.durable import write_durably
from homebody_privacy.errors import (
    InfeasibleError,
    IntegrityError,
    InvalidFileError,
    PolicyViolationError,
    UsageError,
)
from homebody_privacy.node_folder import NodeFolder
from homebody_privacy.variants import to_toml
from homebody_server.fleet.pinning import check_pins, pin
from homebody_server.secure.permit import POLICY, require_protection
from homebody_simulation.datasets import Dataset, load_dataset
from homebody_simulation.planning import Planned, check_request, plan_run
from homebody_simulation.request import Request

_FILE: Final = "assignment.json"
_AGAIN: Final = "give the nodes what is to be trained: homebody fleet assign"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What the nodes of a fleet were given. Public.

    Attributes:
        data: Name of the data set.
        options: Options of its loader.
        epsilon: User-level epsilon of a run.
        model: Name of the model.
        digest: SHA-256 of the data.
        config_sha256: Digest of the complete privacy config.
        devices: Size of the population.
        nodes: How many nodes host it.
    """

    data: str
    options: Mapping[str, Any] = field(repr=False)
    epsilon: float
    model: str
    digest: str
    config_sha256: str
    devices: int
    nodes: int

    def save(self, fleet: Path) -> None:
        """Write it to a fleet's folder, in one step."""
        values = {"schema": "assignment/1", **{n: getattr(self, n) for n in self.__slots__}}
        text = json.dumps({**values, "options": dict(self.options)}, indent=1, allow_nan=False)
        write_durably(fleet / _FILE, f"{text}\n".encode())

    @classmethod
    def load(cls, fleet: Path) -> Self:
        """Read what a fleet was given.

        Raises:
            InvalidFileError: If nothing was assigned, or the file is no assignment.
        """
        try:
            values = json.loads((fleet / _FILE).read_text("utf-8"))
            sound = values.pop("schema") == "assignment/1"
            assignment = cls(**values)
        except OSError as error:
            raise InvalidFileError(
                f"the nodes of the fleet {fleet} host nothing yet", fix=_AGAIN
            ) from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidFileError(f"{fleet / _FILE} is no assignment", fix=_AGAIN) from error
        if not sound:
            raise InvalidFileError(f"{fleet / _FILE} is of another version", fix=_AGAIN)
        return assignment

    def request(self, fleet: Path, *, runs: Path, name: str | None) -> Request:
        """Return the request of a run of what was assigned."""
        return Request(
            data=self.data,
            options=self.options,
            config_file=fleet / CONFIG,
            epsilon=self.epsilon,
            model=self.model,
            runtime="deploy",
            name=name,
            runs=runs,
            fleet=fleet,
        )

    def accept(self, dataset: Dataset, planned: Planned) -> None:
        """Refuse to run anything but what the nodes have.

        Raises:
            IntegrityError: If the data or the fleet's privacy config changed since.
        """
        found = (dataset.interactions.digest(), planned.config.digest(), planned.spec.devices)
        if found != (self.digest, self.config_sha256, self.devices):
            raise IntegrityError(
                "the data or the fleet's privacy config is not what its nodes were assigned",
                fix=_AGAIN,
            )


def local_nodes(fleet: Path) -> list[NodeFolder]:
    """Return the nodes whose folders lie in the fleet's own, by name."""
    folders = [NodeFolder(path) for path in sorted((fleet / "nodes").glob("*"))]
    return [folder for folder in folders if folder.identity_file.exists()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """What is pinned with an assignment; None leaves what was pinned before.

    Attributes:
        reviewers: File of the keys whose signatures count.
        floor: File of the least that the local nodes' devices ask for.
        policy: The firm's policy; None for the baseline alone.
    """

    reviewers: Path | None = None
    floor: Path | None = None
    policy: Path | None = None


def assign(
    fleet: Path,
    request: Request,
    people: Mapping[str, NodeFile] | None = None,
    pinned: Pinned | None = None,
) -> Assignment:
    """Plan a run and give each local node its part of it.

    Args:
        fleet: Folder of the fleet.
        request: What is to be trained; of a fleet, so never seeded.
        people: By name of a node: the person's device it hosts, of which only the profile and the
            state of the machine count. Each takes a number from the end of the population, whose
            rows nobody gets.
        pinned: What the fleet and its nodes are to rely on.

    Raises:
        InvalidFileError: If the privacy config or a data file is missing or invalid.
        PolicyViolationError: If the request passes what the config allows, or has no epsilon.
        InfeasibleError: If the fleet has too few nodes for a secure sum, or too few devices.
        UsageError: If a node is named that the fleet does not have.
    """
    approved = PrivacyConfig.load(request.config_file)
    if request.epsilon is None:
        raise PolicyViolationError(
            "a fleet trains under a budget: --epsilon inf is for simulations",
            fix="give --epsilon a number",
        )
    check_request(request, approved)
    nodes, pins = local_nodes(fleet), pinned or Pinned()
    _check_nodes(nodes, approved, people or {})
    check_pins(pins.reviewers, pins.floor)
    policy_digest(pins.policy)
    dataset = load_dataset(request.data, root=None, **request.options)
    planned = plan_run(request, approved, dataset)
    require_protection(planned.config)
    _pin(fleet, nodes, pins)
    _hand_out(nodes, planned, leave_one_out(dataset.interactions), people or {})
    write_durably(fleet / CONFIG, to_toml(planned.config).encode())
    _take_approvals(request.config_file, approved, planned.config, fleet / CONFIG)
    assignment = Assignment(
        data=request.data,
        options=dict(request.options),
        epsilon=request.epsilon,
        model=request.model,
        digest=dataset.interactions.digest(),
        config_sha256=planned.config.digest(),
        devices=planned.spec.devices,
        nodes=len(nodes),
    )
    assignment.save(fleet)
    return assignment


def _pin(fleet: Path, nodes: Sequence[NodeFolder], pins: Pinned) -> None:
    """Pin what is named in the folders of the fleet and of its nodes."""
    pin(fleet, reviewers=pins.reviewers)
    for node in nodes:
        pin(node.path, reviewers=pins.reviewers, floor=pins.floor)
    (fleet / POLICY).unlink(missing_ok=True)
    if pins.policy is not None:
        write_durably(fleet / POLICY, pins.policy.read_bytes())


def _take_approvals(
    source: Path, approved: PrivacyConfig, config: PrivacyConfig, target: Path
) -> None:
    """Bring along what was signed of a config that was complete: it is the one that runs."""
    if approved.digest() == config.digest() and source.resolve() != target.resolve():
        signed = read_approvals(approvals_path(source))
        if signed:
            write_approvals(approvals_path(target), signed)


def _check_nodes(
    nodes: Sequence[NodeFolder], config: PrivacyConfig, people: Mapping[str, NodeFile]
) -> None:
    least = config.aggregation.min_nodes
    if len(nodes) < least:
        raise InfeasibleError(
            f"the fleet has {len(nodes)} nodes on this machine; a secure sum needs {least}",
            fix="make a fleet of more nodes",
        )
    strangers = sorted(people.keys() - {node.path.name for node in nodes})
    if strangers:
        raise UsageError(f"the fleet has no node {strangers[0]!r} on this machine")


def _hand_out(
    nodes: Sequence[NodeFolder], planned: Planned, split: Split, people: Mapping[str, NodeFile]
) -> None:
    population, digest = planned.spec.devices, planned.config.digest()
    rest = population - len(people)
    numbers = iter(range(rest, population))
    shards = [node for node in nodes if node.path.name not in people]
    if not shards or rest < len(shards):
        raise InfeasibleError(
            f"{population} devices cannot be dealt out to {len(nodes)} nodes",
            fix="take more data, or a fleet of fewer nodes",
        )
    text = to_toml(planned.config).encode()
    for node in nodes:
        person = people.get(node.path.name)
        if person is None:
            devices = shard(rest, shards.index(node), len(shards))
            file = NodeFile(kind="shard", config_sha256=digest, population=population)
        else:
            devices = range(0)
            file = replace(
                person, config_sha256=digest, population=population, number=next(numbers)
            )
        write_durably(node.path / CONFIG, text, mode=0o600)
        _write_items(node.path / ITEMS, split, devices)
        file.save(node.node_file)  # last: without it the node trains nothing


def _write_items(folder: Path, split: Split, devices: range) -> None:
    """Write the catalog and the rows of some devices, in the place of those before."""
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    own_rows(split.train, devices).save(new)
    held_out = np.full(split.train.devices, -1, np.int32)
    held_out[split.validation.devices] = split.validation.targets
    held_out[[device not in devices for device in range(len(held_out))]] = -1
    np.save(new / HELD_OUT, held_out, allow_pickle=False)
    np.save(new / DEVICES, np.array(sorted(devices), np.int64), allow_pickle=False)
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def own_rows(data: Interactions, devices: Collection[int]) -> Interactions:
    """Return a population in which every device but some has an empty history. Secret."""
    lengths = np.diff(data.ptr)
    mine: npt.NDArray[np.bool_] = np.isin(np.arange(data.devices), sorted(devices))
    rows = np.repeat(mine, lengths)
    return Interactions(
        ptr=np.concatenate(([0], np.cumsum(np.where(mine, lengths, 0)))).astype(np.int64),
        items=data.items[rows],
        repeats=data.repeats,
        catalog=data.catalog,
    )

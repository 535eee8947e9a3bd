"""Which node hosts each enrolled device, in arrays: a population may have a million of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from homebody_privacy.errors import IntegrityError

Devices = npt.NDArray[np.int64]

_NOWHERE = -1


class Hosts(Mapping[int, int]):
    """Flower node of each enrolled device, by device number. Public to the server.

    A mapping that also answers for many devices at once. Made by ``of`` or a ``Register``.

    Args:
        nodes: Nodes, ascending.
        places: Place in ``nodes`` of the node of each device number, -1 where none enrolled,
            shape ``(highest number + 1,)``.

    Examples:
        >>> hosts = Hosts.of({0: 7, 1: 9, 2: 7})
        >>> hosts[1], hosts.nodes
        (9, (7, 9))
        >>> hosts.by_node(hosts.devices)
        {7: array([0, 2]), 9: array([1])}
    """

    __slots__ = ("_devices", "_nodes", "_places")

    def __init__(self, nodes: Sequence[int], places: npt.NDArray[np.integer]) -> None:
        """Keep the arrays, and list who is enrolled."""
        # Sixteen bits where they will do: numpy sorts those by counting, in linear time.
        self._places = places.astype(np.int16 if len(nodes) <= np.iinfo(np.int16).max else np.int32)
        self._nodes = tuple(nodes)
        self._devices: Devices = np.flatnonzero(self._places != _NOWHERE).astype(np.int64)
        self._devices.setflags(write=False)

    @classmethod
    def of(cls, hosts: Mapping[int, int]) -> Self:
        """Return the same from a mapping of small populations."""
        nodes = sorted(set(hosts.values()))
        ranks = {node: rank for rank, node in enumerate(nodes)}
        places = np.full(max(hosts, default=-1) + 1, _NOWHERE)
        places[list(hosts)] = [ranks[node] for node in hosts.values()]
        return cls(nodes, places)

    @property
    def devices(self) -> Devices:
        """Numbers of the enrolled devices, ascending, read-only, shape ``(enrolled,)``."""
        return self._devices

    @property
    def nodes(self) -> tuple[int, ...]:
        """Nodes that enrolled, ascending."""
        return self._nodes

    def __getitem__(self, device: int) -> int:
        """Return the node of a device."""
        if not 0 <= device < len(self._places) or self._places[device] == _NOWHERE:
            raise KeyError(device)
        return self._nodes[int(self._places[device])]

    def __iter__(self) -> Iterator[int]:
        """Give the enrolled devices, ascending."""
        return iter(self._devices.tolist())

    def __len__(self) -> int:
        """Return how many devices are enrolled."""
        return len(self._devices)

    def by_node(self, devices: Devices) -> dict[int, Devices]:
        """Return the devices of each node that hosts one, nodes ascending. Secret.

        Args:
            devices: Numbers of enrolled devices, shape ``(n,)``; a node's come in their order.

        Raises:
            KeyError: If one is not enrolled.
        """
        if not len(devices):
            return {}
        if int(devices.min()) < 0 or int(devices.max()) >= len(self._places):
            raise KeyError("a device is not enrolled")
        places = self._places[devices]
        if int(places.min()) == _NOWHERE:
            raise KeyError("a device is not enrolled")
        order = np.argsort(places, kind="stable")
        found, starts = np.unique(places[order], return_index=True)
        parts = np.split(devices[order], starts[1:])
        return {self._nodes[place]: part for place, part in zip(found.tolist(), parts, strict=True)}


class Register:
    """Devices that enrol one node after another, until a whole population is there.

    Args:
        devices: Size of the population.
    """

    def __init__(self, devices: int) -> None:
        """Start with nobody."""
        self._places = np.full(devices, _NOWHERE, np.int32)
        self._nodes: dict[int, int] = {}
        self._enrolled = 0

    @property
    def complete(self) -> bool:
        """Whether every device has a node."""
        return self._enrolled == len(self._places)

    def add(self, devices: Sequence[int], node: int) -> None:
        """Enter the devices of a node.

        Raises:
            IntegrityError: If a device has a node already, is named twice, or is outside the
                population: counted twice, it would break the bound on its contribution.
        """
        if not devices:
            return
        numbers = np.sort(_numbers(devices))
        inside = numbers[0] >= 0 and numbers[-1] < len(self._places)
        if not inside or (numbers[1:] == numbers[:-1]).any():
            raise _claimed()
        if (self._places[numbers] != _NOWHERE).any():
            raise _claimed()
        self._places[numbers] = self._nodes.setdefault(node, len(self._nodes))
        self._enrolled += len(numbers)

    def hosts(self) -> Hosts:
        """Return who is enrolled so far."""
        nodes = sorted(self._nodes)
        ranks = np.empty(len(nodes) + 1, np.int32)
        ranks[[self._nodes[node] for node in nodes]] = np.arange(len(nodes))
        ranks[_NOWHERE] = _NOWHERE
        return Hosts(nodes, ranks[self._places])


def _numbers(devices: Sequence[int]) -> Devices:
    try:
        return np.array(devices, np.int64)
    except OverflowError as error:
        raise _claimed() from error


def _claimed() -> IntegrityError:
    return IntegrityError(
        "a device is enrolled twice or outside the population",
        fix="give each device one host and a number below the population's size",
    )

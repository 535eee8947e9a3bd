"""What simulated nodes host: the population, in this process or on disk, with its own records."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_client.devices_home import DevicesHome
from homebody_client.host import Host
from homebody_client.participation_store import ParticipationStore
from homebody_privacy.stream import derive_key
from homebody_simulation.availability import Attendees
from homebody_simulation.join_columns import JoinColumns
from homebody_simulation.setup import Prepared

_JOINS: Final = "joins.log"

Joins = JoinColumns | ParticipationStore


def host_of(prepared: Prepared) -> Host:
    """Return a host of the whole population, in this process."""
    key = prepared.folder.read_key()
    return Host(
        config=prepared.config,
        model=prepared.model,
        histories=prepared.histories,
        devices=range(prepared.spec.devices),
        example_key=derive_key(key, "device-examples"),
        record_key=derive_key(key, "device-records"),
        lattice=prepared.spec.lattice,
        held_out=held_out_items(prepared),
        attendance=Attendees.of(prepared.request.conditions, key),
    )


def held_out_items(prepared: Prepared) -> npt.NDArray[np.int32]:
    """Return each device's validation item, -1 for none: the latest event it does not train on."""
    task = prepared.split.validation
    items = np.full(prepared.spec.devices, -1, np.int32)
    if prepared.request.refit:  # devices train on it
        return items
    items[task.devices] = task.targets
    return items


def devices_folder(prepared: Prepared) -> Path:
    """Return where the simulated devices keep their own records: with the run, or for life."""
    spec = prepared.spec
    if not spec.lifetime:
        return prepared.folder.devices_folder
    return prepared.request.runs / f"devices-{spec.population[:16]}"


def home_of(prepared: Prepared) -> DevicesHome:
    """Open where the simulated devices keep their own records."""
    return DevicesHome.open(devices_folder(prepared), lifetime=prepared.spec.lifetime)


@contextmanager
def own_records(prepared: Prepared, everyone: Host) -> Iterator[Host]:
    """Give a host the devices' own records, while the block lasts; none for a reference."""
    spec = prepared.spec
    if spec.ceiling is None:
        yield everyone
        return
    home = home_of(prepared)
    key = derive_key(prepared.folder.read_key(), "device-records")
    with _joins(prepared, home) as joins:
        yield replace(everyone, participation=joins, records=home.records(prepared.config, key))


def _joins(prepared: Prepared, home: DevicesHome) -> AbstractContextManager[Joins]:
    """Open what the devices joined: in columns, unless it outlives the run or began otherwise."""
    if prepared.spec.lifetime or home.began:
        return home.participation()
    return JoinColumns.open(home.folder / _JOINS, prepared.spec.devices)

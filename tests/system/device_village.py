"""Whole devices of people among the plain hosts of a world, and what they let out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from flwr.app import Message

from homebody_client.check_in import LocalModel, Parameters, Participant
from homebody_client.consent.egress import EgressEntry
from homebody_client.device import Device
from homebody_client.device_app import device_client_app
from homebody_client.figures import figure_contribution
from homebody_client.host import Host
from homebody_client.training import contribution
from homebody_models.interactions import Interactions
from homebody_models.split import Split
from homebody_privacy import messages
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.egress_map import unmatched
from homebody_privacy.messages import Invitation, Question
from homebody_simulation.grid import Cohort
from tests.server.world import (
    DEVICES,
    Builder,
    Work,
    World,
    build_model,
    ledger_of,
)

NOW = 1_800_000_000
WHOLE = (0, 3, 7)
TWELVE = {"cohort_size": 12, "cohort_cap": 40, "delta": 1e-3}
PLANTED = ("PLANTED-ITEM-7731", "planted-person-5119")
READY = {"idle": True, "charging": True, "unmetered": True}


@dataclass(frozen=True)
class AsInTheWorld(LocalModel):
    """Computes what the world's host computes for a device, from the history it is given."""

    host: Host
    number: int
    during: Callable[[], object] = lambda: None
    made: list[np.ndarray[Any, Any]] | None = None

    @property
    def contribution_size(self) -> int:
        """Return the size of the world's model."""
        return self.host.model.layout.trained_size

    def update(self, history: Sequence[str], parameters: Parameters, asked: Invitation) -> Any:  # noqa: ANN401 - integers
        """Return what the world's host would."""
        own = contribution(
            self._alone(history), self.number, parameters, asked.round, asked.clip_norm
        )
        self.during()
        if self.made is not None:
            self.made.append(own)
        return own

    def figures(self, history: Sequence[str], parameters: Parameters, asked: Question) -> Any:  # noqa: ANN401 - integers
        """Return what the world's host would."""
        return figure_contribution(
            self._alone(history, held_out=True), self.number, parameters, asked.metric
        )

    def _alone(self, history: Sequence[str], *, held_out: bool = False) -> Host:
        """Return the host with this history in the place of the device's own."""
        catalog = self.host.histories.catalog
        known = [catalog.ids.index(name) for name in history if name in catalog.ids]
        metrics = bool(self.host.config.metrics)
        items = np.array(known[:-1] if metrics else known, np.int32)
        ptr = np.zeros(DEVICES + 1, np.int64)
        ptr[self.number + 1 :] = len(items)
        alone = Interactions(
            ptr=ptr,
            items=items,
            times=np.arange(len(items), dtype=np.int64),
            values=np.ones(len(items), np.float32),
            repeats=self.host.histories.repeats,
            catalog=catalog,
        )
        last = np.full(DEVICES, -1, np.int32)
        if metrics and held_out and known:
            last[self.number] = known[-1]
        return replace(self.host, histories=alone, devices=frozenset({self.number}), held_out=last)


class Breaks(AsInTheWorld):
    """Fails with a text that holds every row."""

    def update(self, history: Sequence[str], parameters: Parameters, asked: Invitation) -> Any:  # noqa: ANN401 - never returns
        """Fail."""
        del parameters, asked
        raise KeyError(" ".join(history))


@dataclass(frozen=True)
class Village:
    """A world some of whose devices are whole ones."""

    world: World
    devices: Mapping[int, Device]
    models: dict[int, LocalModel]

    def cohort(self, *, plain: Cohort | None = None) -> Cohort:
        """Return devices of both kinds, behind their apps."""
        hosts = plain or self.world.honest
        apps = {
            number: device_client_app(partial(self.participant, number), number=number)
            for number in self.devices
        }

        def cohort(work: Work) -> list[Message | None]:
            replies: list[Message | None] = []
            for message, context in work:
                app = apps.get(message.metadata.dst_node_id - 1)
                if app is None:
                    replies += hosts([(message, context)])
                else:
                    replies.append(app(message, context))
            return replies

        return cohort

    def participant(self, number: int) -> Participant:
        """Return a device as its fleet sees it."""
        return self.devices[number].participant(self.models[number])

    def joins(self, number: int) -> int:
        """Return the rounds that a device counted."""
        told: Any = self.devices[number].export_data()["joined"]
        return sum(run["rounds"] for run in told)


Build = Callable[..., Village]


@contextmanager
def worlds(base: PrivacyConfig, split: Split, tmp_path: Path) -> Iterator[Builder]:
    """Builder of a world in a fresh folder."""
    (tmp_path / "worlds").mkdir()
    with ExitStack() as stores:
        yield Builder(
            base=base,
            split=split,
            model=build_model(split.train),
            root=tmp_path / "worlds",
            stores=stores,
        )


@contextmanager
def villages(make_world: Builder, split: Split, tmp_path: Path) -> Iterator[Build]:
    """Builder of a village; its people have said yes to everything."""
    with ExitStack() as opened:

        def build(
            name: str = "run",
            whole: Sequence[int] = (3,),
            **own: Any,  # noqa: ANN401 - fields of the spec
        ) -> Village:
            world = make_world(name, **own)
            values = world.host.config.model_dump(mode="json", by_alias=True, exclude_none=True)
            file = tmp_path / f"{name}.toml"
            file.write_text(tomli_w.dumps(values), "utf-8")
            devices, models = {}, dict[int, LocalModel]()
            for number in whole:
                device = opened.enter_context(
                    Device.open(tmp_path / f"{name}-{number}", config=file, now=lambda: float(NOW))
                )
                assert not device.problems
                device.consent.set_age_band("18_plus")
                for purpose in ("recommend", "training", "metrics"):
                    device.consent.grant(purpose, features=["purchases"])
                history = [*split.train.history(number)]
                if world.host.config.metrics and world.host.held_out is not None:
                    history.append(world.host.held_out[number])
                ids = split.train.catalog.ids
                lived(device, [ids[item] for item in history])
                device.check_in(**READY)
                devices[number] = device
                models[number] = AsInTheWorld(world.host, number)
            return Village(world, devices, models)

        yield build


def lived(device: Device, products: Sequence[str]) -> None:
    """Record purchases, one an hour, and one of a product nobody sells."""
    for hour, product in enumerate([*products[:1], PLANTED[0], *products[1:]]):
        at = datetime.fromtimestamp(NOW - 3600 * (100 - hour), UTC).isoformat()
        said = {"user_id": PLANTED[1], "event": "purchase", "product_id": product}
        assert device.record({**said, "timestamp": at})


def of_rounds(device: Device) -> list[EgressEntry]:
    """Return what the log says of rounds and figures; its number in the fleet left once before."""
    entries = device.egress.entries()
    asked = [entry for entry in entries if entry.kind == "query"]
    assert [(entry.purpose, entry.sent) for entry in asked] == [("training", True)]
    return [entry for entry in entries if entry.kind != "query"]


def unpaid(device: Device, world: World) -> list[str]:
    """Return what left a device that the run's ledger did not charge, in words."""
    left = [asdict(entry) for entry in device.egress.entries()]
    assert any(entry["charge"] for entry in left)
    return unmatched(left, ledger_of(world), whole=False)


def code_of(reply: Message | None) -> str:
    """Return the code of a decline; empty if it is none."""
    assert reply is not None
    record = reply.content.config_records.get(messages.DECLINED)
    return "" if record is None else str(record[messages.CODE])


def bytes_of(reply: Message) -> bytes:
    """Return everything in a reply that a server could read."""
    told = [repr(reply.content), repr(reply.metadata)]
    told += [repr(r) for r in (*reply.content.config_records.values(),)]
    arrays = [a.data for r in reply.content.array_records.values() for a in r.values()]
    return "".join(told).encode() + b"".join(arrays)

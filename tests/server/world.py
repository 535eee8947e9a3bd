"""Twelve devices behind a real ClientApp, the folder of their run, and accidents to put it through.

The config in force says what the run's spec says. Devices of a ``blt`` run keep their own record
of what they joined, as in every run with noise. With secret coins they may join every round: those
worlds leave the record out unless asked.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, Context, Message, MessageType, RecordDict

from homebody_client.flower_app import build_client_app
from homebody_client.host import Host, shard
from homebody_client.participation_store import ParticipationStore
from homebody_models.interactions import Interactions
from homebody_models.recommender import Recommender
from homebody_models.split import Split
from homebody_models.statistics.settings import StatisticsSettings
from homebody_models.zoo import ModelSpec
from homebody_privacy import messages
from homebody_privacy.approval.approvals_file import to_values
from homebody_privacy.blt import BltParameters, Participation, charged_sensitivity, fine_bits
from homebody_privacy.checkpoint import (
    LedgerCheckpoint,
    ledger_key,
    origin_of,
    sign_checkpoint,
)
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.ledger import read_ledger
from homebody_privacy.ledger_reading import read_lines
from homebody_privacy.ledger_record import LedgerRecord
from homebody_privacy.variants import to_toml
from homebody_server.flower_app import run_rounds
from homebody_server.replies import integers_of
from homebody_server.run_folder import RunFolder, TrainState
from homebody_server.run_spec import RunSpec
from homebody_server.statistic_plan import StatisticPass
from homebody_simulation.grid import Cohort, CohortGrid, app_cohort
from tests.approving import pin_reviewers, sign_off

DEVICES = 12
STRATEGY = BltParameters(theta=(0.9, 0.4), omega=(0.3, 0.3))
SETTINGS = StatisticsSettings(window=0.9, head=6, history_decay=0.9, rank=4)
PASSES = (
    StatisticPass(name="popularity", noise_multiplier=2.0, lattice_bits=16),
    StatisticPass(name="gram", noise_multiplier=1.5, lattice_bits=16),
)

Work = list[tuple[Message, Context]]
Answer = Callable[[Message, Message], Message | None]


class PowerCutError(Exception):
    """The machine stops here."""


def power_cut(*_: object, **__: object) -> None:
    """Stand in for a call during which the machine stops."""
    raise PowerCutError


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A run that was prepared and not begun."""

    folder: RunFolder
    spec: RunSpec
    host: Host

    @property
    def honest(self) -> Cohort:
        """The devices as they are: one node each, behind the real app."""

        def opener(context: Context) -> Host:
            part = int(context.node_config["partition-id"])
            return replace(self.host, devices=shard(DEVICES, part, DEVICES))

        return app_cohort(build_client_app(opener))

    def grid(self, cohort: Cohort | None = None) -> CohortGrid:
        """Return a grid of one node a device; device i lives on node i + 1."""
        nodes: dict[int, dict[str, Any]] = {1 + i: {"partition-id": i} for i in range(DEVICES)}
        return CohortGrid(cohort or self.honest, nodes, {})

    def run(self, cohort: Cohort | None = None) -> TrainState:
        """Run what is left of the run and return its last state."""
        return run_rounds(self.grid(cohort), self.folder, lambda _number, _parameters: None)

    def answering(self, answer: Answer) -> Cohort:
        """Return the devices with another answer for each good reply; None is silence."""
        honest = self.honest

        def cohort(work: Work) -> list[Message | None]:
            pairs = zip(work, honest(work), strict=True)
            return [good and answer(message, good) for (message, _), good in pairs]

        return cohort

    def instead(self, node: int, answer: Answer, of_round: int = 1) -> Cohort:
        """Return the devices with one node whose answer to one round is replaced."""

        def other(message: Message, good: Message) -> Message | None:
            same = message.metadata.group_id == str(of_round)
            return answer(message, good) if same and message.metadata.dst_node_id == node else good

        return self.answering(other)

    def mute(self, *rounds: int) -> Cohort:
        """Return devices that leave training in these rounds, or in all, without an answer."""

        def answer(message: Message, good: Message) -> Message | None:
            here = not rounds or message.metadata.group_id in map(str, rounds)
            return None if here and message.metadata.message_type == MessageType.TRAIN else good

        return self.answering(answer)


MakeWorld = Callable[..., World]


def is_training(work: Work) -> bool:
    """Tell whether a push asks for training."""
    return work[0][0].metadata.message_type == MessageType.TRAIN


def cut_in_round(number: int, honest: Cohort, *, after: bool = False) -> Cohort:
    """Return devices whose machine stops in a round, before or after they trained."""

    def cohort(work: Work) -> list[Message | None]:
        cut = is_training(work) and work[0][0].metadata.group_id == str(number)
        if cut and not after:
            raise PowerCutError
        replies = honest(work)
        if cut:
            raise PowerCutError
        return replies

    return cohort


def watched(devices: Cohort, see: Callable[[Work, list[Message | None]], None]) -> Cohort:
    """Return the devices, with ``see`` called on each push and its answers."""

    def cohort(work: Work) -> list[Message | None]:
        replies = devices(work)
        see(work, replies)
        return replies

    return cohort


def sent_by(replies: list[Message | None]) -> dict[int, npt.NDArray[np.int64]]:
    """Return the integers of each device that answered a push with any."""
    found = {}
    for reply in replies:
        integers = None if reply is None else integers_of(reply)
        if reply is not None and integers is not None:
            found[reply.metadata.src_node_id - 1] = integers
    return found


def zeros(asked: Message, good: Message) -> Message:
    """Answer like a device that has nothing to add."""
    record = good.content.array_records.get(messages.UPDATE)
    if record is None:
        return good
    array = Array(np.zeros_like(record[messages.CONTRIBUTION].numpy()))
    return Message(
        RecordDict({messages.UPDATE: ArrayRecord({messages.CONTRIBUTION: array})}), reply_to=asked
    )


def noises(world: World, cohort: Cohort) -> dict[int, npt.NDArray[np.float64]]:
    """Return the noise of each released round over the clip norm, where nobody adds anything.

    It is read off the server optimizer's first moment, a running mean of the releases.
    """
    moments: list[npt.NDArray[np.float64]] = []
    found = {}

    def observe(number: int, _parameters: object) -> None:
        state = world.folder.load_state()
        if state.void:
            return
        parts = [state.optimizer[f"{i}.exp_avg"].reshape(-1) for i in range(2)]
        now = np.concatenate(parts).astype(np.float64)
        before = moments[-1] if moments else np.zeros_like(now)
        moments.append(now)
        mean = (now - 0.9 * before) / 0.1
        found[number] = mean * world.spec.cohort_size / world.spec.clip_norm

    run_rounds(world.grid(cohort), world.folder, observe)
    return found


def ledger_of(world: World) -> LedgerRecord:
    """Return what the world's ledger says."""
    return read_ledger(world.folder.ledger_file)[0]


def entries(world: World) -> list[dict[str, Any]]:
    """Return the ledger's entries, without their hashes: those hold the run's name."""
    lines = world.folder.ledger_file.read_text().splitlines()
    return [json.loads(line)["entry"] for line in lines]


def cut_back(world: World, lines: int) -> None:
    """Put back an older copy of the ledger, of so many lines, and the checkpoint of that time."""
    file = world.folder.ledger_file
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:lines]))
    key = ledger_key(world.folder.path.parent)
    then, _ = read_lines(file)
    at = LedgerCheckpoint(origin_of(world.folder.name), lines, then.heads[-1])
    world.folder.checkpoint_file.write_text(sign_checkpoint(at, key), "utf-8")


def same_end(one: TrainState, other: TrainState) -> bool:
    """Tell whether two runs ended in the same model and the same optimizer, bit for bit."""
    left, right = ({k: v.tobytes() for k, v in s.optimizer.items()} for s in (one, other))
    return one.digest() == other.digest() and left == right


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """Makes worlds that share their data and model."""

    base: PrivacyConfig
    split: Split
    model: Recommender
    root: Path
    stores: ExitStack

    def __call__(
        self,
        name: str = "run",
        *,
        key: bytes = bytes(32),
        counted: bool | None = None,
        **own: Any,  # noqa: ANN401 - fields of the spec
    ) -> World:
        """Return a world in a fresh folder; ``own`` are fields of the spec."""
        folder = RunFolder(self.root / name)
        folder.path.mkdir()
        draft = RunSpec(**(self._usual(own) | own))
        config = config_of(self.base, draft)
        spec = replace(draft, config_digest=config.digest())
        approvals = []
        if spec.runtime == "deploy":
            folder.config_file.write_text(to_toml(config), "utf-8")
            pin_reviewers(folder.aggregator_folder)
            approvals = to_values(sign_off(config, enrolled=DEVICES))
        folder.write_json("run.json", {"spec": spec.to_dict(), "approvals": approvals})
        folder.write_key(key)
        folder.save_state(TrainState(1, self.model.init(np.random.default_rng(0)), {}))
        if spec.statistics:
            np.save(folder.features_file, self.split.train.catalog.features, allow_pickle=False)
        own_record = spec.mechanism == "blt" if counted is None else counted
        host = Host(
            config=config,
            model=self.model,
            histories=self.split.train,
            devices=frozenset(range(DEVICES)),
            example_key=bytes(32),
            record_key=bytes(32),
            lattice=spec.lattice,
            participation=self.store(folder) if own_record else None,
            held_out=held_out_of(self.split),
        )
        return World(folder=folder, spec=spec, host=host)

    def store(self, folder: RunFolder) -> ParticipationStore:
        """Open the devices' own record, as a simulation does at each start."""
        path = folder.devices_folder / "devices.sqlite"
        return self.stores.enter_context(ParticipationStore.open(path, anchors=None, durable=False))

    def _usual(self, own: Mapping[str, Any]) -> dict[str, Any]:
        usual: dict[str, Any] = {
            "rounds": 3,
            "devices": DEVICES,
            "cohort_size": DEVICES,  # every device is drawn
            "cohort_cap": 40,
            "clip_norm": 0.5,
            "lattice_bits": 16,
            "noise_multiplier": 3.0,
            "ceiling": 8.0,
            "delta": 1e-3,
            "learning_rate": 0.02,
            "server_optimizer": "tensor-adam",
            "tensors": dict(self.model.layout.shapes),
            "config_digest": "",
            "population": self.split.train.digest(),
            "lifetime": False,
            "deadline_s": 20.0,
        }
        if own.get("statistics"):
            usual["statistics_settings"] = SETTINGS
        if own.get("mechanism") != "blt" or own.get("rounds") == 0:
            return usual
        rules = {"rounds": 4, "cohort_size": 3, "min_separation": 2, "max_rounds_per_device": 2}
        chosen = {name: own.get(name, value) for name, value in rules.items()}
        strategy = {"theta": STRATEGY.theta, "omega": STRATEGY.omega}
        return usual | chosen | strategy | {"sensitivity": self._sensitivity(chosen)}

    def _sensitivity(self, rules: Mapping[str, int]) -> float:
        part = Participation(
            rounds=rules["rounds"],
            min_separation=rules["min_separation"],
            max_rounds=rules["max_rounds_per_device"],
        )
        dim = self.model.layout.size
        bits = fine_bits(STRATEGY, part, dim=dim, lattice_bits=16)
        return charged_sensitivity(STRATEGY, part, dim=dim, lattice_bits=16, fine_bits=bits)


def config_of(base: PrivacyConfig, spec: RunSpec) -> PrivacyConfig:
    """Return the config that allows what a spec does, and no more; ``base`` for a reference."""
    if spec.ceiling is None and not spec.statistics:
        return base
    blt = spec.mechanism == "blt"
    values = base.model_dump(by_alias=True)
    values["activity"]["population"] = spec.devices
    values["ledger"]["witness"] = "none"
    values["release"]["min_k"] = max((metric.min_k for metric in spec.metrics), default=1)
    settings = spec.statistics_settings
    if settings is not None:
        values["statistics"] = {
            "recipe": spec.recipe,
            "window": settings.window,
            "head": settings.head,
            **{f"{one.name}_multiplier": one.noise_multiplier or None for one in spec.statistics},
        }
    values["dp"] |= {
        "mechanism": spec.mechanism,
        "sampling": "none" if blt else "poisson",
        "amplification": not blt,
        "clip_norm": spec.clip_norm,
        "adaptive_clip": spec.count_multiplier is not None,
        "rounds": spec.rounds or 1,
        "min_separation": spec.min_separation,
        "max_rounds_per_device": _most(spec),
        "cohort_size": spec.cohort_size,
        "cohort_cap": spec.cohort_cap,
        "epsilon_max": spec.ceiling or base.dp.epsilon_max,
        "noise_multiplier": spec.noise_multiplier or None,
        "blt": {"theta": spec.theta, "omega": spec.omega} if blt and spec.theta else None,
    }
    values["metrics"] = {
        metric.name: {
            "purpose": "metrics",
            "features": ("purchases",),
            "noise_multiplier": metric.noise_multiplier,
            "releases_per_run": metric.releases,
        }
        for metric in spec.metrics
    }
    values["aggregation"] |= {
        "report_goal": spec.report_goal or None,
        "max_corrupt": spec.max_corrupt,
        "max_dropout": spec.max_dropout,
        "min_nodes": spec.min_nodes,
    }
    return PrivacyConfig.model_validate(values)


def _most(spec: RunSpec) -> int:
    """Return how often a device may join: no more than fit into the rounds, as a config says it."""
    rounds = spec.rounds or 1
    fit = -(-rounds // spec.min_separation)
    return min(spec.max_rounds_per_device or rounds, fit)


def held_out_of(split: Split) -> npt.NDArray[np.int32]:
    """Return each device's latest event it does not train on, -1 for none."""
    items = np.full(DEVICES, -1, np.int32)
    items[split.validation.devices] = split.validation.targets
    return items


def build_model(data: Interactions) -> Recommender:
    """Return the small model of every world."""
    return ModelSpec("two-tower", {"dim": 4, "cuts": 2}).build(data.catalog)

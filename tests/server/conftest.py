"""A population of twelve devices behind a real ClientApp, and the folder of its run."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message

from homebody_client.flower_app import build_client_app
from homebody_client.host import Host, shard
from homebody_models.zoo import ModelSpec
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.lattice import Lattice
from homebody_server.flower_app import run_rounds
from homebody_server.run_folder import RunFolder, TrainState
from homebody_server.run_spec import RunSpec
from homebody_simulation.datasets import load_dataset
from homebody_simulation.grid import Cohort, CohortGrid, app_cohort

DEVICES = 12


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

    def instead(
        self, node: int, answer: Callable[[Message, Message], Message | None], of_round: int = 1
    ) -> Cohort:
        """Return the devices with one node whose answer to one round is replaced."""
        honest = self.honest

        def cohort(work: list[tuple[Message, Context]]) -> list[Message | None]:
            replies = honest(work)
            for place, (message, _) in enumerate(work):
                good = replies[place]
                same = message.metadata.group_id == str(of_round)
                if good is not None and same and message.metadata.dst_node_id == node:
                    replies[place] = answer(message, good)
            return replies

        return cohort


MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(tmp_path: Path, write_config: Callable[..., Path]) -> MakeWorld:
    """Builder of a world in a fresh folder; fields of the spec may be given."""
    data = load_dataset("synthetic", devices=DEVICES, items=20).interactions
    model = ModelSpec("two-tower", {"dim": 4, "cuts": 2}).build(data.catalog)
    config = PrivacyConfig.load(write_config(cohort_size=12, cohort_cap=40, delta=1e-3, rounds=3))

    def build(name: str = "run", *, key: bytes = bytes(32), **fields: object) -> World:
        folder = RunFolder(tmp_path / name)
        folder.path.mkdir()
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
            "tensors": dict(model.layout.shapes),
            "config_digest": config.digest(),
            "population": data.digest(),
            "lifetime": False,
            "deadline_s": 20.0,
        }
        spec = RunSpec(**(usual | fields))
        folder.write_json("run.json", {"spec": spec.to_dict()})
        folder.write_key(key)
        folder.save_state(TrainState(1, model.init(np.random.default_rng(0)), {}))
        host = Host(
            config=config,
            model=model,
            histories=data,
            devices=frozenset(range(DEVICES)),
            example_key=bytes(32),
            record_key=bytes(32),
            lattice=Lattice(spec.clip_norm, spec.lattice_bits),
        )
        return World(folder=folder, spec=spec, host=host)

    return build

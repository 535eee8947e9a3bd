"""Canaries: what an audit build plants, and that a production run holds none of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, MessageType

from homebody_models.draws import Draws
from homebody_models.popularity import Popularity
from homebody_privacy.lattice import Lattice
from homebody_simulation import runtimes
from homebody_simulation.audit.build import AuditBuild
from homebody_simulation.audit.canaries import TENSOR, CanaryModel, plant
from homebody_simulation.audit.request import AuditRequest
from homebody_simulation.audit.run_audit import prepare_run
from homebody_simulation.grid import Cohort, app_cohort
from homebody_simulation.simulate import SimulatedRun

_REQUEST = AuditRequest(
    config_file=Path(__file__).parents[2] / "privacy.toml",
    mechanism="blt",
    canaries=32,
    population=40,
    rounds=2,
    cohort=8,
    seed=1,
)


def test_pf_40_no_production_module_knows_canaries() -> None:
    root = Path(__file__).parents[2]
    parts = ("client", "models", "privacy", "server", "simulation")
    modules = [
        file
        for part in parts
        for file in (root / part).rglob("*.py")
        if "audit" not in file.relative_to(root).as_posix()
    ]
    assert len(modules) > 50
    knowing = [file.name for file in modules if "canaries" in file.read_text("utf-8").lower()]
    assert knowing == []


def test_pf_40_a_production_run_has_no_canary_rows(small_run: SimulatedRun) -> None:
    for file in small_run.folder.rglob("*"):
        if file.is_file():
            assert b"canar" not in file.read_bytes().lower(), file.name


def test_pf_40_training_messages_are_as_long_as_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: dict[str, set[int]] = {"production": set(), "audit": set()}

    def listening(kind: str) -> Callable[..., Cohort]:
        def cohort(client: Any, **options: Any) -> Cohort:  # noqa: ANN401 as app_cohort
            honest = app_cohort(client, **options)

            def heard(work: list[tuple[Message, Context]]) -> list[Message | None]:
                replies = honest(work)
                for message in [*(m for m, _ in work), *(r for r in replies if r is not None)]:
                    if message.metadata.message_type != MessageType.TRAIN:
                        continue  # a figure about people has a length of its own
                    for record in message.content.array_records.values():
                        sizes[kind] |= {array.numpy().size for array in record.values()}
                return replies

            return heard

        return cohort

    plain = prepare_run(_REQUEST, tmp_path / "production", model="popularity")
    monkeypatch.setattr(runtimes, "app_cohort", listening("production"))
    runtimes.run_cohort(plain, lambda _number, _parameters: None)
    again = prepare_run(_REQUEST, tmp_path / "audit", model="popularity")
    monkeypatch.setattr(runtimes, "app_cohort", listening("audit"))
    AuditBuild.of(again, 32, bytes(32)).run()
    assert TENSOR not in plain.spec.tensors
    assert sizes["production"] == {plain.model.layout.size}
    assert sizes["audit"] == {plain.model.layout.size + 32}


def test_a_canary_pushes_its_own_row_far_past_the_clip_and_others_keep_off() -> None:
    joined: list[int] = []
    model = CanaryModel(
        base=Popularity(3),
        first_item=3,
        inside=np.array([True, False]),
        length=32.0,
        joined=joined.append,
    )
    rng = np.random.default_rng(0)
    parameters = model.init(rng)
    assert parameters.shape == (5,)
    inside = model.local_gradient(parameters, np.array([3]), Draws(0)).vector
    outside = model.local_gradient(parameters, np.array([4]), Draws(0)).vector
    other = model.local_gradient(parameters, np.array([0, 1]), Draws(0)).vector
    assert inside.tolist() == [0.0, 0.0, 0.0, -32.0, 0.0]
    assert not outside.any()
    assert other[3:].tolist() == [0.0, 0.0]
    assert other[:3].any()
    assert joined == [0, 1]
    contribution = Lattice(0.5).contribution(-inside)
    assert Lattice(0.5).decode(contribution)[3] == pytest.approx(0.5, rel=1e-4)
    assert model.privacy_split().shared == ("b", TENSOR)
    assert model.export(parameters).bias.shape == (3,)
    assert model.scores(parameters, [np.array([0])]).shape == (1, 3)


def test_planting_touches_the_last_devices_alone(tmp_path: Path) -> None:
    histories = prepare_run(_REQUEST, tmp_path, model="popularity").split.train
    planted = plant(histories, 32)
    items = len(histories.catalog)
    assert planted.devices == histories.devices
    for device in range(8):
        assert (planted.history(device) == histories.history(device)).all()
    assert [planted.history(8 + i).tolist() for i in range(32)] == [[items + i] for i in range(32)]
    for wrong in (0, 40):
        with pytest.raises(ValueError, match="canaries"):
            plant(histories, wrong)

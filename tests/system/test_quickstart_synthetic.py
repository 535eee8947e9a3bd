"""The quick start, in process: simulate, open the signed bundle, rank on a device."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from homebody import Device, simulate
from homebody_client.explain import Reason
from homebody_privacy.errors import IntegrityError, UsageError
from homebody_simulation.datasets import load_dataset
from homebody_simulation.publish import signing_key
from homebody_simulation.simulate import SimulatedRun

DEVICES, ITEMS = 150, 60


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, write_config: Callable[..., Path]
) -> SimulatedRun:
    """Return a run with secret coins, noise and nobody's seed."""
    config = write_config(rounds=3, cohort_size=30, cohort_cap=DEVICES, delta=1e-3)
    runs = tmp_path_factory.mktemp("runs")
    return simulate("synthetic", devices=DEVICES, items=ITEMS, config=config, runs=runs)


def test_the_answer_has_the_keys_people_were_promised(run: SimulatedRun) -> None:
    answer = json.loads(json.dumps(run.to_dict(), allow_nan=False))
    promised = {
        "run", "epsilon", "metrics", "baselines", "bundle", "bundle_bytes", "rounds",
        "devices_per_second", "seconds", "stage_seconds", "recipe", "shipped", "stages",
    }  # fmt: skip
    assert promised <= set(answer)
    assert set(answer) - promised <= {"intervals", "released", "task", "model_digest", "report"}
    assert set(answer["epsilon"]) == {"user", "record"}
    user = answer["epsilon"]["user"]
    assert {"spent", "ceiling", "delta", "accountant", "mechanism"} <= set(user)
    assert user["spent"] <= user["ceiling"] == 4.0
    assert (user["delta"], user["accountant"], user["mechanism"]) == (1e-3, "pld", "gaussian")
    assert answer["epsilon"]["record"] is None
    assert "ndcg@10" in answer["metrics"]
    assert "ndcg@10" in answer["baselines"]["popularity"]
    assert (answer["recipe"], answer["shipped"], answer["rounds"]) == ("rounds", "end", 3)
    assert answer["stages"] == {"end": answer["metrics"]}
    assert answer["devices_per_second"] > 0
    assert answer["seconds"] > 0
    assert Path(answer["report"]).stat().st_size < 500_000
    size = sum(file.stat().st_size for file in Path(answer["bundle"]).iterdir())
    assert answer["bundle_bytes"] == size < 100_000


def device_with(run: SimulatedRun, profile: Path, history: Sequence[str]) -> Device:
    """Return a device that serves the run's model, of a person with this history."""
    device = Device.open(
        profile,
        config=run.folder / "privacy.toml",
        bundle=run.bundle,
        catalog=run.catalog,
        trusted_key=run.trusted_key,
    )
    device.consent.grant("recommend", features=["purchases"])
    for number, product in enumerate(history):
        device.record(
            {
                "user_id": "12345",
                "event": "purchase",
                "product_id": product,
                "timestamp": f"2026-05-{1 + number // 24:02d}T{number % 24:02d}:00:00Z",
            }
        )
    return device


def test_a_device_ranks_with_the_bundle_and_says_why(run: SimulatedRun, tmp_path: Path) -> None:
    data = load_dataset("synthetic", devices=DEVICES, items=ITEMS).interactions
    history = [data.catalog.ids[item] for item in data.history(3)]
    with device_with(run, tmp_path / "profile", history) as device:
        answer = device.recommend(n=10)
    assert answer.personalised
    assert len({item.product_id for item in answer}) == 10
    assert all(isinstance(item.reason, Reason) and item.reason.text for item in answer)
    assert any(set(item.reason.causes) & set(history) for item in answer)


def test_two_devices_of_other_histories_get_other_lists(run: SimulatedRun, tmp_path: Path) -> None:
    data = load_dataset("synthetic", devices=DEVICES, items=ITEMS).interactions
    lists = []
    for number in (0, 1, 2):
        history = [data.catalog.ids[item] for item in data.history(number)]
        with device_with(run, tmp_path / str(number), history) as device:
            lists.append(tuple(item.product_id for item in device.recommend(n=10)))
    assert len(set(lists)) > 1


def test_a_bundle_another_key_signed_is_refused(run: SimulatedRun, tmp_path: Path) -> None:
    other = tmp_path / "other.pub"
    other.write_bytes(bytes(32))
    with Device.open(tmp_path / "profile", bundle=run.bundle, trusted_key=other) as device:
        assert device.bundle is None
        assert any("0 trusted keys signed it" in problem for problem in device.problems)
        with pytest.raises(IntegrityError, match="0 trusted keys signed it"):
            device.install(bundle=run.bundle)


def test_a_bundle_is_no_profile(run: SimulatedRun) -> None:
    before = sorted(file.name for file in run.bundle.iterdir())
    with pytest.raises(UsageError, match="no profile"):
        Device.open(run.bundle, trusted_key=run.trusted_key)
    assert sorted(file.name for file in run.bundle.iterdir()) == before


@pytest.mark.parametrize(("epsilon", "seed"), [(4.0, 1), (None, None)], ids=["seeded", "no noise"])
def test_the_publisher_signs_no_model_of_the_laboratory(
    tiny_config: Path, tmp_path: Path, epsilon: float | None, seed: int | None
) -> None:
    run = simulate(
        "synthetic",
        devices=40,
        items=20,
        config=tiny_config,
        epsilon=epsilon,
        rounds=1,
        seed=seed,
        runs=tmp_path,
    )
    assert run.trusted_key.name == "laboratory.pub"
    signing_key(tmp_path, "publisher")
    profile = tmp_path / "profile"
    publisher = tmp_path / "publisher.pub"
    with Device.open(profile, bundle=run.bundle, trusted_key=publisher) as device:
        assert any("0 trusted keys signed it" in problem for problem in device.problems)
        assert not device.recommend(n=5)
    with Device.open(profile, bundle=run.bundle, trusted_key=run.trusted_key) as device:
        assert len(device.recommend(n=5)) == 5


def test_the_key_of_coins_and_noise_is_gone(run: SimulatedRun) -> None:
    assert not (run.folder / "run.key").exists()
    assert run.trusted_key.with_suffix(".key").stat().st_mode & 0o077 == 0

"""What a device adds to a secure sum is bounded before it is masked: after that nobody can."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_client.host import Host
from homebody_client.secure.shard import ShardWorker
from homebody_models.interactions import Catalog, Interactions
from homebody_models.recommender import Layout, LocalGradient
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.legs import Step
from homebody_privacy.messages import Invitation

from .secure_town import Town
from .secure_vectors import LATTICE, MODEL, POLICY

BOUND = LATTICE.bound
HOSTED = ((0, 1), (2,), (3,), (4,))
DEVICES = 5
SIZE = len(MODEL)
Gradients = list[npt.NDArray[np.float64]]
MakeTown = Callable[[Gradients], Town]

CATALOG = Catalog(
    ids=tuple(f"item {n}" for n in range(DEVICES)),
    titles=("",) * DEVICES,
    categories=("",) * DEVICES,
    features=np.zeros((DEVICES, 0), np.float32),
    feature_names=(),
)
HISTORIES = Interactions(  # device n has item n
    ptr=np.arange(DEVICES + 1, dtype=np.int64),
    items=np.arange(DEVICES, dtype=np.int32),
    times=np.arange(DEVICES, dtype=np.int64),
    values=np.ones(DEVICES, np.float32),
    repeats=True,
    catalog=CATALOG,
)
HONEST: Gradients = [np.linspace(-0.1, 0.1, SIZE) * (device + 1) for device in range(DEVICES)]


class Told:
    """A model whose gradient on a device is given."""

    name, layout, size = "told", Layout({"b": (SIZE,)}), SIZE

    def __init__(self, gradients: Gradients) -> None:
        """Keep the gradients, by device."""
        self._gradients = gradients

    def local_gradient(
        self, parameters: object, history: npt.NDArray[np.int32], rng: object
    ) -> LocalGradient:
        """Return what was given, whatever it is."""
        del parameters, rng
        return LocalGradient(self._gradients[history[0]], 0.0, 1)


@pytest.fixture(scope="module")
def config(write_config: Callable[..., Path]) -> PrivacyConfig:
    return PrivacyConfig.load(write_config())


def host_of(config: PrivacyConfig, gradients: Gradients, devices: tuple[int, ...]) -> Host:
    return Host(
        config=config,
        model=Told(gradients),  # type: ignore[arg-type]
        histories=HISTORIES,
        devices=frozenset(devices),
        example_key=bytes(32),
        record_key=bytes(32),
        lattice=LATTICE,
    )


@pytest.fixture
def make_town(config: PrivacyConfig) -> MakeTown:
    """Return a town of shards whose devices have these gradients."""

    def make(gradients: Gradients) -> Town:
        town = Town.of(HOSTED)
        town.config = config.digest()
        for member, devices in zip(town.members, HOSTED, strict=True):
            host = host_of(config, gradients, devices)
            member.worker = ShardWorker(lambda host=host: host)  # type: ignore[assignment,misc]
            member.policy = replace(POLICY, config_sha256=config.digest())
        town.enrol()
        return town

    return make


def summed(town: Town) -> npt.NDArray[np.int64]:
    """Return a secure sum over all nodes; no leg may be declined."""
    asked = town.sum()
    asked.legs()
    return asked.result().total


def norm(units: npt.NDArray[np.int64]) -> float:
    return float(np.sqrt(sum(int(unit) ** 2 for unit in units)))


def with_gradient(device: int, gradient: npt.ArrayLike) -> Gradients:
    """Return the honest gradients but one."""
    changed = list(HONEST)
    changed[device] = np.asarray(gradient, np.float64)
    return changed


def test_the_secure_sum_is_that_of_the_bounded_updates(make_town: MakeTown) -> None:
    each = [LATTICE.contribution(-gradient).astype(np.int64) for gradient in HONEST]
    assert summed(make_town(HONEST)).tolist() == sum(each).tolist()  # type: ignore[union-attr]


@pytest.mark.parametrize("device", [1, 3])
@pytest.mark.parametrize("scale", [1e6, 1e150, 1e308])
def test_pf_05_one_device_scaled_up_moves_the_secure_sum_by_at_most_the_clip_norm(
    make_town: MakeTown, device: int, scale: float
) -> None:
    without = summed(make_town(with_gradient(device, np.zeros(SIZE))))
    scaled = summed(make_town(with_gradient(device, np.linspace(-1, 1, SIZE) * scale)))
    assert 0.99 * BOUND < norm(scaled - without) <= BOUND


@given(st.lists(st.floats(), min_size=SIZE, max_size=SIZE))
def test_pf_05_whatever_a_device_computes_what_is_masked_of_it_is_bounded(
    config: PrivacyConfig, gradient: list[float]
) -> None:
    worker = ShardWorker(lambda: host_of(config, with_gradient(1, gradient), (1,)))
    masked: list[npt.NDArray[np.int64]] = []

    def protect(vector: npt.NDArray[np.int32] | npt.NDArray[np.int64]) -> bytes:
        masked.append(vector.astype(np.int64))
        return b"sealed"

    asked = Invitation(run="autumn", round=1, devices=(1,), config_digest=config.digest())
    assert worker.train(asked, MODEL, protect) == b"sealed"
    (vector,) = masked
    assert norm(vector) <= BOUND
    if not np.isfinite(gradient).all():
        assert not vector.any()


@pytest.mark.parametrize("device", [0, 1, 4])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pf_06_a_non_finite_update_adds_zeros_to_the_secure_sum(
    make_town: MakeTown, device: int, bad: float
) -> None:
    broken = np.full(SIZE, 0.1)
    broken[2] = bad
    absent = summed(make_town(with_gradient(device, np.zeros(SIZE))))
    assert summed(make_town(with_gradient(device, broken))).tolist() == absent.tolist()


def test_pf_06_a_non_finite_update_is_masked_and_sealed_like_any_other(
    make_town: MakeTown,
) -> None:
    sizes = []
    for gradients in (HONEST, with_gradient(2, np.full(SIZE, np.nan))):
        town = make_town(gradients)
        asked = town.sum()
        asked.legs(until=Step.UPDATE)
        sizes.append(len(asked.ask(Step.UPDATE, 1)))
    assert sizes[0] == sizes[1]


def test_pf_36_a_sum_that_does_not_fit_its_word_is_declined_before_it_is_masked(
    config: PrivacyConfig, make_town: MakeTown
) -> None:
    town = make_town(HONEST)

    class Huge(ShardWorker):
        """A worker whose integers were never bounded."""

        def train(self, asked: object, parameters: object, protect: object) -> bytes:
            """Return what does not fit 32 bits."""
            del asked, parameters
            assert callable(protect)
            return bytes(protect(np.full(SIZE, 1 << 31, np.int64)))

    host = host_of(config, HONEST, HOSTED[1])
    town.members[1].worker = Huge(lambda: host)  # type: ignore[assignment]
    asked = town.sum()
    asked.legs(until=Step.UPDATE)
    codes = asked.leg(Step.UPDATE)
    assert codes == {0: "", 1: "defect", 2: "", 3: ""}
    for step in (Step.CONFIRM, Step.UNMASK):
        asked.leg(step)
    others = [LATTICE.contribution(-HONEST[device]).astype(np.int64) for device in (0, 1, 3, 4)]
    assert asked.result().total.tolist() == sum(others).tolist()  # type: ignore[union-attr]

"""The release: noise on the sum, one Adam step, and nothing un-noised kept for the next round."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_privacy.lattice import Lattice
from homebody_server.release import Contribution, Releaser, ServerOptimizer

LATTICE = Lattice(0.5)
SHAPES = [(3, 2), (3,)]
SIZE, EXPECTED, RATE = 9, 4, 0.1
Integers = npt.NDArray[np.int64]
START = np.linspace(-1, 1, SIZE).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Given:
    """Noise that was drawn before."""

    drawn: Integers = field(default_factory=lambda: np.zeros(SIZE, np.int64))

    def noise(self, dim: int) -> Integers:
        """Return it."""
        assert dim == SIZE
        return self.drawn


def releaser(
    start: npt.NDArray[np.float32] = START, optimizer: ServerOptimizer = "tensor-adam"
) -> Releaser:
    """Return a releaser at ``start``."""
    return Releaser(
        SHAPES,
        start,
        learning_rate=RATE,
        lattice=LATTICE,
        noise_multiplier=1.0,
        expected_cohort=EXPECTED,
        server_optimizer=optimizer,
    )


def devices(seed: int, n: int = 3) -> list[Contribution]:
    """Return the contributions of n devices."""
    rng = np.random.default_rng(seed)
    rows = [LATTICE.contribution(rng.normal(size=SIZE)) for _ in range(n)]
    return [Contribution(row.astype(np.int64), 1) for row in rows]


def noise(seed: int) -> Given:
    """Return some noise."""
    return Given(np.random.default_rng(seed).integers(-90_000, 90_000, SIZE))


def adam_by_hand(releases: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Return ``START`` after Adam steps with one second moment for each tensor."""
    parts = [slice(0, 6), slice(6, 9)]
    x, first, second = START.astype(np.float64), np.zeros(SIZE), np.zeros(2)
    for t, mean in enumerate(releases, start=1):
        first = 0.9 * first + 0.1 * mean
        for i, part in enumerate(parts):
            second[i] = 0.99 * second[i] + 0.01 * np.mean(mean[part] ** 2)
            root = np.sqrt(second[i] / (1 - 0.99**t)) + 1e-10
            x[part] += RATE * first[part] / (1 - 0.9**t) / root
    return x


def test_releases_are_the_steps_of_adam_on_the_noised_mean() -> None:
    trained, means = releaser(), []
    for t in range(4):
        cohort, drawn = devices(t), noise(t)
        model = trained.release(cohort, drawn)
        # The step goes along the update: local minus global.
        total = sum(c.integers for c in cohort) - drawn.drawn
        means.append(LATTICE.decode(np.asarray(total)) / EXPECTED)
        assert model == pytest.approx(adam_by_hand(means), abs=1e-5)
    assert np.abs(model - START).min() > 1e-3


def test_the_reference_optimizer_has_a_second_moment_for_each_coordinate() -> None:
    mean = LATTICE.decode(LATTICE.contribution(np.arange(1.0, 10.0))) / EXPECTED
    update = Contribution(LATTICE.contribution(np.arange(1.0, 10.0)).astype(np.int64), 1)
    plain = releaser(optimizer="adam").release([update], Given())
    assert plain == pytest.approx(START + RATE * np.sign(mean), abs=1e-5)
    assert releaser().release([update], Given()) != pytest.approx(plain, abs=1e-2)


def test_a_release_at_twice_the_rate_steps_twice_as_far() -> None:
    once = releaser().release(devices(1), noise(1)) - START
    twice = releaser().release(devices(1), noise(1), 2.0 * RATE) - START
    assert twice == pytest.approx(2.0 * once, abs=1e-5)


@settings(max_examples=25)
@given(st.permutations(range(5)), st.integers(0, 99))
def test_the_order_of_contributions_does_not_matter(order: list[int], seed: int) -> None:
    cohort = devices(seed, 5)
    straight = releaser().release(cohort, noise(seed))
    turned = releaser().release([cohort[i] for i in order], noise(seed))
    assert straight.tobytes() == turned.tobytes()


def test_a_shard_releases_what_its_devices_would() -> None:
    cohort = devices(1, 4)
    apart = releaser().release(cohort, noise(1))
    whole = sum((c.integers for c in cohort), np.zeros(SIZE, np.int64))
    together = releaser().release([Contribution(whole, 4)], noise(1))
    assert apart.tobytes() == together.tobytes()


def test_pf_10_nobody_is_a_release_like_any_other() -> None:
    trained = releaser()
    model = trained.release([], noise(3))
    expected = adam_by_hand([LATTICE.decode(-noise(3).drawn) / EXPECTED])
    assert model == pytest.approx(expected, abs=1e-5)
    assert trained.state()["0.step"] == 1.0


def test_a_contribution_beyond_its_bound_counts_as_zero() -> None:
    too_much = Contribution(np.full(SIZE, LATTICE.bound, np.int64), 1)
    honest = devices(2)
    with_it = releaser().release([*honest, too_much], noise(2))
    assert with_it.tobytes() == releaser().release(honest, noise(2)).tobytes()


@pytest.mark.parametrize("fine_bits", [None, 10])
@pytest.mark.parametrize(("bits", "many"), [(16, 62_500), (20, 3_125), (20, 62_500)])
def test_the_sum_of_more_devices_than_fit_a_word_is_bounded_exactly(
    bits: int, many: int, fine_bits: int | None
) -> None:
    lattice = Lattice(0.5, bits)
    assert many > lattice.max_devices

    def released(*sums: int) -> npt.NDArray[np.float32]:
        server = Releaser(
            [(SIZE,)],
            np.zeros(SIZE, np.float32),
            learning_rate=1.0,
            lattice=lattice,
            noise_multiplier=1.0,
            expected_cohort=many,
            server_optimizer="sgd",
            fine_bits=fine_bits,
        )
        each = [Contribution(np.eye(1, SIZE, dtype=np.int64)[0] * total, many) for total in sums]
        return server.release(each, Given())

    most = many << bits
    whole = np.eye(1, SIZE)[0] * 0.5  # the clip norm: all devices pull one way
    assert (released(most) == whole).all()
    assert not released(most + 1).any()
    assert not released(-most - 1).any()
    assert (released(most, most, most + 1) == 2 * whole).all()


def test_pf_08_and_pf_09_the_mean_has_a_constant_denominator() -> None:
    cohort = devices(5, 2)
    zeros = [Contribution(np.zeros(SIZE, np.int64), 1)] * 3
    few, many = releaser(), releaser()
    for t in range(3):
        few.release(cohort, noise(t))
        many.release([*zeros, *cohort], noise(t))
    assert few.parameters().tobytes() == many.parameters().tobytes()


def test_restored_state_continues_bit_for_bit() -> None:
    straight = releaser()
    for t in range(5):
        if t == 3:
            middle, state = straight.parameters(), straight.state()
        straight.release(devices(t), noise(t))
    resumed = releaser(middle)
    resumed.restore(state)
    for t in range(3, 5):
        resumed.release(devices(t), noise(t))
    assert resumed.parameters().tobytes() == straight.parameters().tobytes()
    assert {k: v.tobytes() for k, v in resumed.state().items()} == {
        k: v.tobytes() for k, v in straight.state().items()
    }
    forgetful = releaser(middle)
    forgetful.release(devices(3), noise(3))
    forgetful.release(devices(4), noise(4))
    assert forgetful.parameters().tobytes() != straight.parameters().tobytes()


def test_state_of_another_model_is_refused() -> None:
    trained = releaser()
    trained.release([], noise(0))
    other = trained.state() | {"0.exp_avg": np.zeros((2, 2), np.float32)}
    with pytest.raises(ValueError, match="does not fit"):
        releaser().restore(other)


def test_parameters_and_contributions_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="9 entries"):
        releaser(np.zeros(8, np.float32))
    with pytest.raises(ValueError, match="9 entries"):
        releaser().release([Contribution(np.zeros(8, np.int64), 1)], noise(0))


def test_frozen_parameters_are_in_every_model_and_no_release_changes_them() -> None:
    start = np.arange(5 + SIZE, dtype=np.float32)
    partly = Releaser(
        SHAPES,
        start,
        learning_rate=RATE,
        lattice=LATTICE,
        noise_multiplier=1.0,
        expected_cohort=EXPECTED,
        frozen=5,
    )
    whole = releaser(start[5:], "tensor-adam")
    assert partly.size == SIZE
    for t in range(3):
        model = partly.release(devices(t), noise(t))
        assert np.array_equal(model[:5], start[:5])
        assert np.array_equal(model[5:], whole.release(devices(t), noise(t)))


def test_pf_27_the_server_replayed_from_its_releases_is_the_same_server() -> None:
    live, replayed = releaser(), releaser()
    for t in range(6):
        cohort, drawn = devices(t), noise(t)
        live.release(cohort, drawn)
        noised = drawn.drawn - sum(c.integers for c in cohort)
        replayed.release([], Given(np.asarray(noised)))  # all it may know of the round
        assert replayed.parameters().tobytes() == live.parameters().tobytes()
        assert {k: v.tobytes() for k, v in replayed.state().items()} == {
            k: v.tobytes() for k, v in live.state().items()
        }

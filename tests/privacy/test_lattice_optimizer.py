"""Opacus' optimizer on the lattice: exact sums, constant denominators, noise at its scale."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from opacus.optimizers import DPOptimizer
from scipy import stats

from homebody_privacy.lattice import Lattice
from homebody_privacy.lattice_optimizer import LatticeDPOptimizer
from homebody_privacy.mechanisms import GaussianMechanism
from homebody_privacy.stream import NoiseStream

LATTICE = Lattice(0.5)
EXPECTED = 4
Integers = npt.NDArray[np.int64]
IN_BOUND = hnp.arrays(np.int64, (3, 5), elements=st.integers(-29_000, 29_000))


class Bench:
    """Two parameters of 2 and 3 entries under plain gradient descent of rate 1."""

    def __init__(self, noise: Callable[[int], Integers] | None = None) -> None:
        """Start at zero."""
        self.params = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(3))]
        self.draws = 0
        self._noise = noise or (lambda dim: np.zeros(dim, np.int64))
        self.optimizer = LatticeDPOptimizer(
            torch.optim.SGD(self.params, lr=1.0),
            lattice=LATTICE,
            noise=self._draw,
            noise_multiplier=1.0,
            expected_batch_size=EXPECTED,
        )

    def _draw(self, dim: int) -> Integers:
        self.draws += 1
        return self._noise(dim)

    def offer(self, samples: npt.NDArray[np.generic]) -> None:
        """Put samples of shape ``(n, 5)`` where Opacus looks for them."""
        for p, part in zip(self.params, np.split(samples, [2], axis=1), strict=True):
            p.grad_sample = torch.from_numpy(part.copy())  # type: ignore[attr-defined]

    def released(self) -> npt.NDArray[np.float32]:
        """Step and return the mean that was released, minus the step."""
        self.optimizer.step()
        self.optimizer.zero_grad()
        flat = np.concatenate([p.detach().numpy() for p in self.params])
        return np.asarray(-flat, np.float32)


def by_hand(total: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
    """Return what is released for a noised sum."""
    return (total * LATTICE.step).astype(np.float32) / np.float32(EXPECTED)


def test_it_is_an_opacus_optimizer() -> None:
    assert issubclass(LatticeDPOptimizer, DPOptimizer)
    optimizer = Bench().optimizer
    assert optimizer.max_grad_norm == LATTICE.clip_norm
    assert optimizer.expected_batch_size == EXPECTED


@settings(max_examples=40)
@given(IN_BOUND, hnp.arrays(np.int64, 5, elements=st.integers(-(10**6), 10**6)))
def test_streamed_equals_stacked_equals_hand_calculation(
    samples: Integers, noise: Integers
) -> None:
    stacked, streamed = Bench(lambda _: noise), Bench(lambda _: noise)
    stacked.offer(samples)
    for place, sample in enumerate(samples):
        streamed.offer(sample[None])
        if place < len(samples) - 1:
            streamed.optimizer.signal_skip_step(do_skip=True)
            streamed.optimizer.step()
            streamed.optimizer.zero_grad()
    released = stacked.released()
    assert released.tobytes() == streamed.released().tobytes()
    assert released.tolist() == by_hand(samples.sum(axis=0) + noise).tolist()
    assert stacked.draws == streamed.draws == 1


def test_float_samples_are_clipped_one_by_one() -> None:
    bench = Bench()
    samples = np.array([[30.0, 0, 0, 0, 0], [0, 0.1, 0, 0, 0]])
    bench.offer(samples)
    total = sum(LATTICE.contribution(sample).astype(np.int64) for sample in samples)
    released = bench.released()
    assert released.tolist() == by_hand(np.asarray(total)).tolist()
    assert LATTICE.clip_norm - 2 * LATTICE.step < released[0] * EXPECTED <= LATTICE.clip_norm


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_finite_counts_as_zero(bad: float) -> None:
    bench = Bench()
    bench.offer(np.array([[bad, 0.1, 0.1, 0.1, 0.1], [0.1, 0, 0, 0, 0]]))
    assert bench.released().tolist() == by_hand(LATTICE.contribution([0.1, 0, 0, 0, 0])).tolist()


def test_an_integer_sample_beyond_the_bound_counts_as_zero_and_one_on_it_counts() -> None:
    bench = Bench()
    bench.offer(np.array([[LATTICE.bound, 1, 0, 0, 0], [0, LATTICE.bound, 0, 0, 0]]))
    assert bench.released().tolist() == by_hand(np.array([0, LATTICE.bound, 0, 0, 0])).tolist()


def test_a_sum_of_devices_has_their_bound_together() -> None:
    bench = Bench()
    bench.optimizer.sum_of(2)
    bench.offer(np.array([[2 * LATTICE.bound, 0, 0, 0, 0], [2 * LATTICE.bound, 1, 0, 0, 0]]))
    assert bench.released()[0] * EXPECTED == pytest.approx(2 * LATTICE.clip_norm)
    with pytest.raises(ValueError, match="devices"):
        bench.optimizer.sum_of(0)


def test_an_empty_batch_is_noised_like_any_other() -> None:
    noise = np.array([5, -6, 7, 0, 1])
    bench = Bench(lambda _: noise)
    bench.offer(np.zeros((0, 5), np.float32))
    assert bench.released().tolist() == by_hand(noise).tolist()
    assert bench.draws == 1


def test_pf_09_a_device_with_a_zero_contribution_does_not_change_the_release() -> None:
    with_it, without = Bench(), Bench()
    sample = np.array([[100, 200, -300, 0, 50]])
    without.offer(sample)
    with_it.offer(np.concatenate([sample, np.zeros((1, 5), np.int64)]))
    assert without.released().tobytes() == with_it.released().tobytes()


def test_pf_09_twice_the_devices_is_twice_the_release() -> None:
    once, twice = Bench(), Bench()
    sample = np.array([[1024, 2048, -4096, 0, 512]])
    once.offer(sample)
    twice.offer(np.concatenate([sample, sample]))
    assert (2 * once.released() == twice.released()).all()


def test_the_noise_of_a_step_has_its_scale_and_no_other() -> None:
    dim, mechanism = 4000, GaussianMechanism(LATTICE, 1.5)
    param = torch.nn.Parameter(torch.zeros(dim))
    stream = NoiseStream(bytes(32))
    optimizer = LatticeDPOptimizer(
        torch.optim.SGD([param], lr=1.0),
        lattice=LATTICE,
        noise=lambda n: mechanism.noise(n, stream),
        noise_multiplier=1.5,
        expected_batch_size=EXPECTED,
    )
    param.grad_sample = torch.zeros((1, dim))  # type: ignore[attr-defined]
    optimizer.step()
    released = param.detach().numpy().astype(np.float64)
    scale = 1.5 * LATTICE.clip_norm / EXPECTED
    assert stats.kstest(released / scale, "norm").pvalue > 1e-3
    for wrong in (2 / 3, 3 / 2):
        assert stats.kstest(released / (wrong * scale), "norm").pvalue < 1e-9

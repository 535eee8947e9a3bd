"""Opacus' optimizer on the lattice: exact sums, constant denominators, noise at its scale."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from opacus.accountants import PRVAccountant
from opacus.optimizers import DPOptimizer
from scipy import stats

from homebody_privacy.blt import BltParameters, Participation, prefix_error
from homebody_privacy.lattice import Lattice
from homebody_privacy.lattice_optimizer import BLTDPOptimizer, LatticeDPOptimizer
from homebody_privacy.mechanisms import BltMechanism, GaussianMechanism
from homebody_privacy.stream import NoiseStream

LATTICE = Lattice(0.5)
EXPECTED = 4
Integers = npt.NDArray[np.int64]
IN_BOUND = hnp.arrays(np.int64, (3, 5), elements=st.integers(-29_000, 29_000))


class Bench:
    """Two parameters of 2 and 3 entries under plain gradient descent of rate 1."""

    def __init__(
        self,
        noise: Callable[[int], Integers] | None = None,
        fine_bits: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Start at zero; with fine bits, on the finer lattice of correlated noise."""
        self.params = [torch.nn.Parameter(torch.zeros(n, dtype=dtype)) for n in (2, 3)]
        self.draws = 0
        self._noise = noise or (lambda dim: np.zeros(dim, np.int64))
        inner = torch.optim.SGD(self.params, lr=1.0)
        options: dict[str, Any] = {
            "lattice": LATTICE,
            "noise": self._draw,
            "noise_multiplier": 1.0,
            "expected_batch_size": EXPECTED,
        }
        self.optimizer = (
            LatticeDPOptimizer(inner, **options)
            if fine_bits is None
            else BLTDPOptimizer(inner, fine_bits=fine_bits, **options)
        )

    def _draw(self, dim: int) -> Integers:
        self.draws += 1
        return self._noise(dim)

    def offer(self, samples: npt.NDArray[np.generic]) -> None:
        """Put samples of shape ``(n, 5)`` where Opacus looks for them."""
        for p, part in zip(self.params, np.split(samples, [2], axis=1), strict=True):
            p.grad_sample = torch.from_numpy(part.copy())  # type: ignore[attr-defined]

    def released(self) -> npt.NDArray[Any]:
        """Step and return the mean that was released, minus the step."""
        self.optimizer.step()
        self.optimizer.zero_grad()
        return -np.concatenate([p.detach().numpy() for p in self.params])


def by_hand(total: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
    """Return what is released for a noised sum."""
    return (total * LATTICE.step).astype(np.float32) / np.float32(EXPECTED)


@pytest.mark.parametrize("fine_bits", [None, 3])
def test_both_run_through_opacus_optimizer_and_its_accountant(fine_bits: int | None) -> None:
    bench, accountant = Bench(fine_bits=fine_bits), PRVAccountant()
    assert isinstance(bench.optimizer, DPOptimizer)
    assert bench.optimizer.max_grad_norm == LATTICE.clip_norm
    assert bench.optimizer.expected_batch_size == EXPECTED
    bench.optimizer.attach_step_hook(accountant.get_optimizer_hook_fn(sample_rate=0.25))
    for _ in range(2):
        bench.offer(np.zeros((0, 5), np.float32))
        bench.released()
    assert accountant.history == [(1.0, 0.25, 2)]


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


def test_pf_10_an_empty_batch_is_noised_like_any_other() -> None:
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


def test_a_clip_norm_that_adapts_bounds_later_samples() -> None:
    bench, smaller = Bench(), Lattice(0.25)
    bench.optimizer.use_lattice(smaller)
    assert bench.optimizer.max_grad_norm == 0.25
    bench.offer(np.array([[30.0, 0, 0, 0, 0]]))
    first = bench.released()[0]
    assert 0.25 - 2 * smaller.step < first * EXPECTED <= 0.25
    integers = np.array([[0, smaller.bound, 0, 0, 0]])  # a whole clip norm, whatever it is
    bench.offer(integers)
    assert bench.released()[1] * EXPECTED == 0.25


@settings(max_examples=60)
@given(
    IN_BOUND,
    st.lists(hnp.arrays(np.int64, 5, elements=st.integers(-(2**40), 2**40)), min_size=1),
    st.integers(0, 22),
)
def test_a_correlated_release_is_the_shifted_sum_plus_the_noise(
    samples: Integers, noises: list[Integers], fine_bits: int
) -> None:
    drawn = iter(noises)
    bench = Bench(lambda _: next(drawn), fine_bits)
    before = np.zeros(5, np.float32)
    for noise in noises:
        bench.offer(samples)
        fine = (samples.sum(axis=0) << fine_bits) + noise
        grad = (fine * LATTICE.step * 2.0**-fine_bits).astype(np.float32) / np.float32(EXPECTED)
        before = before + grad
        assert bench.released().tolist() == before.tolist()
    assert bench.draws == len(noises)


@settings(max_examples=60)
@given(
    st.integers(-32767, 32767),
    st.integers(0, 22),
    hnp.arrays(np.int64, 5, elements=st.integers(-(2**21), 2**21)),
)
def test_pf_04_a_correlated_release_is_an_integer_of_fine_steps_that_never_loses_the_sum(
    devices: int, fine_bits: int, noise: Integers
) -> None:
    bench = Bench(lambda _: noise, fine_bits, torch.float64)
    bench.optimizer.sum_of(max(1, abs(devices)))
    total = np.array([devices * LATTICE.bound, 0, 0, 0, 0])  # up to 31 binary digits
    bench.offer(total[None])
    units = bench.released() * EXPECTED / LATTICE.step * 2.0**fine_bits
    assert (units == np.rint(units)).all()
    assert units.astype(np.int64).tolist() == ((total << fine_bits) + noise).tolist()


def test_without_finer_steps_a_correlated_release_is_a_plain_one() -> None:
    noise = np.array([5, -6, 7, 0, 1])
    plain, correlated = Bench(lambda _: noise), Bench(lambda _: noise, 0)
    sample = np.array([[100, 200, -300, 0, 50]])
    plain.offer(sample)
    correlated.offer(sample)
    assert plain.released().tobytes() == correlated.released().tobytes()


@pytest.mark.parametrize("fine_bits", [-1, 23, 64])
def test_a_finer_lattice_on_which_sums_are_not_exact_is_refused(fine_bits: int) -> None:
    with pytest.raises(ValueError, match="fine_bits must be from 0 to 22"):
        Bench(fine_bits=fine_bits)


def test_running_sums_of_correlated_steps_err_less_than_independent_ones() -> None:
    dim, rounds = 3000, 40
    part = Participation(rounds=rounds, min_separation=10, max_rounds=4)
    strategy = BltParameters(theta=(0.9075,), omega=(0.46736,))
    mechanism = BltMechanism(
        LATTICE, noise_multiplier=2.0, parameters=strategy, participation=part, dim=dim
    )
    numbers = iter(range(rounds))
    param = torch.nn.Parameter(torch.zeros(dim, dtype=torch.float64))
    optimizer = BLTDPOptimizer(
        torch.optim.SGD([param], lr=1.0),
        fine_bits=mechanism.fine_bits,
        lattice=LATTICE,
        noise=lambda n: mechanism.noise(n, NoiseStream(next(numbers).to_bytes(32, "big"))),
        noise_multiplier=2.0,
        expected_batch_size=EXPECTED,
    )
    for _ in range(rounds):
        param.grad_sample = torch.zeros((1, dim))  # type: ignore[attr-defined]
        optimizer.step()
        optimizer.zero_grad()
    error = param.detach().numpy() * EXPECTED / (2.0 * LATTICE.clip_norm)
    foretold = prefix_error(strategy, rounds)[1]  # of the last round
    assert foretold < np.sqrt(rounds) / 2
    assert stats.kstest(error / foretold, "norm").pvalue > 1e-3
    for wrong in (2 / 3, 3 / 2):
        assert stats.kstest(error / (wrong * foretold), "norm").pvalue < 1e-6

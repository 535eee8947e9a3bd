"""Opacus' optimizer on the fixed-point lattice: exact bounds, exact sums, CSPRNG noise.

Two parts of ``DPOptimizer`` are replaced. Clipping, because a float32 clip may exceed its bound by
rounding and lets NaN pass; here each sample is bounded in integers. Noise, because torch's
generators are not cryptographic and float noise leaks low bits (Mironov 2012; arXiv 2107.10138).
The server uses it with one device as one sample (user level), a device with one record as one
sample (record level).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from opacus.optimizers import DPOptimizer

from homebody_privacy.lattice import Lattice

Integers = npt.NDArray[np.int64]

_MOST_FINE = 22  # a sum of 31 binary digits stays below 2**53, an integer float64 can hold


class LatticeDPOptimizer(DPOptimizer):  # type: ignore[misc]  # opacus ships no types
    """A ``DPOptimizer`` whose sum and noise are integers.

    ``p.grad_sample`` of shape ``(samples, *p.shape)`` is one of two things: a float tensor, which
    is clipped and put on the lattice sample by sample; or an int64 tensor that is on the lattice
    already, which is checked against the bound and counts as zero beyond it. The gradient the
    inner optimizer sees is the noised sum in model units over ``expected_batch_size``, a
    constant.

    Args:
        optimizer: Inner torch optimizer.
        lattice: Bound and step of one sample's contribution. Public.
        noise: Returns that many independent integers of the next release's noise; called once a
            step. Its secrecy is the guarantee.
        noise_multiplier: Standard deviation of the noise on the sum over the clip norm. Public.
            Opacus reads it for its accountant; ``noise`` must draw at this scale.
        expected_batch_size: Constant denominator of the mean. Public.

    Guarantees:
        With ``noise`` the rounded Gaussian of standard deviation ``noise_multiplier * 2**bits``,
        a step is post-processing of the Gaussian mechanism with that multiplier under zero-out
        adjacency of one sample, for every content of ``grad_sample``, finite or not.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        lattice: Lattice,
        noise: Callable[[int], Integers],
        noise_multiplier: float,
        expected_batch_size: float,
    ) -> None:
        """Hand Opacus the constants."""
        super().__init__(
            optimizer,
            noise_multiplier=noise_multiplier,
            max_grad_norm=lattice.clip_norm,
            expected_batch_size=expected_batch_size,
            loss_reduction="mean",
        )
        self._lattice = lattice
        self._noise = noise
        self._devices = 1

    def use_lattice(self, lattice: Lattice) -> None:
        """Bound later samples by another clip norm: one that adapts, from releases alone."""
        self._lattice = lattice
        self.max_grad_norm = lattice.clip_norm

    def sum_of(self, devices: int) -> None:
        """Say that the next integer sample is the sum of ``devices`` bounded contributions."""
        if devices < 1:
            raise ValueError(f"devices must be at least 1, got {devices}")
        self._devices = devices

    def clip_and_accumulate(self) -> None:
        """Add each sample, bounded and in integers, to ``summed_grad``."""
        params: list[Any] = self.params
        samples = np.concatenate(
            [p.grad_sample.reshape(len(p.grad_sample), p.numel()).numpy() for p in params], axis=1
        )
        total = np.zeros(samples.shape[1], np.int64)
        for sample in samples:
            total += self._bounded(sample)
        for p, part in zip(params, self._split(total), strict=True):
            p.summed_grad = part if p.summed_grad is None else p.summed_grad + part

    def _bounded(self, sample: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if sample.dtype != np.int64:
            return self._lattice.contribution(sample)
        if self._lattice.is_within_bound(sample, devices=self._devices):
            return sample
        return np.zeros_like(sample)

    def add_noise(self) -> None:
        """Put sum and noise, in model units, into ``grad``."""
        params: list[Any] = self.params
        noise = self._noise(sum(p.numel() for p in params))
        for p, drawn in zip(params, self._split(noise), strict=True):
            noised = self._decoded(p.summed_grad.numpy(), drawn.numpy())
            p.grad = torch.from_numpy(noised).to(p.dtype)

    def _decoded(self, total: Integers, drawn: Integers) -> npt.NDArray[np.float64]:
        """Return sum plus noise in model units."""
        return self._lattice.decode(total + drawn)

    def _split(self, flat: Integers) -> list[torch.Tensor]:
        params: list[Any] = self.params
        parts = np.split(flat, np.cumsum([p.numel() for p in params])[:-1])
        return [
            torch.from_numpy(part).reshape(p.shape) for part, p in zip(parts, params, strict=True)
        ]


class BLTDPOptimizer(LatticeDPOptimizer):
    """A ``LatticeDPOptimizer`` for noise on a finer lattice, correlated over steps.

    DP-FTRL on Opacus: each step adds the next noise of one run (``mechanisms.BltMechanism``), in
    units of ``2**-fine_bits`` of the sum's lattice. The released gradient is the whole integer
    sum, shifted, plus that integer, in model units: a multiple of the fine step.

    Args:
        optimizer: Inner torch optimizer.
        fine_bits: How much finer the noise's lattice is, in binary digits. Public.
        options: As for ``LatticeDPOptimizer``.

    Guarantees:
        With the noise of a ``BltMechanism``, all steps of the run together are one Gaussian
        mechanism of mu = its sensitivity / ``noise_multiplier`` under zero-out adjacency.

    Raises:
        ValueError: If a sum of 2**31 lattice units would not be exact on the fine lattice.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, *, fine_bits: int, **options: Any) -> None:  # noqa: ANN401
        """Keep the finer step."""
        super().__init__(optimizer, **options)
        if not 0 <= fine_bits <= _MOST_FINE:
            raise ValueError(f"fine_bits must be from 0 to {_MOST_FINE}, got {fine_bits}")
        self._fine_bits = fine_bits

    def _decoded(self, total: Integers, drawn: Integers) -> npt.NDArray[np.float64]:
        """Return sum plus noise in model units, exact up to one rounding to float64."""
        fine = (total << self._fine_bits) + drawn
        return self._lattice.decode(fine) * 2.0**-self._fine_bits

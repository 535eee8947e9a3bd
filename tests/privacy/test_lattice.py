"""The grid: exact bounds in integers, truncation, overflow."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from homebody_privacy.lattice import Lattice

UPDATES = hnp.arrays(np.float64, st.integers(0, 50), elements=st.floats(width=64))


@settings(max_examples=200)
@given(UPDATES, st.floats(1e-6, 1e6), st.integers(16, 20))
def test_integer_norm_of_a_contribution_is_at_most_two_to_the_bits(
    update: npt.NDArray[np.float64], clip_norm: float, bits: int
) -> None:
    units = Lattice(clip_norm, bits).contribution(update)
    assert units.dtype == np.int32
    assert units.shape == update.shape
    assert sum(int(v) ** 2 for v in units) <= 4**bits


@given(
    hnp.arrays(np.float64, 8, elements=st.floats(-0.3, 0.3)),
    st.integers(16, 20),
)
def test_encoding_moves_toward_zero_by_less_than_a_step(
    update: npt.NDArray[np.float64], bits: int
) -> None:
    lattice = Lattice(1.0, bits)
    back = lattice.decode(lattice.encode(update))
    assert (np.abs(back) <= np.abs(update)).all()
    assert (np.abs(back - update) < lattice.step * 1.001).all()


def test_the_step_is_the_clip_norm_over_two_to_the_bits() -> None:
    assert Lattice(0.5, 17).step == 0.5 / 2**17
    assert Lattice(0.5, 17).bound == 2**17


def test_an_unclipped_update_adds_nothing_rather_than_too_much() -> None:
    lattice = Lattice(1.0)
    assert not lattice.encode(np.array([0.9, 0.9])).any()  # norm above 1, entries below
    assert not lattice.encode(np.array([5.0, 0.0])).any()
    assert not lattice.encode(np.array([np.nan, 0.1])).any()


def test_the_bound_check_is_exact_at_the_edge() -> None:
    lattice = Lattice(1.0)
    edge = np.array([2**16, 0])
    assert lattice.is_within_bound(edge)
    assert not lattice.is_within_bound(np.array([2**16, 1]))
    assert not lattice.is_within_bound(np.array([-(2**16) - 1]))
    assert lattice.is_within_bound(np.array([2**16, 2**16]), devices=2)
    assert lattice.is_within_bound(np.array([], dtype=np.int64))


@pytest.mark.parametrize("devices", [2**15 - 1, 2**15, 62_500, 10**6, 2**37 - 1])
def test_squares_of_the_largest_sums_do_not_overflow(devices: int) -> None:
    lattice = Lattice(1.0)
    largest = devices * 2**16
    many = np.full(4, largest // 2, dtype=np.int64)
    assert lattice.is_within_bound(many, devices)
    many[0] += 1
    assert not lattice.is_within_bound(many, devices)


@given(
    st.lists(st.integers(-(2**50), 2**50) | st.integers(-(2**33), 2**33), min_size=1, max_size=8),
    st.integers(16, 20),
    st.integers(-2, 2),
)
def test_the_bound_of_very_many_devices_is_exact(values: list[int], bits: int, off: int) -> None:
    lattice = Lattice(1.0, bits)
    squares = sum(value * value for value in values)
    devices = max(1, (math.isqrt(squares) >> bits) + off)
    expected = squares <= (devices << bits) ** 2
    assert lattice.is_within_bound(np.array(values, np.int64), devices) is expected


@pytest.mark.parametrize("devices", [0, -1, 2**37])
def test_more_devices_than_a_float_counts_are_refused(devices: int) -> None:
    with pytest.raises(ValueError, match="devices"):
        Lattice(1.0).is_within_bound(np.zeros(1, dtype=np.int64), devices)


@pytest.mark.parametrize("bits", [0, 15, 21])
def test_bits_outside_16_to_20_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="bits"):
        Lattice(1.0, bits)


def test_a_clip_norm_without_meaning_is_refused() -> None:
    with pytest.raises(ValueError, match="clip_norm"):
        Lattice(float("nan"))

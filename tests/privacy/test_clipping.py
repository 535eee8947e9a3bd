"""One device's update never grows past its bound, whatever it holds."""

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from homebody_privacy.clipping import clip_update

UPDATES = hnp.arrays(np.float64, st.integers(0, 40), elements=st.floats(width=64))
FINITE = hnp.arrays(
    np.float64, st.integers(1, 40), elements=st.floats(allow_nan=False, allow_infinity=False)
)
NORMS = st.floats(1e-200, 1e300)


def exact_square(vector: npt.NDArray[np.float64]) -> Fraction:
    return sum((Fraction(float(x)) ** 2 for x in vector), Fraction(0))


@settings(max_examples=300)
@given(UPDATES, NORMS)
def test_exact_norm_is_at_most_clip_norm(update: npt.NDArray[np.float64], norm: float) -> None:
    assert exact_square(clip_update(update, norm)) <= Fraction(norm) ** 2


@pytest.mark.parametrize("update", [[3.0, 4.0], [1.0] * 3, [1.0] * 7, [0.1] * 1000])
def test_exact_norm_of_awkward_directions_is_at_most_one(update: list[float]) -> None:
    assert exact_square(clip_update(update, 1.0)) <= 1


@given(FINITE)
def test_a_short_update_is_kept_bit_for_bit(update: npt.NDArray[np.float64]) -> None:
    peak = float(np.abs(update).max())
    bound = max(peak, 1e-100) * update.size if peak < 1e300 else math.nan
    if bound < 1e308:
        assert clip_update(update, 2.0 * bound).tobytes() == update.tobytes()


@given(hnp.arrays(np.float64, 5, elements=st.floats(1.0, 1e6)), st.floats(0.01, 1.0))
def test_a_long_update_keeps_its_direction_and_nearly_all_of_the_bound(
    update: npt.NDArray[np.float64], norm: float
) -> None:
    clipped = clip_update(update, norm)
    assert np.linalg.norm(clipped) == pytest.approx(norm, rel=1e-11)
    assert np.allclose(clipped / clipped[0], update / update[0], rtol=1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_non_finite_update_becomes_zeros_of_its_shape(bad: float) -> None:
    assert clip_update([1.0, bad, 2.0], 1.0).tolist() == [0.0, 0.0, 0.0]


def test_the_update_itself_is_left_alone() -> None:
    update = np.array([3.0, 4.0])
    clip_update(update, 1.0)
    assert update.tolist() == [3.0, 4.0]


def test_an_empty_update_stays_empty() -> None:
    assert clip_update([], 1.0).shape == (0,)


@pytest.mark.parametrize("norm", [0.0, -1.0, 1e-201, math.inf, math.nan])
def test_a_clip_norm_without_meaning_is_refused(norm: float) -> None:
    with pytest.raises(ValueError, match="clip_norm"):
        clip_update([1.0], norm)


def test_a_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match="one-dimensional"):
        clip_update([[1.0]], 1.0)

"""The serving order: by falling score, then by rising index."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_models.order import serving_order


@given(
    st.lists(st.integers(-3, 3), max_size=40),
    st.integers(0, 50),
    st.lists(st.booleans(), min_size=40, max_size=40),
)
def test_list_equals_a_stable_sort_of_the_visible_items(
    scores: list[int], k: int, flags: list[bool]
) -> None:
    visible = np.array(flags[: len(scores)], bool)
    allowed = [i for i in range(len(scores)) if visible[i]]
    wanted = sorted(allowed, key=lambda i: (-scores[i], i))[:k]
    assert serving_order(np.array(scores, np.float32), k, visible).tolist() == wanted


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_score_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        serving_order(np.array([1.0, bad]), 1)

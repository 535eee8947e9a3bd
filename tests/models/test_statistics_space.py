"""The head of a catalog and the packing of its pairs."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_models.statistics.space import Space, packed_length, packed_place, unpack

popularities = st.lists(st.sampled_from([0.1, 0.5, 2.0, 7.0]), min_size=1, max_size=60).map(
    lambda p: np.array(p, np.float32)
)


@given(popularities, st.integers(0, 70))
def test_the_head_is_the_most_popular_items_and_ties_go_to_the_smaller_index(
    popularity: npt.NDArray[np.float32], head: int
) -> None:
    space = Space.of(popularity, head)
    ranked = sorted(range(len(popularity)), key=lambda i: (-popularity[i], i))
    assert space.head.tolist() == sorted(ranked[:head])
    assert space.place[space.head].tolist() == list(range(space.size))
    assert (np.delete(space.place, space.head) == -1).all()


@given(st.integers(0, 30))
def test_packing_numbers_each_pair_once_and_unpacking_finds_it(size: int) -> None:
    rows, columns = np.triu_indices(size, 1)
    places = packed_place(rows, columns, size)
    assert places.tolist() == list(range(packed_length(size)))
    numbered = np.arange(1.0, packed_length(size) + 1.0)
    matrix = unpack(numbered, size)
    assert (matrix == matrix.T).all()
    assert (matrix.diagonal() == 0.0).all()
    assert (matrix[rows, columns] == numbered[places]).all()


def test_pairs_of_another_head_are_refused() -> None:
    with pytest.raises(ValueError, match="another length"):
        unpack(np.zeros(4), 3)

"""Rounding to int8 rows: small errors, no overflow."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_models.quantise import PackedModel, pack
from homebody_models.recommender import Exported


def _exported(**changed: Any) -> Exported:  # noqa: ANN401 fields of any type
    rng = np.random.default_rng(0)
    fields: dict[str, Any] = {
        "encoder": "mean",
        "embeddings": rng.standard_normal((6, 4)).astype(np.float32),
        "bias": np.zeros(6, np.float32),
        "history_max": 64,
        "history_decay": 0.9,
    }
    return Exported(**(fields | changed))


@settings(max_examples=50)
@given(st.integers(0, 2**32), st.floats(1e-6, 1e3))
def test_error_of_an_entry_is_at_most_half_a_step(seed: int, size: float) -> None:
    table = size * np.random.default_rng(seed).standard_normal((5, 7))
    packed = pack(_exported(embeddings=table.astype(np.float32), bias=np.zeros(5, np.float32)))
    back = packed.rows * packed.scale[:, None].astype(np.float64)
    assert (np.abs(back - table).max(axis=1) <= 0.501 * packed.scale).all()


def test_row_of_zeros_stays_zero() -> None:
    packed = pack(_exported(embeddings=np.zeros((6, 4), np.float32)))
    assert not packed.rows.any()
    assert (packed.scale > 0).all()


def test_largest_entry_of_a_row_uses_the_whole_range() -> None:
    assert (np.abs(pack(_exported()).rows).max(axis=1) == 127).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"embeddings": np.full((6, 4), math.nan, np.float32)}, "finite"),
        ({"embeddings": np.full((6, 4), 1e5, np.float32)}, "scale"),
        ({"bias": np.full(6, math.nan, np.float32)}, "b must be finite"),
        ({"bias": np.full(6, 1.1e4, np.float32)}, "at most"),
        ({"bias": np.zeros(5, np.float32)}, "shape"),
        ({"encoder": "mean-mlp"}, "encoder"),
        ({"encoder": "none"}, "dim 0"),
        ({"encoder": "ridge"}, "ridge"),
        ({"ridge": 0.1, "unseen_weight": 0.1}, "ridge"),
        ({"history_max": 65}, "history_max"),
        ({"repeat": 1.0}, "repeat"),
        ({"encoder": "mean-repeat"}, "repeat"),
        ({"encoder": "mean-repeat", "repeat": math.nan}, "repeat"),
        ({"encoder": "mean-repeat", "repeat": 2e4}, "repeat"),
    ],
)
def test_model_no_device_could_rank_with_is_not_packed(
    changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pack(_exported(**changed))


def test_minus_128_is_refused() -> None:
    packed = pack(_exported())
    rows = packed.rows.copy()
    rows[0, 0] = -128
    with pytest.raises(ValueError, match="-128"):
        PackedModel(
            encoder="mean",
            rows=rows,
            scale=packed.scale,
            bias=packed.bias,
            window=packed.window,
        )

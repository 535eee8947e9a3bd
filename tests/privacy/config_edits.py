"""The documented example, and configs that differ from it by named edits."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from homebody_privacy.config import PrivacyConfig

EXAMPLE: Final = Path(__file__).parents[2] / "docs" / "examples" / "compliance" / "example.toml"
GONE: Final = object()
"""The value of an edit that takes a field or a table out."""

SAMPLED: Final[Mapping[str, object]] = {
    "dp.mechanism": "gaussian",
    "dp.sampling": "poisson",
    "dp.amplification": True,
    "dp.min_separation": 1,
    "dp.max_rounds_per_device": 500,
    "dp.blt": GONE,
    "dp.noise_multiplier": 2.0,
    "aggregation.report_goal": GONE,
}
"""Edits that make the example one of secret cohorts."""


def edited(edits: Mapping[str, object], base: Mapping[str, Any] | None = None) -> PrivacyConfig:
    """Return the example after edits: a value by dotted path.

    Args:
        edits: New values; ``GONE`` takes the field out.
        base: The file to edit, as TOML gives it; by default the example.
    """
    values: dict[str, Any] = tomllib.loads(EXAMPLE.read_text("utf-8"))
    if base is not None:
        values = dict(base)
    for path, value in edits.items():
        *tables, field = path.split(".")
        table = values
        for name in tables:
            table = table[name]
        if value is GONE:
            del table[field]
        else:
            table[field] = value
    return PrivacyConfig.model_validate(values)

"""``[statistics]`` of ``privacy.toml``: one-shot sums that a run starts from."""

from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from .protection import STRICT


class Statistics(BaseModel):
    """One-shot sums before the first round: each device adds a vector of norm at most 1."""

    model_config = STRICT

    recipe: Literal["statistics", "both"]
    """``statistics``: they are all there is. ``both``: rounds go on from where they led."""
    window: float | None = Field(default=None, gt=0, le=1)
    """A pair of events d steps apart weighs window^d / (1 + d); by default by rule."""
    head: int | None = Field(default=None, ge=0)
    """Most popular items, whose pairs are counted; by default by rule."""
    popularity_share: float | None = Field(default=None, gt=0, lt=1)
    """Share of the squared loss that pays for popularity; by default by rule."""
    rounds_share: float | None = Field(default=None, gt=0, lt=1)
    """Share that pays for the rounds of ``both``; the Gram matrix gets what is left. By default by
    rule."""
    popularity_multiplier: float | None = Field(default=None, gt=0)
    """Noise on the popularity sum, to which a device adds a norm of at most 1. By default what the
    share pays for; a run fixes it in its own file."""
    gram_multiplier: float | None = Field(default=None, gt=0)
    """Noise on the Gram sum, in the same way."""

    @model_validator(mode="after")
    def _refuse_half_a_plan(self) -> Self:
        if (self.popularity_multiplier is None) != (self.gram_multiplier is None):
            raise ValueError(
                "popularity_multiplier and gram_multiplier are given together or left out together"
            )
        if self.recipe == "statistics" and self.rounds_share is not None:
            raise ValueError('rounds_share needs recipe = "both": there are no rounds to pay for')
        if (self.popularity_share or 0.0) + (self.rounds_share or 0.0) >= 1.0:
            raise ValueError("popularity_share and rounds_share must leave some for the Gram sum")
        return self

"""Which recipe suits a population and a budget: by what was measured, not by taste."""

from dataclasses import dataclass
from typing import Final

from homebody_privacy.closed_form import gaussian_mu
from homebody_privacy.protection import Recipe
from homebody_server.run_spec import RunSpec, accounted_delta
from homebody_simulation.request import STATISTICS_MODEL

ROUNDS_FROM: Final = 4_000.0
"""Signal mu N from which on rounds improved on the statistics' model by some 4 % wherever it was
measured: MovieLens 1M at epsilon 3 and 8. Below, they gained 1 % (the same at epsilon 1, 1,619) or
nothing (Complete Journey at epsilon 4, 2,284)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What suits a run. Public.

    Attributes:
        recipe: ``statistics``, ``rounds`` or ``both``.
        why: In words.
        signal: Gaussian loss mu of the run times its devices: signal grows with it, noise does not.
    """

    recipe: Recipe
    why: str
    signal: float


def advice_for(model: str, epsilon: float, spec: RunSpec) -> Advice:
    """Return the recipe that suits a run.

    Args:
        model: Name of its model.
        epsilon: What it may spend.
        spec: Its constants.
    """
    signal = gaussian_mu(epsilon, accounted_delta(spec.delta)) * spec.devices
    if model != STATISTICS_MODEL:
        return Advice(recipe="rounds", why=f"a {model} has rounds alone", signal=signal)
    if signal >= ROUNDS_FROM:
        return Advice(
            recipe="both",
            why="so many devices teach the rounds more than the statistics lose by them",
            signal=signal,
        )
    return Advice(
        recipe="statistics",
        why="with so few devices rounds have not improved on what the statistics make; both "
        "ships the better of the two",
        signal=signal,
    )

"""Options that several commands share: what a run is made of; loads nothing heavy."""

import math
from pathlib import Path
from typing import Annotated

import typer

from homebody_privacy.errors import UsageError
from homebody_simulation.data_options import Items, OnBad

Data = Annotated[str, typer.Option(help="Data set; 'homebody data describe --help' says which.")]
Epsilon = Annotated[
    str,
    typer.Option(help="User-level epsilon for all a run releases; 'inf' trains without privacy."),
]
Rounds = Annotated[int | None, typer.Option(help="Rounds; at most dp.rounds.")]
Cohort = Annotated[
    int | None, typer.Option(help="Expected devices a round, instead of dp.cohort_size.")
]
Model = Annotated[
    str,
    typer.Option(help="two-tower, matrix-factorization, logistic-factorization or popularity."),
]
MechanismName = Annotated[
    str | None, typer.Option(help="blt or gaussian, instead of dp.mechanism.")
]
RecipeName = Annotated[
    str | None,
    typer.Option("--recipe", help="statistics, rounds or both, instead of the config's."),
]
EngineChoice = Annotated[
    str,
    typer.Option(
        "--engine",
        help="What trains the devices: reference (one after another), numba, torch, triton, auto.",
    ),
]
Threads = Annotated[
    int | None, typer.Option(help="Threads of an engine; one a processor if left out.")
]
Availability = Annotated[
    float, typer.Option(help="Chance that a simulated device is online when it is asked.")
]
DropOut = Annotated[
    float, typer.Option("--drop-out", help="Chance that a device trains and then vanishes.")
]
Slow = Annotated[float, typer.Option(help="Chance that an answer comes after the deadline.")]
Policy = Annotated[
    Path | None, typer.Option("--policy", help="The firm's policy.toml, beside the baseline.")
]
Reviewers = Annotated[
    Path | None,
    typer.Option("--reviewers", help="Reviewers' keys: whose signatures count."),
]
Config = Annotated[Path, typer.Option(help="The privacy config.")]
Devices = Annotated[int | None, typer.Option(help="synthetic: number of devices.")]
ItemKind = Annotated[Items | None, typer.Option(help="complete-journey: what an item is.")]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", help="interactions: ROLE=NAME, e.g. user=customer_id."),
]
BadRows = Annotated[OnBad | None, typer.Option(help="interactions: rows that are none.")]
Output = Annotated[str, typer.Option("--format", help="text or json.")]


def parse_epsilon(text: str) -> float | None:
    """Return the epsilon asked for; None for ``inf``, a reference without differential privacy.

    Raises:
        UsageError: If it is no number, or NaN.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise UsageError(
            f"--epsilon must be a number or 'inf', got {text!r}", fix="for example --epsilon 4"
        )
    return None if value == math.inf else value


def check_output(output: str) -> None:
    """Refuse a format that there is not.

    Raises:
        UsageError: If it is neither text nor json.
    """
    if output not in ("text", "json"):
        raise UsageError(f"--format must be text or json, got {output!r}")

"""All that ``homebody explain`` says of a config, as text and as JSON."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.explaining.bets import Figures
from homebody_privacy.explaining.matrix import Matrix, matrix, matrix_lines
from homebody_privacy.explaining.promise import Promise, promise

if TYPE_CHECKING:
    from homebody_privacy.planned import PlannedLoss

_WIDTH: Final = 108
_IN_A_ROW: Final = 2 * _WIDTH  # longer rows are read better as a list
_UNLEARN: Final = (
    'rights.trained_model is "unlearn": taking one device out of a model needs updates that are '
    "stored one by one, and homebody keeps none. No words can be given."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A config in plain words. Public.

    Attributes:
        config_sha256: Digest of the config, as hex.
        revision: Its revision.
        activity: What people know the processing as.
        controller: Who decides.
        matrix: Which data may be used for what.
        numbers_sent: Figures about people that devices may send: how often, from what.
        promise: The promise to one user.
    """

    config_sha256: str
    revision: int
    activity: str
    controller: str
    matrix: Matrix
    numbers_sent: tuple[str, ...]
    promise: Promise

    def to_dict(self) -> dict[str, Any]:
        """Return the same as JSON values."""
        return {"schema": "explanation/1", **asdict(self)}


def explain(config: PrivacyConfig, loss: "PlannedLoss | None") -> Explanation:
    """Explain a config.

    Args:
        config: A config that follows its schema, whether or not it may run.
        loss: What a run of it will cost; None where that is not known.
    """
    return Explanation(
        config_sha256=config.digest(),
        revision=config.revision,
        activity=config.activity.name,
        controller=config.activity.controller,
        matrix=matrix(config),
        numbers_sent=tuple(_sent(config)),
        promise=promise(config, loss),
    )


def explanation_text(told: Explanation) -> str:
    """Return an explanation as plain text, at most 108 characters wide but for the matrix."""
    lines = [
        f"{told.activity}, by {told.controller}",
        f"sha256:{told.config_sha256[:16]}  revision {told.revision}",
        "",
        *matrix_lines(told.matrix),
        *(f"numbers sent: {one}" for one in told.numbers_sent),
        "",
        *_promised(told.promise),
    ]
    return "\n".join(lines) + "\n"


def _promised(told: Promise) -> Iterator[str]:
    yield f"The promise to {told.scope}:"
    if told.figures is None:
        yield from _paragraphs("no figure", told.withheld)
    else:
        yield from _paragraphs("", [*told.bets, _figures(told.figures)])
    if told.against:
        yield from _paragraphs("It holds against", told.against)
    if told.not_against:
        yield from _paragraphs("It does not hold against", told.not_against)
    yield from _paragraphs("It needs trust in (the operator's word)", told.trust)
    yield from _paragraphs("Your device sees to it that (enforced on device)", told.enforced)
    yield from _paragraphs("It does not cover", told.uncovered)
    yield from _paragraphs("If you switch it off, at once", [told.at_once], indent="")
    yield from _wrapped(told.after or _UNLEARN, "  ")


def _figures(figures: Figures) -> str:
    """Return the epsilons behind the bets; where the coins are secret, both."""
    both = f"epsilon {figures.epsilon:g} a run"
    if figures.epsilon_unamplified != figures.epsilon:
        both = (
            f"{both} with the credit for secret coins, {figures.epsilon_unamplified:g} without it"
        )
    return f"{both}, of {figures.cap:g} (delta {figures.delta:g}, user level)."


def _sent(config: PrivacyConfig) -> Iterator[str]:
    for name, metric in config.metrics.items():
        often = "once" if metric.releases_per_run == 1 else f"{metric.releases_per_run} times"
        yield f"{name}, from {', '.join(metric.features)}, {often} a run, under {metric.purpose}"


def _paragraphs(title: str, sentences: Iterable[str], indent: str = "  ") -> Iterator[str]:
    """Return sentences below each other; under a title in a row, or as a list if they are long."""
    shown = list(sentences)
    if not title:
        yield from (line for one in shown for line in _wrapped(one, indent))
    elif len(row := f"{title}: {'; '.join(shown)}.") <= _IN_A_ROW or len(shown) == 1:
        yield from _wrapped(row, indent)
    else:
        yield f"{indent}{title}:"
        yield from (line for one in shown for line in _wrapped(one, f"{indent}  - "))


def _wrapped(text: str, indent: str) -> list[str]:
    later = " " * len(indent)
    return wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent=later, break_on_hyphens=False
    )

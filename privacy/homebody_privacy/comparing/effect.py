"""What a difference does to the loss that is planned: the figures of both files side by side."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from homebody_privacy.explaining.bets import Figures, figures_of
from homebody_privacy.explaining.promise import no_figure

from .changes import Change
from .verdicts import Direction

if TYPE_CHECKING:
    from homebody_privacy.config import PrivacyConfig
    from homebody_privacy.planned import PlannedLoss

Loss: TypeAlias = "Callable[[PrivacyConfig], PlannedLoss | None]"
"""What a run of a config costs, computed; None where its noise is left to be solved."""

_PATH: Final = "planned loss"
_REASON: Final = "weaker_dp"
_EXPLAINS: Final = frozenset({_REASON, "new_figure"})


@dataclass(frozen=True, slots=True)
class Side:
    """The figures of one file. Public.

    Attributes:
        figures: What is planned; None where nothing may be said.
        failed: Rules that are why; empty where the noise is left to be solved, or with figures.
    """

    figures: Figures | None
    failed: tuple[str, ...]

    @property
    def why_none(self) -> str:
        """Why there are no figures, in words."""
        return f"{', '.join(self.failed)} failed" if self.failed else "the noise is not fixed"


def side(config: "PrivacyConfig", loss: Loss, delta: float | None = None) -> Side:
    """Return the figures of a config.

    Args:
        config: A config that follows its schema.
        loss: Computes what a run costs; it is asked only where every premise holds.
        delta: Failure chance at which epsilon is given; by default the config's own. Figures of
            two files say which is more only at one and the same.
    """
    failed = tuple(sorted({one.rule for one in no_figure(config)}))
    if failed:
        return Side(None, failed)
    if delta is not None and delta != config.dp.delta:
        protection = config.dp.model_copy(update={"delta": delta})
        config = config.model_copy(update={"dp": protection})
    planned = loss(config)
    return Side(None if planned is None else figures_of(planned), ())


def effect_words(old: Side, new: Side) -> str:
    """Return the effect in one row."""
    if old.figures is None or new.figures is None:
        return f"planned privacy loss {_loss(old)} -> {_loss(new)}"
    a, b = old.figures, new.figures
    parts = [
        f"planned privacy loss {a.epsilon:g} -> {b.epsilon:g} a run",
        f"best guess {a.guess} -> {b.guess} in 100",
    ]
    if (a.epsilon, b.epsilon) != (a.epsilon_unamplified, b.epsilon_unamplified):
        parts.append(
            f"for whoever sees who takes part {a.epsilon_unamplified:g} -> "
            f"{b.epsilon_unamplified:g}, {a.guess_unamplified} -> {b.guess_unamplified} in 100"
        )
    if (a.runs_to_cap, b.runs_to_cap) != (None, None):
        parts.append(f"runs to the cap {_runs(a)} -> {_runs(b)}")
    return "; ".join(parts)


def unexplained(old: Side, new: Side, found: Iterable[Change]) -> Iterator[Change]:
    """Return what the figures say and no field does: that the loss rose, fell or lost its meaning.

    Args:
        old: Figures before, at the same delta as the others.
        new: Figures after.
        found: The changes of the fields.
    """
    said = {change.direction for change in found if change.about in _EXPLAINS}
    for direction, text in _moves(old, new):
        if direction not in said:
            said.add(direction)
            reason = _REASON if direction is Direction.WEAKER else ""
            yield Change(direction, text, _PATH, reason, _REASON)


def _moves(old: Side, new: Side) -> Iterator[tuple[Direction, str]]:
    if bool(old.failed) != bool(new.failed):
        gone = Direction.WEAKER if new.failed else Direction.STRONGER
        yield gone, f"planned privacy loss: {_loss(old)} -> {_loss(new)}"
    if old.figures is None or new.figures is None:
        return
    pairs = (
        ("planned privacy loss a run", old.figures.epsilon, new.figures.epsilon),
        (
            "the same for whoever sees who takes part",
            old.figures.epsilon_unamplified,
            new.figures.epsilon_unamplified,
        ),
    )
    for what, before, after in pairs:
        if before != after:
            direction = Direction.WEAKER if after > before else Direction.STRONGER
            yield direction, f"{what}: {before:g} -> {after:g}"


def _loss(one: Side) -> str:
    return f"(none: {one.why_none})" if one.figures is None else f"{one.figures.epsilon:g}"


def _runs(figures: Figures) -> str:
    return "no limit" if figures.runs_to_cap is None else str(figures.runs_to_cap)

"""Rank on the device: a verified model and the person's own history, no network."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Final, overload

import numpy as np

from homebody_client.explain import Reason, reason_for
from homebody_client.light_dataclass import dataclass
from homebody_models.bundle import ModelBundle
from homebody_models.ranking import HIDE

NO_HISTORY: Final = "no-history"
UNKNOWN_HISTORY: Final = "unknown-history"
NOT_PERSONAL: Final = "model-not-personal"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One item of a list. Secret, for it follows from the history.

    Attributes:
        product_id: Item id of the catalog.
        score: Its score; larger is better, comparable within one list only.
        reason: Why it is here.
    """

    product_id: str
    score: float = field(repr=False)
    reason: Reason


@dataclass(frozen=True, slots=True)
class Recommendations(Sequence[Recommendation]):
    """A list, best first. Secret.

    Attributes:
        items: The recommendations.
        fallback_reason: Why the list is not personal: ``no-history``, ``unknown-history`` (no
            event is of this catalog), ``model-not-personal``, ``no-model``, ``strength-zero``,
            ``control-arm``, or what the caller said; None if it is personal.
        recommendation_id: Random, drawn for each list; joins outcomes to it on the device.
        model_version: Version of the model that ranked; empty without one.
        surface: Place the list is for.
        experiment: Arm of an experiment it was made in; None outside of one.
        propensities: Chance of each item to get its place, given the places before it.
        banners: What the rules of the app show beside the list.
        cap_relaxed: Whether the cap on categories gave way, as the catalog could not fill the list.
    """

    items: tuple[Recommendation, ...]
    fallback_reason: str | None = None
    recommendation_id: str = ""
    model_version: str = ""
    surface: str = ""
    experiment: str | None = None
    propensities: tuple[float, ...] = field(default=(), repr=False)
    banners: tuple[str, ...] = field(default=(), repr=False)
    cap_relaxed: bool = False

    @property
    def personalised(self) -> bool:
        """Whether the person's history made the list."""
        return self.fallback_reason is None

    def __len__(self) -> int:
        """Count the items."""
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Recommendation: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Recommendation]: ...
    def __getitem__(self, index: int | slice) -> Recommendation | Sequence[Recommendation]:
        """Return one recommendation, or some."""
        return self.items[index]

    def __iter__(self) -> Iterator[Recommendation]:
        """Iterate, best first."""
        return iter(self.items)


def recommend(
    bundle: ModelBundle,
    history_ids: Sequence[str],
    *,
    n: int = 10,
    hide_seen: bool = False,
    titles: Mapping[str, str] | None = None,
) -> Recommendations:
    """Return the ``n`` best items for one history, each with its reason.

    Args:
        bundle: A verified model.
        history_ids: Product ids, oldest first; ids the model does not know are skipped. Secret.
        n: Length of the list, at least 1.
        hide_seen: Leave out what was chosen before, as long as that leaves ``n`` items; seen ones
            fill the list up. Groceries are bought again: the surface decides.
        titles: Names shown to people, by product id; None shows ids.

    Raises:
        ValueError: If ``n`` is below 1.

    Guarantees:
        The list holds ``n`` items, or the whole catalog if that is smaller, whatever the history.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    known = [bundle.index[name] for name in history_ids if name in bundle.index]
    if hide_seen and known:
        adjust = np.zeros(len(bundle.ranker), np.float32)
        adjust[known] = HIDE
        top = bundle.ranker.top(known, n, adjust=adjust)
        if len(top) < n:
            seen = np.where(adjust == 0.0, np.float32(HIDE), np.float32(0.0))
            top += bundle.ranker.top(known, n - len(top), adjust=seen)
    else:
        top = bundle.ranker.top(known, n)
    reasons = explain(bundle, known, [item for item, _ in top], titles)
    return Recommendations(
        tuple(
            Recommendation(bundle.item_ids[item], score, reason)
            for (item, score), reason in zip(top, reasons, strict=True)
        ),
        _fallback_reason(bundle, history_ids, known),
    )


def explain(
    bundle: ModelBundle,
    known: Sequence[int],
    items: Sequence[int],
    titles: Mapping[str, str] | None = None,
) -> list[Reason]:
    """Return the reason of each item, by taking items of the history out one at a time.

    Args:
        bundle: A verified model.
        known: Item indices of the history, oldest first. Secret.
        items: Item indices to explain.
        titles: Names shown to people, by product id; None shows ids.
    """
    return [
        reason_for([bundle.item_ids[cause] for cause, _ in causes], titles)
        for causes in bundle.ranker.reasons(known, items)
    ]


def _fallback_reason(
    bundle: ModelBundle, history_ids: Sequence[str], known: Sequence[int]
) -> str | None:
    """Return why a list is not personal; None if it is."""
    if bundle.ranker.encoder == "none":
        return NOT_PERSONAL
    if known:
        return None
    return UNKNOWN_HISTORY if history_ids else NO_HISTORY

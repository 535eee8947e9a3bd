"""Make lists on the device: model, filters, local adaptation, rules, diversity and reasons.

A list is never empty while there is a model, a catalog or a list of ids to fall back to, and it
never goes to the network. In a list that is not personal nothing of the person is used: not what
was seen, not the cart (but what lies in it is not shown), no rule that asks for a fact, no draw.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from typing import Final

from homebody_client.explain import EXPLORE, RULE, Reason
from homebody_client.light_dataclass import dataclass
from homebody_client.recommend import (
    NO_HISTORY,
    UNKNOWN_HISTORY,
    Recommendation,
    Recommendations,
)
from homebody_client.serving.evidence import Evidence, gather
from homebody_client.serving.filling import Filler, Mask
from homebody_client.serving.interactions import Interaction
from homebody_client.serving.query import Query
from homebody_client.serving.reasons import reasons
from homebody_client.serving.rules import Outcome, RuleBook
from homebody_client.serving.scoring import Floats, Setting, scores, similarity
from homebody_client.serving.sensitive import SENSITIVE_TOPICS
from homebody_client.serving.shelf import Shelf, build_shelf
from homebody_client.serving.surfaces import SURFACES, Surface, find_surface
from homebody_models.bundle import ModelBundle
from homebody_models.catalog import ItemCatalog
from homebody_models.diversity import Place
from homebody_privacy.errors import UsageError

NO_MODEL: Final = "no-model"
STRENGTH_ZERO: Final = "strength-zero"
CONTROL_ARM: Final = "control-arm"
_FACTS_OPEN: Final = frozenset({NO_MODEL, CONTROL_ARM, NO_HISTORY, UNKNOWN_HISTORY})
_FULL: Final = 100
_ID_BYTES: Final = 16
_NO_RULES: Final = RuleBook()
_BESIDE: Final = "product"


def fresh_id() -> str:
    """Return 128 random bits as hex."""
    return os.urandom(_ID_BYTES).hex()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One call, worked out. Secret."""

    surface: Surface
    query: Query
    setting: Setting
    outcome: Outcome
    fallback_reason: str | None
    scores: Floats = field(repr=False)
    visible: Mask = field(repr=False)


class ListMaker:
    """Makes the lists of one device; holds nothing of the person.

    Args:
        bundle: A verified model; None without one.
        catalog: A verified catalog; None without one.
        fallback: Product ids to list where there is neither, best first.
        titles: Names shown to people where the catalog has none.
        surfaces: The places lists are for.
        rules: Rules of the app.
        sensitive_topics: Topics no reason names.
        sensitive_categories: Categories no reason names, besides.
        pricing_open: Whether the surface ``pricing`` is allowed and its purpose is open.
        new_id: Draws the id of a list.
    """

    def __init__(
        self,
        bundle: ModelBundle | None = None,
        catalog: ItemCatalog | None = None,
        fallback: Sequence[str] = (),
        *,
        titles: Mapping[str, str] | None = None,
        surfaces: Mapping[str, Surface] = SURFACES,
        rules: RuleBook = _NO_RULES,
        sensitive_topics: Collection[str] = SENSITIVE_TOPICS,
        sensitive_categories: Collection[str] = (),
        pricing_open: bool = False,
        new_id: Callable[[], str] = fresh_id,
    ) -> None:
        """Put model and catalog into one numbering."""
        self._shelf = build_shelf(
            bundle,
            catalog,
            fallback=fallback,
            titles=titles,
            topics=sensitive_topics,
            categories=sensitive_categories,
        )
        self._version = "" if bundle is None else bundle.manifest.facts.version
        self._surfaces = surfaces
        self._rules = rules
        self._pricing_open = pricing_open
        self._new_id = new_id
        self._visible: dict[str, Mask] = {}
        self._freshness: tuple[int, Floats | None] | None = None

    @property
    def shelf(self) -> Shelf:
        """All that can be listed. Public."""
        return self._shelf

    def make(
        self,
        interactions: Sequence[Interaction],
        query: Query,
        *,
        fallback_reason: str | None = None,
    ) -> Recommendations:
        """Return a list.

        Args:
            interactions: The person's events, as the read gate gave them. Secret.
            query: The call.
            fallback_reason: Why the list must be the one for all, such as a closed gate;
                interactions are then not looked at. None to make it personal where possible.

        Raises:
            UsageError: If there is no such surface.
            PolicyViolationError: If the surface is ``pricing`` and that is not open.
            ValueError: If the surface explores and the query has no ``rng``.

        Guarantees:
            ``n`` items, or all that the surface may show. At strength 0 or with a
            ``fallback_reason`` the items, scores and reasons do not depend on ``interactions``.
        """
        call = self._work_out(interactions, query, fallback_reason)
        filler = Filler(
            call.setting, call.surface, scores=call.scores, visible=call.visible, rng=query.rng
        )
        places, relaxed = filler.fill(self._pinned(call), query.n)
        told = reasons(call.setting, [place.item for place in places])
        return Recommendations(
            items=tuple(
                Recommendation(
                    self._shelf.ids[place.item],
                    float(call.scores[place.item]),
                    self._told(call, place, reason),
                )
                for place, reason in zip(places, told, strict=True)
            ),
            fallback_reason=call.fallback_reason,
            recommendation_id=self._new_id(),
            model_version=self._version,
            surface=call.surface.name,
            experiment=query.experiment,
            propensities=tuple(place.propensity for place in places),
            banners=call.outcome.banners,
            cap_relaxed=relaxed,
        )

    def why(
        self,
        interactions: Sequence[Interaction],
        product_id: str,
        query: Query,
        *,
        fallback_reason: str | None = None,
    ) -> Reason:
        """Return why a product is listed, or would be.

        Raises:
            UsageError: If neither model nor catalog has the product, or as in ``make``.
            PolicyViolationError: As in ``make``.
        """
        item = self._shelf.index.get(product_id)
        if item is None:
            raise UsageError("the product is not in the catalog", fix="ask about a listed product")
        call = self._work_out(interactions, query, fallback_reason)
        return self._told(call, Place(item), reasons(call.setting, [item])[0])

    def scores(
        self,
        interactions: Sequence[Interaction],
        query: Query,
        *,
        fallback_reason: str | None = None,
    ) -> Floats:
        """Return the score of everything on the shelf, in its numbering. Secret.

        Raises:
            UsageError: As in ``make``.
            PolicyViolationError: As in ``make``.
        """
        return self._work_out(interactions, query, fallback_reason).scores

    def _told(self, call: _Call, place: Place, reason: Reason) -> Reason:
        """Return the reason of an item that a rule or a draw placed, else its own."""
        text = call.outcome.pins.get(self._shelf.ids[place.item])
        if text is not None:
            return Reason(RULE, text)
        if place.explored:
            return Reason(EXPLORE, "Shown to learn what else you might like")
        return reason

    def _work_out(
        self, interactions: Sequence[Interaction], query: Query, reason: str | None
    ) -> _Call:
        surface = find_surface(query.surface, self._surfaces, pricing_open=self._pricing_open)
        evidence, reason = self._evidence(interactions, query, reason)
        knows_facts = reason is None or reason in _FACTS_OPEN
        outcome = self._rules.apply(query.facts if knows_facts else {}, surface.name)
        gain = query.strength / _FULL if evidence is not None else 0.0
        beside = surface.name == _BESIDE
        setting = Setting(
            shelf=self._shelf,
            evidence=evidence,
            gain=gain,
            similarity=similarity(self._shelf, query.product_id) if beside else None,
            freshness=self._fresh(query.now),
        )
        return _Call(
            surface=surface,
            query=query,
            setting=setting,
            outcome=outcome,
            fallback_reason=reason,
            scores=scores(setting, outcome),
            visible=self._allowed(surface, query, outcome),
        )

    def _evidence(
        self, interactions: Sequence[Interaction], query: Query, reason: str | None
    ) -> tuple[Evidence | None, str | None]:
        """Return what is known of the person, or why nothing of it is used."""
        if reason is None and query.strength == 0:
            reason = STRENGTH_ZERO
        if reason is None and query.arm == "rules":
            reason = CONTROL_ARM
        if reason is None and self._shelf.ranker is None:
            reason = NO_MODEL
        if reason is not None:
            return None, reason
        evidence = gather(self._shelf, interactions, query)
        if len(evidence):
            return evidence, None
        return None, UNKNOWN_HISTORY if interactions else NO_HISTORY

    def _fresh(self, now: float) -> Floats | None:
        day = int(now // 86_400)
        if self._freshness is None or self._freshness[0] != day:
            self._freshness = day, self._shelf.freshness(now)
        return self._freshness[1]

    def _allowed(self, surface: Surface, query: Query, outcome: Outcome) -> Mask:
        """Return what this answer may show: the surface's filters and the call's own."""
        if surface.name not in self._visible:
            self._visible[surface.name] = self._shelf.visible(surface)
        mask = self._visible[surface.name].copy()
        never = {*query.blocked, *outcome.hidden, *query.cart}
        if query.product_id is not None:
            never.add(query.product_id)
        index = self._shelf.index
        mask[[index[name] for name in never if name in index]] = False
        return mask

    def _pinned(self, call: _Call) -> list[Place]:
        index = self._shelf.index
        numbers = [index[name] for name in call.outcome.pins if name in index]
        return [Place(number) for number in numbers if call.visible[number]][: call.query.n]

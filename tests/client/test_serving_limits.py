"""What lists never do: overdo a category, follow a person at strength 0, show what is filtered."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_client.bundles import trust_key
from homebody_client.recommend import Recommendations
from homebody_client.serving.interactions import Interaction
from homebody_client.serving.list_maker import ListMaker
from homebody_client.serving.query import MOST, Query
from homebody_client.serving.rules import Rule, RuleBook
from homebody_client.serving.surfaces import SURFACES, Surface, find_surface
from homebody_models.catalog import open_catalog
from homebody_models.catalog_writer import CatalogItem, write_catalog
from homebody_privacy.errors import PolicyViolationError, UsageError

from .serving_world import (
    DAY,
    ITEMS,
    KEY,
    NOW,
    PEOPLE,
    World,
    category_of,
    choices,
    ident,
    make_world,
    sign,
)

HOME = Query(now=NOW)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


def ids(answer: Recommendations) -> list[str]:
    return [item.product_id for item in answer]


def categories(answer: Recommendations) -> Counter[int]:
    return Counter(category_of(int(name.removeprefix("SKU-"))) for name in ids(answer))


def test_s58_category_cap_holds_in_1000_random_histories(world: World) -> None:
    home = {"home": replace(SURFACES["home"], category_cap=3, explore=0.2)}
    maker = ListMaker(world.bundles["mean-repeat"], world.catalog, surfaces=home)
    rng = np.random.default_rng(11)
    for _ in range(1_000):
        category = int(rng.integers(12))  # a person of one category, who would fill the list
        own = category + 12 * rng.integers(0, 20, 20)
        history = choices([*own.tolist(), *rng.integers(0, ITEMS, 5).tolist()])
        answer = maker.make(history, Query(now=NOW, rng=rng))
        assert max(categories(answer).values()) <= 3
        assert not answer.cap_relaxed
        assert len(answer) == 10


def test_cap_gives_way_only_where_the_catalog_cannot_fill_the_list(world: World) -> None:
    two = Surface(
        name="home", category_cap=3, allow_categories=frozenset({"category 1", "category 2"})
    )
    maker = ListMaker(world.bundles["mean"], world.catalog, surfaces={"home": two})
    short = maker.make(choices([1, 13]), Query(now=NOW, n=6))
    assert (len(short), short.cap_relaxed) == (6, True)
    fitting = maker.make(choices([1, 13]), Query(now=NOW, n=2))
    assert not fitting.cap_relaxed
    whole = maker.make(choices([1, 13]), Query(now=NOW, n=40))
    assert len(whole) == 40
    assert whole.cap_relaxed


def test_cap_looks_past_the_pool_before_it_gives_way(world: World) -> None:
    home = {"home": Surface(name="home", category_cap=1)}
    rules = RuleBook((Rule(name="up", lift={f"category {i}": 10.0 for i in range(5)}),))
    maker = ListMaker(world.bundles["none"], world.catalog, surfaces=home, rules=rules)
    scores = maker.scores([], HOME)
    assert {int(item) % 12 for item in np.argsort(-scores)[:100]} == set(range(5))
    answer = maker.make([], HOME)
    assert sorted(categories(answer).values()) == [1] * 10


@settings(max_examples=60, deadline=None)
@given(
    items=st.lists(st.integers(0, ITEMS - 1), max_size=60),
    n=st.integers(1, 40),
    cap=st.integers(1, 10),
    pins=st.lists(st.integers(0, ITEMS - 1), max_size=5, unique=True),
    mmr=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_cap_holds_or_is_said_to_have_given_way(
    world: World, *, items: list[int], n: int, cap: int, pins: list[int], mmr: float
) -> None:
    home = Surface(name="home", category_cap=cap, mmr=mmr, hide_seen=True)
    rules = RuleBook((Rule(name="pin", pin=tuple(ident(i) for i in pins)),))
    maker = ListMaker(
        world.bundles["mean-repeat"], world.catalog, surfaces={"home": home}, rules=rules
    )
    answer = maker.make(choices(items), Query(now=NOW, n=n))
    limit = home.cap(n)
    assert limit is not None
    most = max(categories(answer).values())
    assert len(answer) == n
    assert (most > limit) == answer.cap_relaxed
    if not pins:  # twelve categories of twenty items can fill any list that the cap allows
        assert answer.cap_relaxed == (12 * min(limit, 20) < n)


def test_s58_strength_zero_gives_the_same_list_on_all_devices(world: World) -> None:
    home = {
        "home": replace(SURFACES["home"], hide_seen=True, explore=0.9),
        "product": SURFACES["product"],
    }
    rules = RuleBook((Rule(name="vip", when={"segment": "A"}, pin=(ident(99),), banner="B"),))
    maker = ListMaker(world.bundles["mean-repeat"], world.catalog, surfaces=home, rules=rules)
    for surface in ("home", "product"):
        seen = set()
        for person in range(0, PEOPLE, 10):
            history = [
                *world.choices(person),
                *choices([person % ITEMS], "dislike", age_s=60),
                *choices([person % ITEMS], "product_view", age_s=60),
            ]
            query = Query(
                now=NOW + person,
                surface=surface,
                strength=0,
                hour=person % 24,
                device=f"device {person % 3}",
                product_id=ident(3),
                facts={"segment": "A" if person % 20 else "C"},
                rng=np.random.default_rng(person),
            )
            answer = maker.make(history, query)
            assert answer.fallback_reason == "strength-zero"
            seen.add(repr([(i.product_id, i.score, i.reason.text) for i in answer]).encode())
        assert len(seen) == 1


def test_strength_goes_smoothly_from_the_list_for_all_to_the_personal_one(world: World) -> None:
    maker = ListMaker(world.bundles["ridge"], world.catalog)
    history = [*world.choices(3), *choices([5, 17], "product_view", age_s=60)]
    query = Query(now=NOW, hour=20, device="mobile")
    for_all = maker.scores([], query)
    own = maker.scores(history, query) - for_all
    for strength in (1, 25, 50, 75, 100):
        part = maker.scores(history, replace(query, strength=strength)) - for_all
        assert part == pytest.approx(own * strength / 100, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    items=st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=40),
    surface=st.sampled_from(sorted(SURFACES)),
)
def test_cr_25_list_for_a_closed_gate_does_not_depend_on_the_person(
    world: World, items: list[int], surface: str
) -> None:
    maker = ListMaker(world.bundles["mean-repeat"], world.catalog)
    query = Query(now=NOW, surface=surface, hour=3, product_id=ident(1), cart=(ident(2),))
    closed = [
        replace(maker.make(events, query, fallback_reason="not_asked"), recommendation_id="")
        for events in (choices(items), [])
    ]
    assert repr(closed[0].items) == repr(closed[1].items)
    assert closed[0] == closed[1]


def test_hidden_seen_items_come_last_and_unseen_ones_first(world: World) -> None:
    home = {"home": Surface(name="home", hide_seen=True)}
    maker = ListMaker(world.bundles["mean"], world.catalog, surfaces=home)
    history = world.choices(8)
    seen = {event.product_id for event in history}
    listed = ids(maker.make(history, Query(now=NOW, n=ITEMS)))
    unseen = ITEMS - len(seen)
    assert not seen & set(listed[:unseen])
    assert set(listed[unseen:]) == seen


def test_filters_of_a_surface_hold(world: World) -> None:
    strict = Surface(
        name="home",
        deny_categories=frozenset({"category 1"}),
        deny_topics=frozenset({"pregnancy", "unheard-of"}),
    )
    maker = ListMaker(world.bundles["mean"], world.catalog, surfaces={"home": strict})
    answer = maker.make(choices([1, 13, 0]), Query(now=NOW, n=ITEMS, blocked=frozenset({ident(7)})))
    assert set(categories(answer)) == set(range(12)) - {1}
    assert ident(7) not in ids(answer)
    assert ident(0) not in ids(answer)
    assert len(answer) == ITEMS - 20 - 4 - 1


def test_dear_items_are_left_out_where_the_surface_says_so(tmp_path: Path, world: World) -> None:
    items = [
        CatalogItem(product_id=ident(i), title="t", price="" if i == 5 else f"{i}.50")
        for i in range(ITEMS)
    ]
    write_catalog(tmp_path / "c", items, catalog_id="c", version=1, sign=sign, currency="EUR")
    catalog = open_catalog(tmp_path / "c", trust_key(KEY.public))
    cheap = {"home": Surface(name="home", most_price=3.0)}
    maker = ListMaker(world.bundles["mean"], catalog, surfaces=cheap)
    assert set(ids(maker.make([], HOME))) == {ident(i) for i in (0, 1, 2, 5)}


def test_item_no_longer_in_the_catalog_is_not_listed_and_a_new_one_can_be(
    tmp_path: Path, world: World
) -> None:
    items = [CatalogItem(product_id=ident(i), title=f"t{i}", category="old") for i in range(100)]
    new = [
        CatalogItem(product_id=f"NEW-{i}", title=f"new {i}", category="new", created=int(NOW) - DAY)
        for i in range(5)
    ]
    write_catalog(tmp_path / "c", [*items, *new], catalog_id="c", version=1, sign=sign)
    catalog = open_catalog(tmp_path / "c", trust_key(KEY.public))
    maker = ListMaker(world.bundles["mean"], catalog, surfaces={"home": Surface(name="home")})
    listed = ids(maker.make(world.choices(1), Query(now=NOW, n=ITEMS)))
    assert set(listed) == set(catalog.items)
    views = [Interaction(product_id="NEW-0", event="product_view", at=NOW) for _ in range(5)]
    top = maker.make([*world.choices(1), *views], HOME)
    assert any(name.startswith("NEW-") for name in ids(top))
    reason = maker.why([], "NEW-3", HOME)
    assert (reason.code, str(reason)) == ("new", "New in the catalog")


def test_fresh_items_rise_for_everybody_and_for_a_while(tmp_path: Path, world: World) -> None:
    items = [
        CatalogItem(product_id=ident(i), title="t", created=int(NOW) - (i % 2) * 300 * DAY)
        for i in range(ITEMS)
    ]
    write_catalog(tmp_path / "c", items, catalog_id="c", version=1, sign=sign)
    catalog = open_catalog(tmp_path / "c", trust_key(KEY.public))
    maker = ListMaker(world.bundles["mean"], catalog)
    plain = ListMaker(world.bundles["mean"], world.catalog).scores([], HOME)
    gained = maker.scores([], HOME) - plain
    assert gained[::2] == pytest.approx(0.25 * maker.shelf.spread, abs=1e-5)
    assert gained[1::2] == pytest.approx(0.0, abs=1e-6)
    later = maker.scores([], replace(HOME, now=NOW + 60 * DAY)) - plain
    assert (later[::2] < 0.05 * maker.shelf.spread).all()
    earlier = maker.scores([], replace(HOME, now=NOW - 60 * DAY)) - plain
    assert earlier == pytest.approx(np.zeros(ITEMS), abs=1e-6)  # not there yet


def test_exploration_draws_keeps_propensities_and_says_so(world: World) -> None:
    surfaces = {"home": Surface(name="home", explore=0.5)}
    maker = ListMaker(world.bundles["mean"], world.catalog, surfaces=surfaces)
    history = world.choices(6)
    rng = np.random.default_rng(5)
    answers = [maker.make(history, Query(now=NOW, rng=rng)) for _ in range(50)]
    drawn = [item for answer in answers for item in answer if item.reason.code == "explore"]
    assert 150 < len(drawn) < 350
    assert all(not item.reason.causes for item in drawn)
    assert all(0.0 < chance <= 1.0 for answer in answers for chance in answer.propensities)
    assert len({tuple(ids(answer)) for answer in answers}) > 40
    with pytest.raises(ValueError, match="rng"):
        maker.make(history, HOME)


def test_exploration_is_off_in_a_list_that_is_not_personal(world: World) -> None:
    surfaces = {"home": Surface(name="home", explore=0.9)}
    maker = ListMaker(world.bundles["mean"], world.catalog, surfaces=surfaces)
    answers = [
        maker.make([], HOME),
        maker.make(world.choices(1), Query(now=NOW, strength=0)),
        maker.make(world.choices(1), HOME, fallback_reason="refused"),
    ]
    assert len({tuple(ids(answer)) for answer in answers}) == 1
    assert {chance for answer in answers for chance in answer.propensities} == {1.0}


def test_s22_personal_prices_are_refused_unless_they_are_open(world: World) -> None:
    surfaces = {**SURFACES, "pricing": Surface(name="pricing")}
    maker = ListMaker(world.bundles["mean"], world.catalog, surfaces=surfaces)
    with pytest.raises(PolicyViolationError) as refusal:
        maker.make([], Query(now=NOW, surface="pricing"))
    assert refusal.value.exit_code == 10
    opened = ListMaker(world.bundles["mean"], world.catalog, surfaces=surfaces, pricing_open=True)
    assert len(opened.make([], Query(now=NOW, surface="pricing"))) == 10


def test_unknown_surface_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as refusal:
        find_surface("12345")
    assert "12345" not in str(refusal.value)
    assert refusal.value.fix == "use one of cart, home, product"


@pytest.mark.parametrize(
    "fields",
    [
        {"category_cap": 0},
        {"mmr": 1.5},
        {"mmr": float("nan")},
        {"explore": 1.0},
        {"explore": float("nan")},
        {"name": ""},
    ],
)
def test_surface_out_of_range_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must"):
        Surface(**{"name": "home", **fields})  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 0},
        {"n": MOST + 1},
        {"strength": 101},
        {"strength": -1},
        {"now": float("nan")},
        {"hour": 24},
        {"arm": "z"},
    ],
)
def test_query_out_of_range_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must"):
        Query(**{"now": NOW, **fields})  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    "fields",
    [
        {"product_id": ""},
        {"event": ""},
        {"at": float("inf")},
        {"hour": 24},
        {"value": float("nan")},
    ],
)
def test_interaction_out_of_range_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must"):
        Interaction(**{"product_id": "a", "event": "like", "at": 0.0, **fields})  # type: ignore[arg-type]  # wrong on purpose


def test_behaviour_stays_out_of_repr() -> None:
    interaction = Interaction(product_id="SKU-1", event="like", at=5.0, hour=3, device="tv")
    query = Query(now=NOW, hour=3, device="tv", product_id="SKU-1", cart=("SKU-2",), facts={"a": 1})
    for text in (repr(interaction), repr(query)):
        assert not any(word in text for word in ("SKU", "like", "tv", "hour", "facts"))

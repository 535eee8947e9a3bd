"""Lists: never empty, one model for many places, learning in the session, without a network."""

import itertools
import socket
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_client.recommend import Recommendations
from homebody_client.serving.evidence import hour_bucket
from homebody_client.serving.interactions import Interaction, Value, interaction_of
from homebody_client.serving.list_maker import ListMaker
from homebody_client.serving.query import Query
from homebody_client.serving.surfaces import SURFACES, Surface
from homebody_models.golden import golden_histories
from homebody_models.ranking import Ranker

from .serving_world import (
    CATEGORIES,
    ITEMS,
    NOW,
    PEOPLE,
    World,
    category_of,
    choices,
    ident,
    make_world,
)

HOME = Query(now=NOW)
ENCODERS = ("mean", "mean-repeat", "ridge", "none")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test of this file open a socket: the network is off."""

    def refused(*_values: object, **_named: object) -> None:
        raise AssertionError("a list was made with a socket")

    monkeypatch.setattr(socket, "socket", refused)


def ids(answer: Recommendations) -> list[str]:
    return [item.product_id for item in answer]


def number(product_id: str) -> int:
    return int(product_id.removeprefix("SKU-"))


def content(answer: Recommendations) -> object:
    """Return all of an answer but what is random."""
    return replace(answer, recommendation_id="")


@pytest.mark.parametrize("model", ["none at all", *ENCODERS])
@pytest.mark.parametrize("catalog", ["no catalog", "catalog"])
def test_s01_list_is_never_empty_and_says_why_it_is_not_personal(
    world: World, model: str, catalog: str
) -> None:
    fallback = [f"FALLBACK-{i}" for i in range(12)]
    maker = ListMaker(
        world.bundles.get(model), world.catalog if catalog == "catalog" else None, fallback
    )
    histories: dict[str, list[Interaction]] = {
        "no-history": [],
        "unknown-history": [Interaction(product_id="GONE", event="purchase", at=NOW)],
        "": world.choices(1),
    }
    closed = (None, "consent_closed", "store_unreadable", "offline", "no_config")
    for reason, cold, surface in itertools.product(closed, histories, SURFACES):
        query = Query(now=NOW, surface=surface, n=10)
        answer = maker.make(histories[cold], query, fallback_reason=reason)
        assert len(set(ids(answer))) == len(answer) == 10
        no_model = "no-model" if model == "none at all" else None
        assert answer.fallback_reason == (reason or no_model or cold or None)
        assert answer.personalised == (answer.fallback_reason is None)


@pytest.mark.parametrize("model", ["none at all", *ENCODERS])
def test_s01_list_longer_than_the_catalog_is_the_whole_catalog(world: World, model: str) -> None:
    maker = ListMaker(world.bundles.get(model), world.catalog)
    answer = maker.make(world.choices(0), Query(now=NOW, n=ITEMS + 50))
    assert sorted(ids(answer)) == [ident(item) for item in range(ITEMS)]


def test_without_a_model_the_list_follows_the_catalog_and_then_the_apps_own(world: World) -> None:
    by_catalog = ListMaker(None, world.catalog, surfaces={"home": Surface(name="home")})
    assert ids(by_catalog.make([], HOME)) == [ident(item) for item in range(10)]
    by_app = ListMaker(None, None, ["b", "a", "b"])
    assert ids(by_app.make([], HOME)) == ["b", "a"]
    assert ids(ListMaker().make([], HOME)) == []


@settings(max_examples=60, deadline=None)
@given(
    items=st.lists(st.integers(0, ITEMS - 1), max_size=100),
    n=st.integers(1, 60),
    strength=st.integers(0, 100),
    encoder=st.sampled_from(ENCODERS),
    surface=st.sampled_from(sorted(SURFACES)),
    hide_seen=st.booleans(),
)
def test_any_history_gives_n_distinct_items(
    world: World,
    *,
    items: list[int],
    n: int,
    strength: int,
    encoder: str,
    surface: str,
    hide_seen: bool,
) -> None:
    surfaces = {surface: replace(SURFACES[surface], hide_seen=hide_seen)}
    maker = ListMaker(world.bundles[encoder], world.catalog, surfaces=surfaces)
    query = Query(now=NOW, n=n, strength=strength, surface=surface, hour=9, device="mobile")
    answer = maker.make(choices(items), query)
    assert len(set(ids(answer))) == len(answer) == n
    assert len(answer.propensities) == n
    assert np.isfinite([item.score for item in answer]).all()


def test_recommendation_id_is_drawn_for_each_list(world: World) -> None:
    maker = ListMaker(world.bundles["mean"], world.catalog)
    drawn = {maker.make([], HOME).recommendation_id for _ in range(50)}
    assert len(drawn) == 50
    assert all(len(name) == 32 for name in drawn)


def test_answer_carries_model_surface_and_arm(world: World) -> None:
    maker = ListMaker(world.bundles["mean"], world.catalog)
    answer = maker.make(world.choices(0), Query(now=NOW, surface="cart", experiment="b"))
    assert (answer.model_version, answer.surface, answer.experiment) == ("v7", "cart", "b")


@pytest.mark.parametrize("encoder", ENCODERS)
def test_s07_one_model_serves_home_product_and_cart(world: World, encoder: str) -> None:
    maker = ListMaker(world.bundles[encoder], world.catalog)
    history = world.choices(2)
    shown, cart = ident(40), (ident(1), ident(2))
    home = maker.make(history, HOME)
    product = maker.make(history, Query(now=NOW, surface="product", product_id=shown))
    basket = maker.make(history, Query(now=NOW, surface="cart", cart=cart))
    assert len({tuple(ids(answer)) for answer in (home, product, basket)}) == 3
    assert shown not in ids(product)
    assert not set(cart) & set(ids(basket))
    alike = sum(category_of(number(name)) == category_of(40) for name in ids(product))
    assert alike > sum(category_of(number(name)) == category_of(40) for name in ids(home))
    whole = maker.make(history, Query(now=NOW, surface="cart", cart=cart, n=ITEMS))
    assert not set(cart) & set(ids(whole))


def test_s07_cart_lifts_what_goes_with_it_and_not_its_doubles(world: World) -> None:
    maker = ListMaker(world.bundles["mean"], world.catalog)
    for item in (30, 31, 32):
        cart = Query(now=NOW, surface="cart", cart=(ident(item),))
        with_cart, without = maker.scores([], cart), maker.scores([], Query(now=NOW))
        gained = with_cart - without
        ranker = world.bundles["mean"].ranker
        goes_with = ranker.scores([item]) - ranker.scores([])
        same = np.array([category_of(i) == category_of(item) for i in range(ITEMS)])
        assert gained[~same] == pytest.approx(goes_with[~same], abs=1e-4)
        assert (gained[same] < goes_with[same]).all()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_s07_like_and_dislike_change_the_rank_of_item_and_category(
    world: World, encoder: str
) -> None:
    maker = ListMaker(world.bundles[encoder], world.catalog)
    history = world.choices(4)
    before = maker.scores(history, HOME)
    chosen = {event.product_id for event in history}
    item = next(i for i in range(60, ITEMS) if ident(i) not in chosen)
    same = [i for i in range(ITEMS) if i % CATEGORIES == item % CATEGORIES and i != item]
    for event, value, sign in (
        ("like", None, 1),
        ("dislike", None, -1),
        ("dismiss", None, -1),
        ("rating", 5.0, 1),
        ("rating", 1.0, -1),
    ):
        said = Interaction(product_id=ident(item), event=event, at=NOW - 86_400, value=value)
        gained = maker.scores([*history, said], HOME) - before
        assert sign * gained[item] > 0.5 * maker.shelf.spread
        if sign < 0:  # what is liked is also an entry of the model's history
            assert (gained[same] < 0.0).all()
        assert abs(gained[item]) > abs(gained[same]).max()


def test_last_word_on_a_product_counts(world: World) -> None:
    maker = ListMaker(world.bundles["none"], world.catalog)
    said = [
        Interaction(product_id=ident(9), event=event, at=NOW - 90_000 + i)
        for i, event in enumerate(["dislike", "dislike", "like"])
    ]
    assert maker.scores(said, HOME)[9] > maker.scores([], HOME)[9]
    assert maker.scores(said[::-1], HOME)[9] == maker.scores(said, HOME)[9]  # time, not order


def test_unwanted_item_is_listed_only_where_nothing_else_is_left(world: World) -> None:
    maker = ListMaker(world.bundles["mean-repeat"], world.catalog)
    history = [*choices([7] * 10), *choices([7], "dislike", age_s=10)]
    assert ident(7) not in ids(maker.make(history, HOME))
    assert ids(maker.make(history, Query(now=NOW, n=ITEMS)))[-1] == ident(7)


def test_s07_ablating_hour_and_device_changes_scores(world: World) -> None:
    maker = ListMaker(world.bundles["ridge"], world.catalog)
    morning = choices([2, 14, 26] * 4, hour=8, device="desktop")
    evening = choices([3, 15, 27] * 4, hour=20, device="mobile")
    history = morning + evening
    plain = maker.scores(history, HOME)
    at_eight = maker.scores(history, Query(now=NOW, hour=8))
    at_desk = maker.scores(history, Query(now=NOW, device="desktop"))
    category = np.arange(ITEMS) % CATEGORIES
    for scores in (at_eight, at_desk):
        assert (scores[category == 2] > plain[category == 2]).all()
        assert (scores[category == 3] < plain[category == 3]).all()
    both = maker.scores(history, Query(now=NOW, hour=8, device="desktop"))
    assert (both - plain) == pytest.approx((at_eight - plain) + (at_desk - plain), abs=1e-5)


def test_s07_habits_are_of_the_own_history_alone(world: World) -> None:
    maker = ListMaker(world.bundles["mean"], world.catalog)
    without_moments = choices([2, 14, 26] * 4, hour=None, device=None)
    for query in (HOME, Query(now=NOW, hour=8), Query(now=NOW, device="mobile")):
        scores = maker.scores(without_moments, query)
        assert np.array_equal(scores, maker.scores(without_moments, HOME))


def test_parts_of_the_day_cover_it() -> None:
    assert [hour_bucket(hour) for hour in range(24)] == (
        [0] * 5 + [1] * 6 + [2] * 3 + [3] * 4 + [4] * 4 + [0] * 2
    )


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("hide_seen", [False, True])
def test_s09_five_views_raise_a_category_in_the_same_session(
    world: World, encoder: str, *, hide_seen: bool
) -> None:
    home = {"home": replace(SURFACES["home"], hide_seen=hide_seen)}
    maker = ListMaker(world.bundles[encoder], world.catalog, surfaces=home)
    rose, cases = 0, 0
    for person in range(0, PEOPLE, 40):
        history = world.choices(person)
        for category in range(CATEGORIES):
            before = share(maker.make(history, HOME), category)
            if before >= 5:  # at the cap
                continue
            looked_at = [category + CATEGORIES * i for i in range(5)]
            views = choices(looked_at, "product_view", age_s=0, hour=None, device=None)
            after = share(maker.make([*history, *views], HOME), category)
            assert after >= before
            rose += after > before
            cases += 1
    assert cases > 60
    assert rose == cases


def share(answer: Recommendations, category: int) -> int:
    return sum(category_of(number(name)) == category for name in ids(answer))


def test_interest_of_a_session_fades(world: World) -> None:
    maker = ListMaker(world.bundles["none"], world.catalog)
    gained = [
        (maker.scores(choices([3], "product_view", age_s=age), HOME) - maker.scores([], HOME))[15]
        for age in (0.0, 3_600.0, 7_200.0, 7 * 86_400.0)
    ]
    assert gained == sorted(gained, reverse=True)
    assert gained[3] == pytest.approx(0.0, abs=1e-6)


def test_view_counts_once_and_choices_each_time(world: World) -> None:
    maker = ListMaker(world.bundles["mean-repeat"], world.catalog)
    looked = choices([5] * 9 + [6], "product_view")
    once = choices([5, 6], "product_view")
    ranker = world.bundles["mean-repeat"].ranker
    far = ranker.scores([5, 6])
    for events in (looked, once):
        model = maker.scores(events, replace(HOME, now=NOW + 30 * 86_400))
        assert model == pytest.approx(far, abs=1e-5)
    bought = maker.scores(choices([5] * 9 + [6]), replace(HOME, now=NOW + 30 * 86_400))
    assert bought == pytest.approx(ranker.scores([5] * 9 + [6]), abs=1e-5)


def test_a_row_becomes_an_interaction_with_no_more_than_it_kept() -> None:
    rated: dict[str, Value] = {
        "event": "rating",
        "product_id": "a",
        "rating": 4,
        "hour": 7,
        "device": "tv",
    }
    rows: list[tuple[float, dict[str, Value]]] = [
        (5.0, rated),
        (6.0, {"event": "purchase", "product_id": "b", "price_band": "5-10"}),
        (7.0, {"event": "search", "query": "tea"}),
        (8.0, {"event": "feature_used", "feature": "chart"}),
    ]
    assert [interaction_of(values, at) for at, values in rows] == [
        Interaction(product_id="a", event="rating", at=5.0, hour=7, device="tv", value=4.0),
        Interaction(product_id="b", event="purchase", at=6.0),
        None,
        Interaction(product_id="chart", event="feature_used", at=8.0),
    ]


def test_impression_says_nothing(world: World) -> None:
    maker = ListMaker(world.bundles["mean"], world.catalog)
    answer = maker.make(choices([1, 2, 3], "impression"), HOME)
    assert answer.fallback_reason == "unknown-history"
    assert content(answer) == content(
        replace(maker.make([], HOME), fallback_reason="unknown-history")
    )


@pytest.mark.slow  # a clock measures the machine: not while others use it
def test_s12_list_with_reasons_takes_well_under_fifty_milliseconds(world: World) -> None:
    import time  # noqa: PLC0415 this test alone measures

    maker = ListMaker(world.bundles["ridge"], world.catalog)
    history = choices(list(range(ITEMS)) * 4)
    query = Query(now=NOW, hour=9, device="mobile")
    taken = []
    for _ in range(40):
        start = time.perf_counter()
        maker.make(history, query)
        taken.append(time.perf_counter() - start)
    assert sorted(taken)[37] < 0.05


def test_spread_is_public_and_the_same_for_all(world: World) -> None:
    for encoder in ENCODERS:
        first, second = (ListMaker(world.bundles[encoder], world.catalog) for _ in range(2))
        assert first.shelf.spread == second.shelf.spread > 0.0
    ranker = world.bundles["ridge"].ranker
    assert isinstance(ranker, Ranker)
    assert len(golden_histories(len(ranker))) >= 4

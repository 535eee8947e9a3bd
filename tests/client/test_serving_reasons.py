"""Reasons: true by experiment, removable, and silent about what is sensitive."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_client.explain import CODES, Reason, reason_for
from homebody_client.serving.interactions import Interaction
from homebody_client.serving.list_maker import ListMaker
from homebody_client.serving.query import Query
from homebody_client.serving.surfaces import Surface
from homebody_privacy.errors import UsageError

from .serving_world import (
    CATEGORIES,
    ITEMS,
    NOW,
    PEOPLE,
    PREGNANCY,
    World,
    choices,
    ident,
    make_world,
)

QUERY = Query(now=NOW, hour=20, device="mobile")
PLANTED = {ident(CATEGORIES * i) for i in range(len(PREGNANCY))}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


def score_of(maker: ListMaker, interactions: list[Interaction], product_id: str) -> float:
    return float(maker.scores(interactions, QUERY)[maker.shelf.index[product_id]])


def without(interactions: list[Interaction], product_id: str) -> list[Interaction]:
    return [event for event in interactions if event.product_id != product_id]


def mixed(world: World, person: int) -> list[Interaction]:
    """Return purchases of a life, then what a person looked at, liked and rated just now."""
    people, rng = world.people, np.random.default_rng(person)
    events = world.choices(person, 30)
    events += choices(people[person][30:34].tolist(), "product_view", age_s=600, hour=20)
    liked, disliked = rng.choice(ITEMS, 2, replace=False).tolist()
    events += choices([liked], "like", age_s=300, device="desktop")
    events += choices([disliked], "dislike", age_s=200)
    return events


@pytest.mark.parametrize("encoder", ["mean", "mean-repeat", "ridge", "none"])
def test_s65_cr_24_removing_the_cited_cause_lowers_the_score(world: World, encoder: str) -> None:
    plain = {"home": Surface(name="home")}
    maker = ListMaker(world.bundles[encoder], world.catalog, surfaces=plain)
    lowered, cases = 0, 0
    for person in range(0, PEOPLE, 16):
        events = mixed(world, person)
        for item in maker.make(events, QUERY):
            if item.reason.causes:
                left = without(events, item.reason.causes[0])
                lowered += score_of(maker, left, item.product_id) < item.score
                cases += 1
    assert cases > 60
    assert lowered >= 0.95 * cases


@pytest.mark.parametrize("encoder", ["mean", "mean-repeat", "ridge"])
def test_s65_holds_where_older_events_move_up_into_the_window(world: World, encoder: str) -> None:
    maker = ListMaker(world.bundles[encoder], world.catalog)
    lowered, cases = 0, 0
    for person in range(0, PEOPLE, 20):
        other = world.people[(person + 1) % PEOPLE][:40].tolist()
        events = choices(other, age_s=40.0 * 86_400) + world.choices(person, 40)  # more than 64
        for item in maker.make(events, QUERY):
            if item.reason.causes:
                left = without(events, item.reason.causes[0])
                lowered += score_of(maker, left, item.product_id) < item.score
                cases += 1
    assert cases > 60
    assert lowered >= 0.95 * cases


def test_falls_of_the_local_terms_are_exact_and_sorted(world: World) -> None:
    maker = ListMaker(world.bundles["none"], world.catalog)
    for person in range(0, PEOPLE, 50):
        events = mixed(world, person)
        for item in maker.make(events, QUERY):
            fallen = [
                item.score - score_of(maker, without(events, cause), item.product_id)
                for cause in item.reason.causes
            ]
            assert all(drop > 0.0 for drop in fallen)
            assert np.allclose(fallen, sorted(fallen, reverse=True), atol=1e-5)


def test_why_agrees_with_the_list(world: World) -> None:
    maker = ListMaker(world.bundles["ridge"], world.catalog)
    events = mixed(world, 3)
    for item in maker.make(events, QUERY):
        assert maker.why(events, item.product_id, QUERY) == item.reason


def test_why_of_an_unknown_product_is_refused_without_its_name(world: World) -> None:
    maker = ListMaker(world.bundles["ridge"], world.catalog)
    with pytest.raises(UsageError) as refusal:
        maker.why([], "SECRET-1", QUERY)
    assert "SECRET-1" not in str(refusal.value) + refusal.value.fix


def test_item_chosen_before_says_so(world: World) -> None:
    maker = ListMaker(world.bundles["mean-repeat"], world.catalog)
    reason = maker.why(choices([5] * 4), ident(5), Query(now=NOW))
    assert (reason.code, str(reason)) == ("again", "You bought this before")
    assert reason.causes[0] == ident(5)


def test_looks_of_this_session_are_told_by_their_category(world: World) -> None:
    maker = ListMaker(world.bundles["none"], world.catalog)
    events = choices([3, 15, 27, 39, 51], "product_view", age_s=60)
    reason = maker.why(events, ident(63), Query(now=NOW))
    assert str(reason) == "Because you looked at category 3 lately"
    assert set(reason.causes) == {ident(item) for item in (3, 15, 27, 39, 51)}


def test_like_is_told_as_a_like(world: World) -> None:
    maker = ListMaker(world.bundles["none"], world.catalog)
    reason = maker.why(choices([3], "like"), ident(3), Query(now=NOW))
    assert (reason.code, str(reason)) == ("liked", "Because you liked item 3")


def test_habit_of_the_hour_is_told_as_one(world: World) -> None:
    maker = ListMaker(world.bundles["none"], world.catalog)
    events = choices([3, 15, 27] * 4, hour=7) + choices([4, 16, 28] * 4, hour=20)
    reason = maker.why(events, ident(63), Query(now=NOW, hour=8))
    assert str(reason) == "You choose category 3 more often in moments like this"


def test_nothing_raised_it_is_told_honestly(world: World) -> None:
    maker = ListMaker(world.bundles["mean"], world.catalog)
    answer = maker.make([], Query(now=NOW, n=ITEMS))
    codes = [item.reason.code for item in answer]
    assert codes[0] == "popular"
    assert codes[-1] == "catalog"
    assert set(codes) == {"popular", "catalog"}
    assert all(not item.reason.causes for item in answer)


def planted_history(encoder_items: int = 12) -> list[Interaction]:
    """Return the pattern: week after week of the planted items, with bread in between."""
    items = [CATEGORIES * (i % len(PREGNANCY)) for i in range(encoder_items)]
    return choices(items) + choices([17])


def is_silent(reason: Reason) -> bool:
    """Return whether a reason names nothing of the planted pattern."""
    return not PLANTED & set(reason.causes) and not any(
        word in reason.text for word in (*PREGNANCY, *PLANTED, "pregnan")
    )


@pytest.mark.parametrize("encoder", ["mean", "mean-repeat", "ridge", "none"])
@pytest.mark.parametrize("surface", ["home", "product", "cart"])
def test_s58_planted_pregnancy_pattern_never_gives_a_sensitive_reason(
    world: World, encoder: str, surface: str
) -> None:
    maker = ListMaker(world.bundles[encoder], world.catalog)
    events = [
        *planted_history(),
        *choices([0, 12, 24], "product_view", age_s=60, hour=20),
        *choices([0], "like", age_s=50),
    ]
    query = Query(
        now=NOW,
        hour=20,
        device="mobile",
        surface=surface,
        n=ITEMS,
        product_id=ident(0),
        cart=(ident(12),),
    )
    reasons = [item.reason for item in maker.make(events, query)]
    reasons += [maker.why(events, ident(item), query) for item in range(0, ITEMS, 6)]
    assert all(is_silent(reason) for reason in reasons)
    if surface == "home":
        assert "history" in {reason.code for reason in reasons}  # the pattern did raise scores


def test_only_sensitive_causes_give_an_honest_sentence_that_names_nothing(world: World) -> None:
    maker = ListMaker(world.bundles["mean-repeat"], world.catalog)
    reason = maker.why(choices([0] * 5), ident(0), Query(now=NOW))
    assert reason == Reason("history", "Because of what you did here before")


def test_category_an_app_marks_is_not_named(world: World) -> None:
    events = choices([3, 15, 27, 39, 51], "product_view", age_s=60)
    marked = ListMaker(world.bundles["none"], world.catalog, sensitive_categories={"category 3"})
    reason = marked.why(events, ident(63), Query(now=NOW))
    assert (reason.code, reason.causes) == ("history", ())


def test_surface_can_hide_sensitive_items(world: World) -> None:
    home = {"home": Surface(name="home", hide_sensitive=True)}
    maker = ListMaker(world.bundles["mean-repeat"], world.catalog, surfaces=home)
    answer = maker.make(planted_history(), Query(now=NOW, n=ITEMS))
    listed = {item.product_id for item in answer}
    assert not PLANTED & listed
    assert len(listed) == ITEMS - len(PLANTED)


@settings(max_examples=40, deadline=None)
@given(
    items=st.lists(st.integers(0, ITEMS - 1), max_size=70),
    events=st.lists(
        st.sampled_from(["purchase", "product_view", "like", "dislike", "dismiss", "impression"]),
        min_size=70,
        max_size=70,
    ),
    surface=st.sampled_from(["home", "product", "cart"]),
)
def test_causes_are_of_the_history_and_reasons_have_known_codes(
    world: World, items: list[int], events: list[str], surface: str
) -> None:
    interactions = [
        Interaction(product_id=ident(item), event=event, at=NOW - 60.0 * i)
        for i, (item, event) in enumerate(zip(items, events, strict=False))
    ]
    maker = ListMaker(world.bundles["mean-repeat"], world.catalog)
    query = Query(now=NOW, surface=surface, product_id=ident(1), cart=(ident(2),))
    for item in maker.make(interactions, query):
        assert item.reason.code in CODES
        assert set(item.reason.causes) <= {ident(i) for i in items} | {ident(2)}


def test_reason_is_not_shown_by_repr(world: World) -> None:
    maker = ListMaker(world.bundles["mean-repeat"], world.catalog)
    answer = maker.make(choices([5] * 4), QUERY)
    assert "item" not in repr(answer[0].reason)
    assert ident(5) not in repr(answer[0].reason)


def test_unknown_code_is_refused() -> None:
    with pytest.raises(ValueError, match="codes"):
        Reason("because-i-say-so", "Because")


def test_first_two_causes_are_named_and_all_are_listed() -> None:
    reason = reason_for(["a", "b", "c"])
    assert str(reason) == "Because you chose a and b"
    assert reason.causes == ("a", "b", "c")


def test_world_is_as_the_tests_take_it(world: World) -> None:
    assert world.catalog.topics(0) == ("pregnancy",)
    assert world.catalog.title(36) == "BABY COT"

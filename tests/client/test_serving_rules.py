"""The rule engine: a banner for segment A alone, placed products, and a control arm of rules."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_client.serving.list_maker import ListMaker
from homebody_client.serving.query import Query
from homebody_client.serving.rules import Rule, RuleBook
from homebody_client.serving.surfaces import Surface
from homebody_privacy.errors import InvalidFileError

from .serving_world import ITEMS, NOW, World, choices, ident, make_world

BANNER = Rule(name="vip", when={"segment": "A"}, banner="banner-b")
PINS = Rule(
    name="season", surfaces=("home",), pin=(ident(200), ident(100)), text="In season this week"
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


def maker_of(world: World, *rules: Rule) -> ListMaker:
    home = {"home": Surface(name="home"), "cart": Surface(name="cart")}
    return ListMaker(
        world.bundles["mean-repeat"], world.catalog, surfaces=home, rules=RuleBook(rules)
    )


def test_s08_banner_is_shown_to_segment_a_only(world: World) -> None:
    maker = maker_of(world, BANNER)
    all_facts: dict[str, dict[str, object]] = {
        "A": {"segment": "A"},
        "C": {"segment": "C"},
        "list": {"segment": ["A"]},
        "not known": {},
    }
    shown = {
        segment: maker.make(world.choices(1), Query(now=NOW, facts=facts)).banners
        for segment, facts in all_facts.items()
    }
    assert shown == {"A": ("banner-b",), "C": (), "list": (), "not known": ()}


def test_s08_rules_can_be_the_control_arm(world: World) -> None:
    maker = maker_of(world, BANNER, PINS)
    query = Query(now=NOW, facts={"segment": "A"}, arm="rules", experiment="rules")
    answers = [maker.make(world.choices(person), query) for person in range(5)]
    for answer in answers:
        assert answer.experiment == "rules"
        assert answer.banners == ("banner-b",)
        assert answer.fallback_reason == "control-arm"
        assert [item.product_id for item in answer[:2]] == [ident(200), ident(100)]
        assert not any(item.reason.causes for item in answer)
    lists = {tuple(item.product_id for item in answer) for answer in answers}
    assert len(lists) == 1  # the model of the other arm is not in it
    model = maker.make(world.choices(0), replace(query, arm="model"))
    assert tuple(item.product_id for item in model) not in lists


def test_s08_rules_work_where_there_is_no_history(world: World) -> None:
    answer = maker_of(world, BANNER).make([], Query(now=NOW, facts={"segment": "A"}))
    assert (answer.banners, answer.fallback_reason) == (("banner-b",), "no-history")


@pytest.mark.parametrize("strength", [0, 100])
def test_rule_asks_no_fact_in_a_list_for_all(world: World, strength: int) -> None:
    query = Query(now=NOW, facts={"segment": "A"}, strength=strength)
    closed = None if strength == 0 else "refused"
    answer = maker_of(world, BANNER).make(world.choices(1), query, fallback_reason=closed)
    assert answer.banners == ()


def test_placed_product_says_that_a_rule_placed_it(world: World) -> None:
    maker = maker_of(world, PINS)
    answer = maker.make(choices([200] * 5), Query(now=NOW))
    assert [item.product_id for item in answer[:2]] == [ident(200), ident(100)]
    assert {str(item.reason) for item in answer[:2]} == {"In season this week"}
    assert {item.reason.code for item in answer[:2]} == {"rule"}
    assert len(answer) == len({item.product_id for item in answer}) == 10
    cart = maker.make(choices([200] * 5), Query(now=NOW, surface="cart"))
    assert "rule" not in {item.reason.code for item in cart}


def test_placed_product_that_the_answer_may_not_show_is_not_placed(world: World) -> None:
    query = Query(now=NOW, n=1, blocked=frozenset({ident(200)}))
    assert maker_of(world, PINS).make([], query)[0].product_id == ident(100)
    gone = Rule(name="gone", pin=("UNKNOWN",))
    assert len(maker_of(world, gone).make([], Query(now=NOW))) == 10


def test_rule_hides_and_lifts(world: World) -> None:
    plain = maker_of(world).make(world.choices(1), Query(now=NOW, n=ITEMS))
    first = plain[0].product_id
    hide = maker_of(world, Rule(name="h", hide=(first,)))
    answer = hide.make(world.choices(1), Query(now=NOW, n=ITEMS))
    assert first not in [item.product_id for item in answer]
    lift = maker_of(world, Rule(name="l", lift={"category 4": 10.0, "unheard-of": 1.0}))
    top = lift.make(world.choices(1), Query(now=NOW))
    assert {int(item.product_id.removeprefix("SKU-")) % 12 for item in top} == {4}


def test_rules_of_a_file_are_read(world: World) -> None:
    text = """[{"name": "vip", "when": {"segment": "A"}, "banner": "banner-b"},
               {"name": "season", "pin": ["SKU-200"], "lift": {"category 4": 1}}]"""
    book = RuleBook.from_json(json.loads(text))
    assert book.rules[0] == BANNER
    assert book.apply({"segment": "A"}, "home").banners == ("banner-b",)
    assert dict(book.apply({}, "cart").pins) == {"SKU-200": "Chosen by a rule of this app"}
    assert len(maker_of(world, *book.rules).make([], Query(now=NOW))) == 10


@pytest.mark.parametrize(
    "value",
    [
        "text",
        {"name": "a", "unknown": 1},
        {"when": {}},
        {"name": ""},
        {"name": 1},
        {"name": "a", "pin": "SKU-1"},
        {"name": "a", "pin": [1]},
        {"name": "a", "when": [1]},
        {"name": "a", "lift": {"c": "much"}},
        {"name": "a", "lift": {"c": float("nan")}},
        {"name": "a", "lift": {"c": 1e9}},
        {"name": "a", "banner": 1},
    ],
)
def test_malformed_rule_is_refused(value: object) -> None:
    with pytest.raises(InvalidFileError, match="rule"):
        RuleBook.from_json([value])


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidFileError, match="distinct names"):
        RuleBook.from_json([{"name": "a"}, {"name": "a"}])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["name", "when", "surfaces", "banner", "pin", "hide", "lift", "text"]),
        json_values,
    )
)
def test_any_json_is_a_rule_or_is_refused(value: dict[str, object]) -> None:
    try:
        book = RuleBook.from_json([value])
    except InvalidFileError:
        return
    book.apply({"segment": "A"}, "home")

"""Lists made on the device: never empty, honest about why they are not personal, with reasons."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_client.bundles import open_model, trust_key
from homebody_client.recommend import recommend
from homebody_models.bundle import ModelBundle

from .conftest import IDS, KEY, NOW


@pytest.fixture(scope="module")
def shop(runs: Path) -> ModelBundle:
    return open_model(runs / "shop" / "model.hbm", trust_key(KEY.public), now=NOW)


@pytest.fixture(scope="module")
def popular(runs: Path) -> ModelBundle:
    return open_model(runs / "popular" / "model.hbm", trust_key(KEY.public), now=NOW)


def test_list_follows_the_history(shop: ModelBundle) -> None:
    bread, tea = (recommend(shop, [name], n=2) for name in ("BREAD", "TEA"))
    assert [item.product_id for item in bread] == ["BREAD", "MILK"]
    assert [item.product_id for item in tea] == ["TEA", "BISCUITS"]
    assert bread.personalised
    assert bread[0].score > bread[1].score


def test_reason_names_what_raised_the_score(shop: ModelBundle) -> None:
    answer = recommend(shop, ["BREAD", "SALT, COARSE"], n=2)
    milk = next(item for item in answer if item.product_id == "MILK")
    assert milk.reason.code == "because"
    assert milk.reason.text == "Because you chose BREAD"
    assert milk.reason.causes == ("BREAD",)


def test_titles_are_shown_where_there_are_some(shop: ModelBundle) -> None:
    answer = recommend(shop, ["BREAD"], n=1, titles={"BREAD": "a loaf"})
    assert answer[0].reason.text == "Because you chose a loaf"
    assert answer[0].reason.causes == ("BREAD",)


def test_item_nothing_raised_is_called_popular(shop: ModelBundle) -> None:
    answer = recommend(shop, ["BREAD"], n=6)
    salt = next(item for item in answer if item.product_id == "SALT, COARSE")
    assert salt.reason.code == "popular"
    assert salt.reason.causes == ()


def test_no_history_gives_the_list_for_all(shop: ModelBundle) -> None:
    answer = recommend(shop, [], n=3)
    assert [item.product_id for item in answer] == ["TEA", "SALT, COARSE", "BREAD"]
    assert answer.fallback_reason == "no-history"
    assert not answer.personalised
    assert {item.reason.code for item in answer} == {"popular"}


def test_unknown_ids_are_skipped(shop: ModelBundle) -> None:
    answer = recommend(shop, ["GONE", "BREAD", "NEW"])
    assert answer.items == recommend(shop, ["BREAD"]).items
    only_unknown = recommend(shop, ["GONE"])
    assert only_unknown.fallback_reason == "unknown-history"
    assert len(only_unknown) == len(IDS)


def test_model_without_user_vector_is_not_called_personal(popular: ModelBundle) -> None:
    answer = recommend(popular, ["BREAD"], n=2)
    assert answer.fallback_reason == "model-not-personal"
    assert [item.product_id for item in answer] == ["TEA", "SALT, COARSE"]


def test_seen_items_are_hidden_where_the_surface_says_so(shop: ModelBundle) -> None:
    answer = recommend(shop, ["BREAD", "TEA"], n=2, hide_seen=True)
    assert [item.product_id for item in answer] == ["BISCUITS", "MILK"]


def test_seen_items_fill_up_a_list_that_would_be_short(shop: ModelBundle) -> None:
    answer = recommend(shop, list(IDS), n=4, hide_seen=True)
    assert len(answer) == 4
    partly = recommend(shop, list(IDS[:4]), n=4, hide_seen=True)
    assert {item.product_id for item in partly[:2]} == {"SALT, COARSE", "MATCHES"}
    assert {item.product_id for item in partly[2:]} <= set(IDS[:4])


@settings(max_examples=60)
@given(
    history=st.lists(st.sampled_from([*IDS, "GONE"]), max_size=80),
    n=st.integers(1, 10),
    hide_seen=st.booleans(),
)
def test_list_holds_n_items_or_the_whole_catalog(
    shop: ModelBundle, *, history: list[str], n: int, hide_seen: bool
) -> None:
    answer = recommend(shop, history, n=n, hide_seen=hide_seen)
    ids = [item.product_id for item in answer]
    assert len(ids) == min(n, len(IDS))
    assert len(set(ids)) == len(ids)
    for item in answer:
        assert set(item.reason.causes) <= set(history)


def test_list_of_nothing_is_refused(shop: ModelBundle) -> None:
    with pytest.raises(ValueError, match="n must be"):
        recommend(shop, [], n=0)


def test_history_is_not_shown_by_repr(shop: ModelBundle) -> None:
    assert "BREAD" not in repr(recommend(shop, ["BREAD"], n=2)[1].reason)

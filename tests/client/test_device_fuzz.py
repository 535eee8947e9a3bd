"""Whatever is put into a device: a result or a refusal in words, no word of the person in it."""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_client.device import Device
from homebody_privacy.errors import HomebodyError

from .device_life import allow, live
from .device_shop import DemoShop, open_device

if TYPE_CHECKING:
    from pathlib import Path

PLANTED: Final = "Zq7plantedq"
NAMES = st.sampled_from(
    (
        "user_id",
        "event",
        "timestamp",
        "product_id",
        "rating",
        "price",
        "category",
        "device",
        "query",
        "event_id",
        "hour",
        PLANTED,
    )
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**300, max_value=10**310),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        (PLANTED, f"{PLANTED}\n", f"TEA-01{PLANTED}", "TEA-01", "purchase", "like", "")
    ),
    st.sampled_from(("2027-01-15T07:00:00Z", "2027-01-15T07:00:00", "9999-12-31T23:59:59Z")),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
EVENTS = st.one_of(
    st.dictionaries(NAMES | st.text(max_size=8), VALUES, max_size=8),
    st.builds(
        lambda more, kind: {
            "user_id": "12345",
            "event": kind,
            "product_id": "TEA-01",
            "timestamp": "2027-01-15T07:00:00Z",
            **more,
        },
        st.dictionaries(NAMES, VALUES, max_size=3),
        st.sampled_from(("purchase", "like", "rating", "search", "transaction", PLANTED)),
    ),
    st.text(max_size=60),
    st.binary(max_size=60),
    VALUES.map(json.dumps),
)
ROWS = st.lists(
    st.one_of(
        VALUES,
        st.fixed_dictionaries(
            {
                "feature": st.sampled_from(("purchases", "tastes", PLANTED)),
                "at": SCALARS,
                "values": st.dictionaries(NAMES, VALUES, max_size=5),
            }
        ),
    ),
    max_size=4,
)
COPIES = st.one_of(
    st.binary(max_size=80),
    VALUES.map(json.dumps).map(str.encode),
    ROWS.map(lambda rows: json.dumps({"schema": "homebody/export/v1", "rows": rows}).encode()),
)
WORDS = st.one_of(st.text(max_size=30), st.sampled_from((PLANTED, "TEA-01", "", "\ud800")))


@pytest.fixture(scope="module")
def device(shop: DemoShop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    """Return a device that was lived with; it has to survive everything."""
    with open_device(shop, tmp_path_factory.mktemp("fuzz") / "p") as opened:
        allow(opened, leaving=True)
        live(opened)
        yield opened
        assert opened.recommend().personalised or not opened.knows()


def answered(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it returns
    """Return an answer; a refusal is one, if it holds no word of what was given."""
    try:
        return call()
    except (HomebodyError, ValueError) as error:
        seen: BaseException | None = error
        said = []
        while seen is not None:
            said.append(f"{seen} {seen!r} {getattr(seen, 'fix', '')}")
            seen = seen.__cause__
        assert PLANTED not in " ".join(said)
        return None


@settings(max_examples=90)
@given(event=EVENTS, mode=st.sampled_from(("strict", "lax")))
def test_s25_any_event_is_kept_or_refused_without_its_words(
    device: Device, event: dict[str, object], mode: Literal["strict", "lax"]
) -> None:
    assert answered(lambda: device.record(event, mode=mode)) in (True, False, None)
    assert len(device.recommend(5)) == 5


@settings(max_examples=50)
@given(
    n=st.integers(-2, 1_100),
    surface=st.sampled_from(("home", "product", "cart", PLANTED, "")),
    product=st.none() | WORDS,
    cart=st.lists(WORDS, max_size=3),
    hour=st.none() | st.integers(-3, 30),
    kind=st.none() | WORDS,
    facts=st.dictionaries(WORDS, SCALARS, max_size=2),
)
def test_s01_any_call_for_a_list_is_answered_or_refused(
    device: Device,
    n: int,
    surface: str,
    product: str | None,
    cart: list[str],
    hour: int | None,
    kind: str | None,
    facts: dict[str, object],
) -> None:
    answer = answered(
        lambda: device.recommend(
            n, surface=surface, product_id=product, cart=cart, hour=hour, device=kind, facts=facts
        )
    )
    assert answer is None or 0 < len(answer) <= n


@settings(max_examples=40)
@given(word=WORDS, reaction=WORDS | st.sampled_from(("like", "dislike", "dismiss", "rating")))
def test_any_word_is_answered_or_refused(device: Device, word: str, reaction: str) -> None:
    answered(lambda: device.why(word))
    answered(lambda: device.forget(word))
    answered(lambda: device.react(word, reaction))
    answered(lambda: device.title(word))
    answered(lambda: device.owns(word))
    assert len(device.recommend(5)) == 5


@settings(max_examples=50)
@given(
    at=st.integers(0, 8),
    far=st.none() | st.integers(),
    values=st.dictionaries(
        NAMES | st.sampled_from(("timestamp", "price_band")), SCALARS, max_size=3
    ),
)
def test_cn_27_cr_23_any_correction_is_made_or_refused_and_lists_go_on(
    device: Device, at: int, far: int | None, values: dict[str, Any]
) -> None:
    rows = device.knows()
    row = far if far is not None else rows[at].row if at < len(rows) else -1
    answered(lambda: device.correct(row, values))
    assert len(device.recommend(5)) == 5
    assert isinstance(device.features(), dict)
    if far is not None:
        answered(lambda: device.delete(far))


@settings(max_examples=40)
@given(content=COPIES)
def test_cn_26_cr_22_any_file_is_taken_in_or_refused_and_lists_go_on(
    device: Device, tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file: Path = tmp_path_factory.getbasetemp() / "copy.json"
    file.write_bytes(content)
    taken = answered(lambda: device.take_in(file))
    assert taken is None or taken >= 0
    assert len(device.recommend(5)) == 5
    assert isinstance(device.features(), dict)


@settings(max_examples=40)
@given(
    purpose=st.sampled_from(("recommend", "training", "metrics")) | WORDS,
    features=st.lists(st.sampled_from(("purchases", "tastes")) | WORDS, max_size=3),
    language=WORDS,
    explicit=st.booleans(),
)
def test_any_yes_or_no_is_taken_or_refused(
    device: Device, purpose: str, features: list[str], language: str, *, explicit: bool
) -> None:
    consent = device.consent
    answered(
        lambda: consent.grant(purpose, features=features, language=language, explicit=explicit)
    )
    answered(lambda: consent.withdraw(purpose) if explicit else consent.refuse(purpose))
    answered(lambda: consent.why(purpose, language))
    answered(lambda: consent.set_age_band(language))
    answered(lambda: consent.set_signal(language, on=explicit))
    assert len(device.recommend(5)) == 5


@settings(max_examples=40)
@given(value=SCALARS)
def test_any_strength_is_kept_or_refused(device: Device, value: int) -> None:
    def put() -> None:
        device.strength = value

    answered(put)
    assert 0 <= device.strength <= 100

"""What the local API answers, and that nothing a request or a device does gets out of it."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from homebody_client.api.handler import Handler
from homebody_client.api.profiles import Profile
from homebody_client.api.tokens import Tokens
from homebody_client.consent.egress import EgressEntry
from homebody_client.device import Device

from .api_home import (
    BREAD,
    NOW,
    PORT,
    SEED_EVENT,
    TOKEN,
    allow,
    handler_of,
    request,
    seed_event,
    shop_device,
    told,
)


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Handler]:
    with shop_device(tmp_path_factory.mktemp("still")) as device:
        allow(device)
        device.record(SEED_EVENT)
        yield Handler([Profile("still", device)], tokens=Tokens(TOKEN), port=PORT)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    with shop_device(tmp_path) as found:
        yield found


@pytest.fixture
def handler(device: Device) -> Handler:
    return handler_of(device)


def test_s39_literal_request_gives_the_superset_answer(device: Device, handler: Handler) -> None:
    allow(device)
    assert told(handler.handle(request("POST", "/events", SEED_EVENT)))["accepted"] is True
    answer = handler.handle(request("GET", "/recommendations?user_id=12345"))
    assert answer.status == 200
    found = told(answer)
    assert list(found) == [
        "recommended_products",
        "recommendation_id",
        "items",
        "model_version",
        "personalised",
        "experiment",
        "fallback_reason",
    ]
    assert found["recommended_products"] == [item["product_id"] for item in found["items"]]
    assert found["recommended_products"][0].startswith("BREAD-")
    assert found["model_version"] == "demo"
    assert found["personalised"] is True
    assert found["fallback_reason"] is None
    first = found["items"][0]
    assert set(first) == {"product_id", "score", "reason"}
    assert first["reason"]["code"] == "because"
    assert first["reason"]["causes"] == [BREAD]


def test_s39_another_persons_id_is_not_found(device: Device, handler: Handler) -> None:
    allow(device)
    device.record(SEED_EVENT)
    answer = handler.handle(request("GET", "/recommendations?user_id=54321"))
    assert answer.status == 404
    assert b"54321" not in answer.body
    event = seed_event(user_id="54321")
    assert handler.handle(request("POST", "/events", event)).status == 404


def test_cr_25_closed_consent_gives_the_list_for_all_with_its_reason(
    device: Device, handler: Handler
) -> None:
    taken = told(handler.handle(request("POST", "/events", SEED_EVENT)))
    assert taken == {"accepted": True, "received": 1, "kept": 0}
    found = told(handler.handle(request("GET", "/recommendations?user_id=12345&n=3")))
    assert len(found["items"]) == 3
    assert found["personalised"] is False
    assert found["fallback_reason"] == "consent-closed"
    assert device.knows() == []


@pytest.mark.parametrize(
    "query",
    [
        "n=0",
        "n=101",
        "n=-1",
        "n=1.0",
        "n=٣",
        "n=1e1",
        "n=",
        "n=1&n=2",
        "nn=1",
        "surface=basement",
        "surface=product",
        "product_id=BREAD",
        "cart=BREAD",
        "user_id=12345&user_id=12345",
        "user_id=",
        "user_id=%00",
        "user_id=%FF",
        "user_id",
        "&",
        "=1",
    ],
)
def test_parameters_are_strict(still: Handler, query: str) -> None:
    answer = still.handle(request("GET", f"/recommendations?{query}"))
    assert answer.status == 400
    assert set(told(answer)["error"]) == {"code", "message", "fix"}


@pytest.mark.parametrize("query", ["surface=product&product_id=BREAD", "surface=cart&cart=TEA-01"])
def test_surfaces_take_their_item(still: Handler, query: str) -> None:
    assert still.handle(request("GET", f"/recommendations?n=2&{query}")).status == 200


def test_why_names_the_causes_of_a_product(device: Device, handler: Handler) -> None:
    allow(device)
    device.record(SEED_EVENT)
    found = told(handler.handle(request("GET", "/why/BREAD-02?user_id=12345")))
    assert found["product_id"] == "BREAD-02"
    assert found["causes"] == [BREAD]
    assert handler.handle(request("GET", "/why/TEA%2D01")).status == 200
    assert handler.handle(request("GET", "/why/CAVIAR")).status == 404
    assert handler.handle(request("GET", "/why/")).status == 404


def test_lists_of_events_are_taken_whole(device: Device, handler: Handler) -> None:
    allow(device)
    other = seed_event(product_id="TEA-01")
    taken = told(handler.handle(request("POST", "/events", [SEED_EVENT, other, SEED_EVENT])))
    assert taken == {"accepted": True, "received": 3, "kept": 2}  # one was known already
    stranger = seed_event(user_id="54321")
    assert handler.handle(request("POST", "/events", [SEED_EVENT, stranger])).status == 404
    assert len(device.knows()) == 2


@pytest.mark.parametrize("body", [[], 3, None, "event", [3], b"{", b'{"a":1,"a":2}', b"NaN"])
def test_what_is_no_event_is_refused(still: Handler, body: object) -> None:
    asked = request("POST", "/events", json.dumps(body).encode() if body is None else body)
    assert still.handle(asked).status == 400


def test_consent_is_given_read_and_taken_back(device: Device, handler: Handler) -> None:
    before = told(handler.handle(request("GET", "/consent")))["purposes"]
    assert all(not cell["open"] for one in before.values() for cell in one["features"].values())
    yes = {"decision": "grant", "purpose": "recommend", "features": ["purchases"]}
    after = told(handler.handle(request("PUT", "/consent", yes)))["purposes"]["recommend"]
    assert after["state"] == "ConsentGiven"
    assert after["features"]["purchases"] == {
        "chosen": True,
        "open": True,
        "code": None,
        "sentence": None,
    }
    assert after["features"]["tastes"]["code"] == "feature_not_chosen"
    device.record(SEED_EVENT)
    no = {"decision": "withdraw", "purpose": "recommend"}
    assert handler.handle(request("PUT", "/consent", no)).status == 200
    assert device.knows() == []


def test_yes_that_needs_another_is_a_conflict_with_its_reason(handler: Handler) -> None:
    device_age = handler.handle(request("PUT", "/age", {"band": "18_plus"}))
    assert device_age.status == 200
    yes = {"decision": "grant", "purpose": "training", "features": ["purchases"]}
    answer = handler.handle(request("PUT", "/consent", yes))
    assert answer.status == 409
    assert told(answer)["error"]["code"] == "consent-missing"
    assert "needs:recommend" in told(answer)["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        {"decision": "grant", "purpose": "recommend"},
        {"decision": "grant", "purpose": "recommend", "features": []},
        {"decision": "grant", "purpose": "recommend", "features": "purchases"},
        {"decision": "grant", "purpose": "recommend", "features": ["purchases"], "explicit": 1},
        {"decision": "grant", "purpose": "recommend", "features": ["purchases"], "method": "luck"},
        {"decision": "refuse", "purpose": "recommend", "features": ["purchases"]},
        {"decision": "perhaps", "purpose": "recommend"},
        {"decision": "refuse", "purpose": "world-peace"},
        {"decision": "refuse"},
        {"purpose": "recommend"},
        {"decision": "refuse", "purpose": "recommend", "all": True},
    ],
)
def test_decision_that_cannot_be_meant_is_refused(still: Handler, body: object) -> None:
    assert still.handle(request("PUT", "/consent", body)).status == 400


def test_erase_needs_its_word(device: Device, handler: Handler) -> None:
    allow(device)
    device.record(SEED_EVENT)
    for body in ({}, {"confirm": True}, {"confirm": "ERASE"}, {"confirm": "erase", "x": 1}):
        assert handler.handle(request("POST", "/erase", body)).status == 400
    assert len(device.knows()) == 1
    assert told(handler.handle(request("POST", "/erase", {"confirm": "erase"}))) == {"erased": True}
    assert device.knows() == []


def test_rows_are_shown_corrected_and_forgotten(device: Device, handler: Handler) -> None:
    allow(device)
    device.record(SEED_EVENT)
    device.record(seed_event(product_id="TEA-01"))
    rows = told(handler.handle(request("GET", "/knows")))["rows"]
    assert [row["values"]["product_id"] for row in rows] == [BREAD, "TEA-01"]
    fixed = {"row": rows[0]["row"], "values": {"hour": 3}}
    assert handler.handle(request("PUT", "/knows", fixed)).status == 200
    assert told(handler.handle(request("GET", "/knows")))["rows"][0]["values"]["hour"] == 3
    gone = told(handler.handle(request("POST", "/forget", {"product_id": BREAD})))
    assert gone == {"forgotten": 1}
    gone = told(handler.handle(request("POST", "/forget", {"row": rows[1]["row"]})))
    assert gone == {"forgotten": 1}
    assert handler.handle(request("PUT", "/knows", fixed)).status == 404
    for body in ({}, {"row": 1, "product_id": "TEA-01"}, {"row": -1}, {"row": True}):
        assert handler.handle(request("POST", "/forget", body)).status == 400


def test_likes_strength_and_pause_are_set(device: Device, handler: Handler) -> None:
    allow(device)
    like = {"product_id": "TEA-01", "reaction": "like"}
    assert told(handler.handle(request("POST", "/react", like)))["kept"] is True
    assert handler.handle(request("POST", "/react", {**like, "reaction": "love"})).status == 400
    assert told(handler.handle(request("PUT", "/strength", {"strength": 0}))) == {"strength": 0}
    found = told(handler.handle(request("GET", "/recommendations")))
    assert found["personalised"] is False
    for wrong in (101, -1, "40", True, 4.0):
        assert handler.handle(request("PUT", "/strength", {"strength": wrong})).status == 400
    assert told(handler.handle(request("PUT", "/pause", {"on": True}))) == {"paused": True}
    assert told(handler.handle(request("PUT", "/pause", {"on": False}))) == {"paused": False}


def test_export_model_and_egress_are_answered(device: Device, handler: Handler) -> None:
    allow(device)
    device.record(SEED_EVENT)
    answer = handler.handle(request("GET", "/export"))
    assert dict(answer.headers())["Content-Disposition"].startswith("attachment")
    assert BREAD.encode() in answer.body
    model = told(handler.handle(request("GET", "/model")))
    assert set(model) == {"model_id", "version", "serial", "stale", "statement"}
    entry = EgressEntry(time=NOW, kind="update", purpose="training", bytes=9, summary="An update.")
    device.egress.append(entry)
    (shown,) = told(handler.handle(request("GET", "/egress?n=5")))["entries"]
    assert shown["sent"] is True
    assert shown["time"] == "2027-01-15T08:00:00Z"


def test_several_devices_are_told_apart_by_their_person(tmp_path: Path) -> None:
    with shop_device(tmp_path / "a") as ann, shop_device(tmp_path / "b") as ben:
        for device, user_id in ((ann, "ann"), (ben, "ben")):
            allow(device)
            device.record(seed_event(user_id=user_id))
        handler = handler_of(ann, ben)
        event = seed_event(user_id="ben", product_id="TEA-01")
        assert told(handler.handle(request("POST", "/events", event)))["kept"] == 1
        assert [len(device.knows()) for device in (ann, ben)] == [1, 2]
        for target, expected in (
            ("/recommendations?user_id=ann", 200),
            ("/recommendations?user_id=cleo", 404),
            ("/recommendations?profile=1", 200),
            ("/recommendations?profile=1&user_id=ann", 404),
            ("/recommendations?profile=2", 400),
            ("/recommendations", 400),
        ):
            assert handler.handle(request("GET", target)).status == expected


class _Broken(Device):
    """Fails with words no client may read."""

    def export_data(self) -> dict[str, object]:
        """Fail as a bug would."""
        raise KeyError("BREAD-01 of user 12345")

    def forget(self, product_id: str) -> int:
        """Fail on a value."""
        raise ValueError(f"no {product_id}")


def test_failure_inside_shows_no_traceback_and_no_data(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    device.__class__ = _Broken
    handler = handler_of(device)
    with caplog.at_level(logging.DEBUG):
        failed = handler.handle(request("GET", "/export"))
        refused = handler.handle(request("POST", "/forget", {"product_id": BREAD}))
    assert (failed.status, refused.status) == (500, 400)
    assert told(failed)["error"]["code"] == "internal-error"
    for text in (failed.body.decode(), refused.body.decode(), caplog.text):
        assert "BREAD" not in text
        assert "12345" not in text
        assert "Traceback" not in text
    assert "KeyError" in caplog.text

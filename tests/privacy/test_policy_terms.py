"""Taxonomies are those of their makers, with their notices; identifiers are known by name."""

import json
import re
from importlib.resources import files

import pytest

from homebody_privacy.policy.check import check_config
from homebody_privacy.policy.identifiers import is_identifier, is_identifying
from homebody_privacy.policy.terms import terms

from .config_edits import edited


def test_the_keys_of_fides_are_those_of_its_package() -> None:
    taxonomy = pytest.importorskip("fideslang.default_taxonomy", reason="needs --group taxonomy")
    known = taxonomy.DEFAULT_TAXONOMY
    assert terms().fides_uses == {use.fides_key for use in known.data_use}
    assert terms().fides_categories == {one.fides_key for one in known.data_category}


def test_the_lists_are_shipped_with_their_notices() -> None:
    found = json.loads(files("homebody_privacy.policy").joinpath("terms.json").read_text("utf-8"))
    assert "W3C Document License" in found["notices"]["dpv"]
    assert "https://w3id.org/dpv/2.0" in found["notices"]["dpv"]
    assert "CC BY 4.0" in found["notices"]["fides"]
    for name in ("dpv_data", "dpv_purposes", "fides_categories", "fides_uses"):
        listed = found[name]
        assert listed == sorted(set(listed))
    assert all(
        re.fullmatch(r"[A-Z][A-Za-z]+", n) for n in found["dpv_data"] + found["dpv_purposes"]
    )
    assert {"dpv:ProvideProductRecommendations", "dpv:ServiceOptimisation"} <= terms().dpv_purposes
    assert {"pd:Purchase", "pd:Preference"} <= terms().dpv_data


@pytest.mark.parametrize(
    "field",
    [
        "ad_id", "adid", "idfa", "gaid", "advertising_id", "ip", "ip_address", "client_ip", "ipv6",
        "email", "e_mail", "email_sha256", "hashed_email", "phone", "phone_number", "msisdn",
        "mobile_number", "user_id", "userid", "customer_id", "device_id", "android_id", "cookie_id",
        "session_id", "order_id", "loyalty_number", "full_name", "surname", "username", "iban",
        "imei", "mac_address", "household_key", "uuid",
    ],
)  # fmt: skip
def test_s17_a_field_named_like_an_identifier_is_refused(field: str) -> None:
    assert is_identifier(field)
    result = check_config(edited({"features.tastes.fields": ["topic", field]}), now=0)
    assert [(one.rule, one.path) for one in result.findings] == [
        ("FEA-005", "features.tastes.fields")
    ]
    assert field in result.findings[0].message
    assert result.exit_code == 10


@pytest.mark.parametrize(
    "field",
    [
        "product_id", "item_id", "category", "day", "quantity_bucket", "topic", "weight", "hour",
        "device", "price_band", "timestamp", "rating", "store_id", "brand", "shipping", "script",
        "recipe", "tip", "zip_band", "nickname_style", "order_hour", "user_rating", "mailing_topic",
    ],
)  # fmt: skip
def test_a_field_about_things_is_no_identifier(field: str) -> None:
    assert not is_identifier(field)


@pytest.mark.parametrize(
    ("category", "identifies"),
    [
        ("user.unique_id", True),
        ("user.unique_id.pseudonymous", True),
        ("user.contact.email", True),
        ("user.device.ip_address", True),
        ("user.government_id.passport_number", True),
        ("user.contact.address.city", False),
        ("user.behavior.purchase_history", False),
        ("pd:EmailAddress", True),
        ("pd:Preference", False),
    ],
)
def test_s17_a_category_of_identifiers_is_known(category: str, *, identifies: bool) -> None:
    assert is_identifying(category) is identifies


def test_s17_two_identifiers_are_two_findings() -> None:
    result = check_config(edited({"features.tastes.fields": ["email", "ip"]}), now=0)
    assert [one.rule for one in result.findings] == ["FEA-005"] * 2

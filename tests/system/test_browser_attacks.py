"""What Python refuses at a step, a real browser refuses at that step, over the same files.

The attacks are those of the Python client's tests, function by function.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from homebody_models.bundle import ModelBundle, Trust
from tests.models import test_bundle_attacks as attacks
from tests.models.bundle_forge import FACTS, NOW, STRANGER, TRUST, Forge, forge_at

from .browser_page import Page, client_page


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with client_page() as opened:
        yield opened


class BrowserForge(Forge):
    """A forge whose bundles are opened by Python and by the browser, which must agree."""

    page: Page

    def open(self, trust: Trust = TRUST, *, now: int = NOW, active: bool = False) -> ModelBundle:
        """Open the bundle in both."""
        opened = super().open(trust, now=now, active=active)
        given = _trust(trust)
        if active:
            installed = {"serial": opened.manifest.facts.serial, "digest": opened.digest}
            given["installed"] = installed | {"floor": 1}
        answer = self.page.open(self.folder, now=now, **given)
        assert answer["state"]["digest"] == opened.digest, answer
        assert answer["stale"] == opened.stale
        return opened

    def refused(self, step: int, trust: Trust = TRUST, *, now: int = NOW) -> str:
        """Check that both refuse the bundle, at the same step."""
        message = super().refused(step, trust, now=now)
        answer = self.page.open(self.folder, now=now, **_trust(trust))
        assert answer.get("step") == step, answer
        assert answer["message"].startswith(message[: message.index(":")])  # number and name
        return message


def _trust(trust: Trust) -> dict[str, Any]:
    """Return the browser's form of a device's trust."""
    given: dict[str, Any] = {
        "trusted": [key.hex() for key in trust.trusted.values()],
        "threshold": trust.threshold,
        "floor": trust.floor_serial,
    }
    if trust.installed is not None:
        installed = {"serial": trust.installed.serial, "digest": trust.installed.digest}
        given["installed"] = installed | {"floor": 0}
    return given


@pytest.fixture
def forge(tmp_path: Path, page: Page) -> Forge:
    forge = BrowserForge(forge_at(tmp_path / "model.hbm").folder)
    forge.page = page
    forge.open()
    return forge


_NOT_HERE = {
    "test_bn_04_two_good_signatures_of_one_key_for_threshold_two",  # it replaces the verifier
    "test_bn_18_file_that_is_not_listed",  # nobody asks a web server for it: below
}
_ATTACKS = {
    name: value
    for name, value in vars(attacks).items()
    if name.startswith("test_bn_") and name not in _NOT_HERE
}
_MORE = (
    "test_other_payload_type_is_refused_before_the_signature",
    "test_oversized_file_is_refused_unread",
    "test_nested_signature_file_does_not_exhaust_the_stack",
    "test_unknown_encoder_is_refused",
    "test_manifest_without_a_field_is_refused",
    "test_item_ids_that_are_no_texts_are_refused",
    "test_engine_that_disagrees_with_the_golden_lists_does_not_serve",
    "test_no_refusal_holds_an_item_id",
)
globals().update(_ATTACKS)
globals().update({name: getattr(attacks, name) for name in _MORE})


def test_all_attacks_of_the_python_client_are_run_here() -> None:
    numbers = {int(name[8:10]) for name in _ATTACKS} | {18}
    assert numbers == set(range(1, 24))


@pytest.mark.parametrize("name", ["../items.json", "sub/x", "/items.json", ".hidden", "..", "a?b"])
def test_bn_17_nothing_is_asked_for_where_a_name_has_a_path(
    forge: Forge, page: Page, name: str
) -> None:
    files = forge.manifest()["files"]
    forge.change({"files": files | {name: files["items.json"]}})
    answer = page.open(forge.folder)
    assert (answer["step"], answer["message"][-14:]) == (7, "not bare names")
    assert page.site.asked == ["/model.hbm/manifest.json", "/model.hbm/manifest.sig.json"]


def test_bn_18_a_file_that_is_not_listed_is_never_asked_for(forge: Forge, page: Page) -> None:
    forge.write("extra.bin", b"")
    assert "state" in page.open(forge.folder)
    assert sorted(page.site.asked) == sorted(
        f"/model.hbm/{file.name}" for file in forge.folder.iterdir() if file.name != "extra.bin"
    )


def test_bytes_hashed_are_bytes_used_however_often_a_file_changes(forge: Forge, page: Page) -> None:
    genuine, forged = forge.read("items.json"), forge.read("items.json").replace(b"SKU-0", b"SKU-X")
    answers = iter([genuine, forged, forged])
    page.site.files["/model.hbm/items.json"] = lambda: next(answers)
    try:
        assert "state" in page.open(forge.folder)
        assert page.site.asked.count("/model.hbm/items.json") == 1
        assert page.call("lists", [{"history": [], "options": {"n": 12}}])[0][0]["product_id"]
        assert page.open(forge.folder)["step"] == 7
    finally:
        del page.site.files["/model.hbm/items.json"]


def test_state_of_an_activated_model_refuses_an_older_one(tmp_path: Path, page: Page) -> None:
    newer = forge_at(tmp_path / "newer.hbm")
    newer.change({"serial": 7, "min_serial": 6})
    older = forge_at(tmp_path / "older.hbm")
    state = page.open(newer.folder)["state"]
    assert (state["serial"], state["floor"]) == (7, 6)
    assert page.open(older.folder, installed=state)["step"] == 5
    assert page.open(newer.folder, installed=state)["state"] == state
    assert page.open(newer.folder, floor=7)["state"]["floor"] == 7  # it never falls
    newer.change({"version": "other"})
    assert page.open(newer.folder, installed=state)["step"] == 5


def test_expired_bundle_serves_on_only_if_it_is_the_one_in_use(forge: Forge, page: Page) -> None:
    state = page.open(forge.folder)["state"]
    late = FACTS.expires + 1
    assert page.open(forge.folder, now=late)["step"] == 6
    assert page.open(forge.folder, now=late, installed=state)["stale"]
    forge.change({"serial": 6})
    assert page.open(forge.folder, now=late, installed=state)["step"] == 6
    for now in (None, 0, "soon"):  # no clock, no activation
        assert page.open(forge.folder, now=now)["step"] == 6


@pytest.mark.parametrize("threshold", [0, -1, None, "x"])
def test_a_threshold_of_nothing_trusts_nobody(forge: Forge, page: Page, threshold: object) -> None:
    answer = page.open(forge.folder, trusted=[STRANGER.public.hex()], threshold=threshold)
    assert answer["step"] == 2
    assert page.open(forge.folder, trusted=[])["step"] == 2


def test_golden_items_with_scores_that_are_not_theirs_are_refused(forge: Forge) -> None:
    golden = json.loads(forge.read("golden.json"))
    case = golden["cases"][2]
    case["top"] = [*case["top"][1:], case["top"][0]]
    forge.replace_file("golden.json", json.dumps(golden).encode())
    forge.refused(11)


def test_golden_items_that_are_not_the_best_are_refused(forge: Forge) -> None:
    golden = json.loads(forge.read("golden.json"))
    worst = forge.open().ranker.top([0], 12)[2:]
    golden["cases"][1]["top"] = [item for item, _ in worst]
    golden["cases"][1]["scores"] = [score for _, score in worst]
    forge.replace_file("golden.json", json.dumps(golden).encode())
    forge.refused(11)

"""The page without a browser: copy made of the terms, fragments that hold no markup of others."""

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_client.api.profiles import Profile
from homebody_client.consent.egress import EgressEntry
from homebody_client.device import Device
from homebody_client.events.vocabulary import EVENTS, FIELDS
from homebody_client.page import choices, render, views, words
from homebody_client.page.demo import serve_demo
from homebody_client.page.render import LIST, Page
from homebody_client.shut_book import ShutBook
from homebody_privacy.consent_terms import GroupTerms
from homebody_privacy.errors import MissingExtraError
from homebody_privacy.withdrawal_words import after_withdrawal, banned_words

from .api_home import NOW, SEED_EVENT, allow, handler_of, request, seed_event, shop_device

PARTS = ("list", "consent", "knows", "left", "about")


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    with shop_device(tmp_path_factory.mktemp("device")) as found:
        allow(found)
        found.record(SEED_EVENT)
        found.react("TEA-01", "like")
        sent = EgressEntry(
            time=NOW,
            kind="update",
            purpose="training",
            bytes=12_345,
            summary="An update.",
            charge="round/3",
        )
        held = replace(sent, sent=False, bytes=0, why="withdrawn: you switched this off")
        for entry in (sent, held):
            found.egress.append(entry)
        yield found


def part(device: Device, name: str) -> str:
    found = Page().part(name, 0, Profile("Phone", device))
    assert found is not None
    return found.decode()


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_shell_holds_no_data_of_the_device(device: Device, tmp_path: Path) -> None:
    with shop_device(tmp_path) as fresh:
        shells = [Page().shell([Profile("Phone", one)]) for one in (device, fresh)]
    assert shells[0] == shells[1]
    for word in (b"BREAD", b"Sourdough", b"12345"):
        assert word not in shells[0]


def test_page_loads_only_its_own_files_and_runs_nothing_inline(device: Device) -> None:
    pages = [Page().shell([Profile("Phone", device)]).decode()]
    pages += [part(device, name) for name in PARTS]
    for html in pages:
        assert not re.search(r"<script(?![^>]* src=\"/static/)[^>]*>", html)
        assert not re.search(r"\son[a-z]+=", html)
        assert " style=" not in html
        assert "<style" not in html
        assert not re.search(r"(?:src|href|action)=\"(?!/static/)", html)
        assert "hx-on" not in html
        assert "js:" not in html


def test_every_file_of_the_shell_is_served_and_no_other(device: Device) -> None:
    page = Page()
    html = page.shell([Profile("Phone", device)]).decode()
    names = re.findall(r"\"/static/([^\"]+)\"", html)
    assert {"page.css", "page.js", "htmx.min.js", "icon.svg"} == set(names)
    assert all(page.asset(name) for name in names)
    for name in ("shell.html", "../render.py", "htmx.LICENSE.txt", ""):
        assert page.asset(name) is None


def test_htmx_runs_no_text_as_code(device: Device) -> None:
    html = Page().shell([Profile("Phone", device)]).decode()
    assert '"allowEval":false' in html
    assert '"allowScriptTags":false' in html
    assert '"includeIndicatorStyles":false' in html
    assert '"historyEnabled":false' in html
    assert '"selfRequestsOnly":true' in html


def test_parts_of_the_page_are_those_named_and_no_other(device: Device) -> None:
    assert all(part(device, name) for name in PARTS)
    assert Page().part("shell", 0, Profile("Phone", device)) is None
    assert Page().part("../x", 0, Profile("Phone", device)) is None


def test_each_item_says_why_and_offers_to_forget_the_cause(device: Device) -> None:
    html = part(device, "list")
    assert re.search(r"Because you \w+ [A-Z]", html)
    assert "Forget Sourdough loaf" in html
    assert '{"product_id": "BREAD-01"}' in html
    assert html.count('<li class="card"') == LIST
    assert html.count("Not this") == LIST


def test_what_the_device_knows_is_in_words(device: Device) -> None:
    text = text_of(part(device, "knows"))
    assert "2 rows, kept on this device and encrypted." in text
    assert "Looked at Sourdough loaf" in text
    assert "Liked Earl Grey tea" in text


def test_what_left_is_in_words_newest_first(device: Device) -> None:
    text = text_of(part(device, "left"))
    held = text.index("held back")
    assert "you switched this off" in text[held:]
    assert text.index("12 kB") > held
    assert "counted as round 3" in text
    assert "withdrawn:" not in text


def test_device_that_sent_nothing_says_so(tmp_path: Path) -> None:
    with shop_device(tmp_path) as fresh:
        assert "Nothing." in text_of(part(fresh, "left"))
        assert "Nothing. It keeps only what you allow." in text_of(part(fresh, "knows"))
        assert "you have not allowed a personal one" in text_of(part(fresh, "list"))


def test_cn_24_sentences_follow_the_terms(device: Device) -> None:
    terms = device.consent.terms
    assert terms is not None
    before = words.kept(terms.groups["purchases"])
    assert "which product" in before
    assert "365 days" in before
    shorter = replace(terms.groups["purchases"], fields=("category",), ttl_days=30)
    after = words.kept(shorter)
    assert "which product" not in after
    assert "its kind of what you looked at, put in the cart and bought" in after
    assert "for at most 30 days" in after
    assert "after 365 days" in words.if_yes(terms, "training")
    assert "after 90 days" in words.if_yes(replace(terms, expiry_days=90), "training")
    assert "Nothing is sent" not in words.if_yes(terms, "training")
    assert "Nothing is sent" in words.if_yes(terms, "recommend")


def test_no_to_suggestions_says_what_else_it_switches_off(device: Device) -> None:
    terms = device.consent.terms
    assert terms is not None
    said = words.if_no(terms, "recommend")
    assert terms.purposes["training"].title in said
    assert terms.purposes["metrics"].title in said
    assert "also switches off" not in words.if_no(terms, "training")


def test_leaving_purpose_says_what_cannot_be_taken_back_and_its_bound(device: Device) -> None:
    text = text_of(part(device, "consent"))
    assert "cannot be taken out again" in text
    assert "Made up, not trained" in text  # the statement of the model in use


def test_cn_31_cr_26_page_says_no_banned_words(device: Device) -> None:
    said = Page(demonstration=True).shell([Profile("Phone", device)] * 3).decode()
    said += "".join(part(device, name) for name in PARTS) + words.ERASE_WARNING
    assert banned_words(text_of(said)) == []


class _Trained(Device):
    """A device whose model says what becomes of contributions."""

    def model(self) -> dict[str, object]:
        """Add the sentence."""
        said = after_withdrawal("dp_only_stop_future", epsilon=0.962, delta=1e-7)
        return {**super().model(), "withdrawal": said}


def test_leaving_purpose_tells_the_odds_where_the_model_has_them(tmp_path: Path) -> None:
    with shop_device(tmp_path) as fresh:
        assert "times in 100" not in part(fresh, "consent")
        fresh.__class__ = _Trained
        text = text_of(part(fresh, "consent"))
        assert "can be right at most 73 times in 100" in text
        assert text.count("times in 100") == 2  # training and metrics leave, recommend does not
        assert banned_words(text) == []


def test_page_without_jinja_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    render._templates.cache_clear()  # noqa: SLF001 - as in a process that begins
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match="needs Jinja2"):
        Page()
    render._templates.cache_clear()  # noqa: SLF001 - as in a process that begins


def test_cn_28_cr_23_erase_says_what_stays(device: Device) -> None:
    assert "Receipts of your choices stay" in words.ERASE_WARNING
    assert "counts of the rounds" in words.ERASE_WARNING
    assert words.ERASE_WARNING in part(device, "about")


def test_cr_01_everything_is_off_before_the_first_choice(tmp_path: Path) -> None:
    with shop_device(tmp_path) as fresh:
        for choice in choices.choices(fresh.consent).purposes:
            for switch in choice.switches:
                assert (switch.yes, switch.no) == (False, False)
                assert switch.state == "Off: you have not been asked yet."
        assert 'aria-pressed="true"' not in part(fresh, "consent")


def test_buttons_send_what_they_say(tmp_path: Path) -> None:
    with shop_device(tmp_path) as fresh:
        handler = handler_of(fresh)

        def switch(purpose: str, feature: str) -> choices.Switch:
            found = choices.choices(fresh.consent).purposes
            choice = next(one for one in found if one.purpose == purpose)
            return next(one for one in choice.switches if one.feature == feature)

        def press(body: dict[str, object]) -> int:
            return handler.handle(request("PUT", "/consent", body)).status

        assert press(switch("recommend", "purchases").on) == 200
        assert press(switch("recommend", "tastes").on) == 200
        assert switch("recommend", "purchases").yes
        assert switch("recommend", "tastes").yes
        narrowed = switch("recommend", "tastes").off
        assert narrowed["features"] == ["purchases"]
        assert press(narrowed) == 200
        assert switch("recommend", "purchases").yes
        assert switch("recommend", "tastes").no
        assert press(switch("recommend", "purchases").off) == 200
        assert fresh.consent.decision("recommend").state == "ConsentWithdrawn"
        assert press(switch("training", "purchases").off) == 200
        assert fresh.consent.decision("training").state == "ConsentRefused"


def test_opt_out_signal_asks_again_before_a_yes_goes_over_it(tmp_path: Path) -> None:
    with shop_device(tmp_path) as fresh:
        fresh.consent.set_age_band("18_plus")
        allow(fresh)
        assert not isinstance(fresh.consent, ShutBook)
        fresh.consent.set_signal("sec_gpc", True)  # noqa: FBT003 - a signal is a truth value
        training = choices.choices(fresh.consent).purposes[1]
        (switch,) = training.switches
        assert "goes against that" in switch.ask_again
        assert switch.on["over_signal"] is True
        recommend = choices.choices(fresh.consent).purposes[0]
        assert all(not one.ask_again for one in recommend.switches)
        assert handler_of(fresh).handle(request("PUT", "/consent", switch.on)).status == 200
        assert fresh.consent.decision("training").over_signal


def test_age_is_asked_once_and_only_where_something_leaves(tmp_path: Path) -> None:
    with shop_device(tmp_path) as fresh:
        assert choices.choices(fresh.consent).asks_age
        fresh.consent.set_age_band("16_17")
        assert not choices.choices(fresh.consent).asks_age
        assert "Your age" not in part(fresh, "consent")


def test_device_that_cannot_open_its_record_says_nothing_can_be_allowed() -> None:
    shut = choices.choices(ShutBook())
    assert shut.purposes == ()
    assert not shut.asks_age


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self.tags.append(tag)


NASTY = "\"><img src=x onerror=alert(1)>'</script>{{7*7}}"


def test_product_ids_cannot_become_markup(tmp_path: Path) -> None:
    with shop_device(tmp_path) as fresh:
        allow(fresh)
        fresh.record(seed_event(product_id=NASTY))
        html = part(fresh, "knows")
        parser = _Tags()
        parser.feed(html)
        assert "img" not in parser.tags
        assert "script" not in parser.tags
        assert "49" not in text_of(html)
        assert "{{7*7}}" in html


@given(st.text(max_size=50))
def test_key_of_any_product_can_be_an_id(product_id: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{12}", views.key(product_id))


@given(st.floats(0, 4e9), st.integers(0, 10**12))
def test_times_and_sizes_have_words(at: float, number: int) -> None:
    assert re.search(r"\d{2}:\d{2}$", words.when(at))
    assert words.size(number).endswith(("bytes", "kB"))


def test_every_field_and_event_of_the_vocabulary_has_words() -> None:
    names = ("user_id", "event_id", "session_id", "order_id", "campaign_id", "recommendation_id")
    asked_of_nobody = {*names, "currency"}
    for name in set(FIELDS) - asked_of_nobody:
        group = GroupTerms(fields=(name,), allow=(), ttl_days=1)
        assert words.kept(group) != f"{words.spaced(name)}, for at most 1 day", name
    assert all(words.did(name) != words.spaced(name) for name in EVENTS)


def test_pictures_of_the_docs_are_there_and_small() -> None:
    images = Path(__file__).parents[2] / "docs" / "images"
    pictures = sorted(images.glob("device-page*.png"))
    assert len(pictures) == 4
    assert all(picture.stat().st_size < 200_000 for picture in pictures)


def test_demonstration_takes_no_token_but_the_page_s(device: Device) -> None:
    server = serve_demo([("One", device), ("Two", device)], port=0, engine="standard")
    try:
        assert not server.tokens.accepts("")
        once = server.page_address().partition("#")[2]
        page = server.tokens.buy(once)
        assert page is not None
        assert server.tokens.accepts(page)
    finally:
        server.close()

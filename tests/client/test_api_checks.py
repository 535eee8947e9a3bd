"""Who may ask the local API: the rules, in their order, with their statuses."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from homebody_client.api import checks
from homebody_client.api.handler import Handler
from homebody_client.api.messages import ApiRequest
from homebody_client.api.tokens import ONE_TIME_S, TOKEN_FILE, Tokens, install_token
from homebody_privacy.errors import IntegrityError, InvalidFileError

from .api_home import HOST, SEED_EVENT, TOKEN, handler_of, request, shop_device, told


@pytest.fixture(scope="module")
def handler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Handler]:
    with shop_device(tmp_path_factory.mktemp("device")) as device:
        device.consent.grant("recommend", features=["purchases"])
        device.record(SEED_EVENT)
        yield handler_of(device)


def status(handler: Handler, asked: ApiRequest) -> int:
    return handler.handle(asked).status


LIST = "/recommendations?user_id=12345"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1",
        "127.0.0.1:80",
        "localhost",
        "LOCALHOST:8971",
        "127.0.0.1:8971.evil.example",
        "127.0.0.1:8971 ",
        "",
        "[::1]:8971",
    ],
)
def test_foreign_host_is_misdirected(handler: Handler, host: str) -> None:
    assert status(handler, request("GET", LIST, more={"host": host})) == 421


def test_missing_or_doubled_host_is_misdirected(handler: Handler) -> None:
    assert status(handler, request("GET", LIST, drop=["host"])) == 421
    doubled = request("GET", LIST)
    headers = (*doubled.headers, ("host", HOST))
    assert status(handler, ApiRequest(method="GET", target=LIST, headers=headers)) == 421


@pytest.mark.parametrize(
    "more",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:8971"},  # this server, by another name than it was asked by
        {"origin": f"https://{HOST}"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},  # another port of this host
        {"origin": f"http://{HOST}", "sec-fetch-site": "same-site"},
    ],
)
def test_page_of_another_site_is_forbidden(handler: Handler, more: dict[str, str]) -> None:
    assert status(handler, request("GET", LIST, more=more)) == 403


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"origin": f"http://{HOST}"},
        {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
    ],
)
def test_own_page_and_programs_are_answered(handler: Handler, more: dict[str, str]) -> None:
    assert status(handler, request("GET", LIST, more=more)) == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}t",
        f"Bearer {'u' * 43}",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN} {TOKEN}",
        "Bearer é" + "t" * 42,
        "Bearer \udcff",
    ],
)
def test_wrong_token_is_unauthorised(handler: Handler, authorization: str) -> None:
    answer = handler.handle(request("GET", LIST, more={"authorization": authorization}))
    assert answer.status == 401
    assert ("WWW-Authenticate", "Bearer") in answer.headers()
    assert status(handler, request("GET", LIST, drop=["authorization"])) == 401


def test_token_in_the_query_does_not_count(handler: Handler) -> None:
    asked = request("GET", f"{LIST}&token={TOKEN}", drop=["authorization"])
    assert status(handler, asked) == 401


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE", "BREW", "get"])
def test_other_methods_are_not_allowed(handler: Handler, method: str) -> None:
    answer = handler.handle(request(method, LIST))
    assert answer.status == 405
    assert dict(answer.headers())["Allow"] == "GET, POST, PUT"


def test_address_without_the_method_names_those_it_takes(handler: Handler) -> None:
    answer = handler.handle(request("POST", "/recommendations", {}))
    assert answer.status == 405
    assert dict(answer.headers())["Allow"] == "GET"


@pytest.mark.parametrize(
    ("more", "drop", "expected"),
    [
        ({"content-length": "65537"}, (), 413),
        ({"content-length": "9" * 40}, (), 413),
        ({"content-length": "-1"}, (), 400),
        ({"content-length": "+2"}, (), 400),
        ({"content-length": "0x2"}, (), 400),
        ({"content-length": "²"}, (), 400),
        ({"transfer-encoding": "chunked"}, (), 411),
        ({}, ("content-length",), 411),
        ({"content-type": "text/plain"}, (), 415),
        ({"content-type": "application/jsonx"}, (), 415),
        ({}, ("content-type",), 415),
        ({"content-type": "application/json; charset=utf-8"}, (), 400),  # read, and no event
    ],
)
def test_body_of_another_form_is_refused(
    handler: Handler, more: dict[str, str], drop: tuple[str, ...], expected: int
) -> None:
    assert status(handler, request("POST", "/events", {}, more=more, drop=drop)) == expected


def test_longest_body_is_taken_and_one_byte_more_is_not(handler: Handler) -> None:
    body = b'{"confirm":"no' + b" " * (checks.BODY_BYTES - 16) + b'"}'
    assert len(body) == checks.BODY_BYTES
    assert status(handler, request("POST", "/erase", body)) == 400
    assert status(handler, request("POST", "/erase", body + b" ")) == 413


def test_get_takes_no_body(handler: Handler) -> None:
    assert status(handler, request("GET", LIST, more={"content-length": "3"})) == 400


def test_rules_are_checked_in_their_order(handler: Handler) -> None:
    wrong = {
        "host": "evil.example",
        "origin": "http://evil.example",
        "authorization": "Bearer x",
        "content-length": "65537",
        "n": "0",
    }
    seen = []
    for name in [*wrong, "user_id"]:
        more = {header: value for header, value in wrong.items() if header != "n"}
        target = f"/recommendations?user_id=9&n={wrong.get('n', '1')}"
        seen.append(status(handler, request("GET", target, more=more)))
        wrong.pop(name, None)
    assert seen == [421, 403, 401, 413, 400, 404]


def test_every_answer_forbids_caches_sniffing_and_foreign_content(handler: Handler) -> None:
    asked = [
        request("GET", LIST),
        request("GET", LIST, drop=["authorization"]),
        request("GET", LIST, more={"host": "evil.example"}),
        request("GET", "/nothing"),
        request("GET", "/"),
        request("GET", "/static/page.js"),
        request("DELETE", "/"),
    ]
    for one in asked:
        headers = dict(handler.handle(one).headers())
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'self'; ")
        assert not any(name.lower().startswith("access-control") for name in headers)
        assert "Set-Cookie" not in headers
        assert "Server" not in headers


def test_install_token_has_256_bits_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    token = install_token(tmp_path)
    assert len(token) == 43
    assert install_token(tmp_path) == token
    assert stat.S_IMODE((tmp_path / TOKEN_FILE).stat().st_mode) == 0o600
    (tmp_path / "other").mkdir()
    assert install_token(tmp_path / "other") != token


def test_token_others_may_read_is_refused(tmp_path: Path) -> None:
    install_token(tmp_path)
    (tmp_path / TOKEN_FILE).chmod(0o640)
    with pytest.raises(IntegrityError, match="may be read by others"):
        install_token(tmp_path)


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 43, b"t" * 44])
def test_file_that_holds_no_token_is_refused_without_quoting_it(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / TOKEN_FILE).write_bytes(content)
    (tmp_path / TOKEN_FILE).chmod(0o600)
    with pytest.raises(InvalidFileError, match="holds no token of 256 bits"):
        install_token(tmp_path)


def test_one_time_token_buys_one_page_token() -> None:
    tokens = Tokens(TOKEN)
    once = tokens.one_time()
    assert not tokens.accepts(once)
    page = tokens.buy(once)
    assert page is not None
    assert tokens.accepts(page)
    assert tokens.accepts(TOKEN)
    assert tokens.buy(once) is None
    assert tokens.buy(page) is None


def test_one_time_token_ends_after_ten_minutes() -> None:
    time = [0.0]
    tokens = Tokens(None, now=lambda: time[0])
    early, late = tokens.one_time(), tokens.one_time()
    time[0] = ONE_TIME_S
    assert tokens.buy(early) is not None
    time[0] = ONE_TIME_S + 1
    assert tokens.buy(late) is None


def test_fifth_page_closes_the_first() -> None:
    tokens = Tokens(None)
    pages = [tokens.buy(tokens.one_time()) or "" for _ in range(5)]
    assert [tokens.accepts(page) for page in pages] == [False, True, True, True, True]


def test_server_without_an_install_token_takes_no_empty_one() -> None:
    assert not Tokens(None).accepts("")


def test_unknown_one_time_token_buys_nothing(handler: Handler) -> None:
    buy = request("POST", "/page/token", {"one_time": "x" * 43}, drop=["authorization"])
    answer = handler.handle(buy)
    assert answer.status == 401
    assert told(answer)["error"]["code"] == "page-closed"


def test_api_without_a_page_has_no_public_address(tmp_path: Path) -> None:
    with shop_device(tmp_path) as device:
        handler = handler_of(device, page=False)
        for target in ("/", "/page/token", "/static/page.js"):
            assert status(handler, request("GET", target, drop=["authorization"])) == 401
            assert status(handler, request("GET", target)) == 404


def test_token_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / TOKEN_FILE).mkdir()
    with pytest.raises(InvalidFileError, match="cannot be read"):
        install_token(tmp_path)


def test_short_draw_makes_no_token(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        install_token(tmp_path, lambda number: bytes(number - 1))


def test_handler_without_a_device_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one device"):
        Handler([], tokens=Tokens(TOKEN), port=1)


def test_unknown_parts_of_the_page_are_not_found(handler: Handler) -> None:
    for target in ("/static/nothing.js", "/page/nothing", "/page/list/more"):
        assert status(handler, request("GET", target)) == 404

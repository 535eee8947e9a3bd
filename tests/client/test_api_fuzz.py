"""Requests nobody would send: whatever comes, the answer is ours, and holds nothing planted."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_client.api.handler import Handler
from homebody_client.api.messages import ApiRequest
from homebody_client.api.profiles import Profile
from homebody_client.api.serve import LocalServer
from homebody_client.api.tokens import Tokens
from homebody_client.api.wire import HEAD_BYTES, HEADERS, read_head

from .api_home import HOST, PORT, TOKEN, allow, request, seed_event, shop_device, told
from .api_sockets import ENGINES, ask, both, talk

PLANTED = "PLANTED-PRODUCT"


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Handler]:
    with shop_device(tmp_path_factory.mktemp("fuzzed")) as device:
        allow(device)
        device.record(seed_event(product_id=PLANTED))
        yield Handler([Profile("fuzzed", device)], tokens=Tokens(TOKEN), port=PORT)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LocalServer]]:
    with shop_device(tmp_path_factory.mktemp("served")) as device, both(device) as found:
        yield found


_headers = st.lists(
    st.tuples(
        st.sampled_from(
            ["host", "origin", "authorization", "content-length", "content-type", "x", "cookie"]
        ),
        st.one_of(
            st.sampled_from([HOST, f"http://{HOST}", f"Bearer {TOKEN}", "application/json", "2"]),
            st.text(max_size=40),
        ),
    ),
    max_size=6,
)
_targets = st.one_of(
    st.sampled_from(
        [
            "/recommendations",
            "/why/BREAD-02",
            "/events",
            "/consent",
            "/forget",
            "/knows",
            "/page/list",
        ]
    ),
    st.text(max_size=40),
    st.text("/?&=%aZ0.-", max_size=40).map(lambda text: f"/{text}"),
    st.text(max_size=20).map(lambda text: f"/recommendations?{text}"),
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("event", "product_id", "user_id", "decision", "purpose", "features"),
                    *("row", "values", "confirm", "on", "strength", "band", "reaction", "x"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=100)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "", "é"]),
    target=_targets,
    headers=_headers,
    body=st.binary(max_size=64),
)
def test_no_request_breaks_the_handler(
    fuzzed: Handler,
    method: str,
    target: str,
    headers: list[tuple[str, str]],
    body: bytes,
) -> None:
    answer = fuzzed.handle(ApiRequest(method=method, target=target, headers=headers, body=body))
    assert 400 <= answer.status < 500 or answer.status == 200
    if answer.status != 200:
        assert set(told(answer)["error"]) == {"code", "message", "fix"}
        assert PLANTED.encode() not in answer.body


@settings(max_examples=100)
@given(
    route=st.sampled_from(
        [
            *(("POST", f"/{name}") for name in ("events", "forget", "react")),
            *(("PUT", f"/{name}") for name in ("consent", "knows", "strength", "pause", "age")),
        ]
    ),
    body=_json,
)
def test_no_json_breaks_a_route(fuzzed: Handler, route: tuple[str, str], body: object) -> None:
    raw = json.dumps(body).encode()
    answer = fuzzed.handle(request(*route, raw))
    assert answer.status in {200, 400, 404, 409, 413}
    if answer.status != 200:
        assert PLANTED.encode() not in answer.body


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n",
        b"GET / HTTP/1.1",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET /\x80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"x" * HEAD_BYTES + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (HEADERS + 1) + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
    ],
)
def test_what_is_no_http_is_refused_in_our_words(
    servers: dict[str, LocalServer], data: bytes
) -> None:
    answer = talk(servers["standard"].port, data)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert told_raw(answer)["error"]["code"] == "not-http"
    other = talk(servers["fastapi"].port, data)
    assert b"Traceback" not in other
    assert other == b"" or other.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 421 "))


def told_raw(answer: bytes) -> Any:  # noqa: ANN401 - JSON of any shape
    return json.loads(answer.partition(b"\r\n\r\n")[2])


_lines = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"Host: 127.0.0.1:8971",
                b"Authorization: Bearer " + TOKEN.encode(),
                b"Content-Length: 2",
                b"Content-Length: 99999999999",
                b"Transfer-Encoding: chunked",
                b"Expect: 100-continue",
                b"Connection: keep-alive, upgrade",
                b"Upgrade: websocket",
            ]
        ),
        st.binary(max_size=30),
    ),
    max_size=5,
)


@settings(max_examples=40)
@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda first, lines, body: b"\r\n".join([first, *lines, b"", body]),
            st.sampled_from(
                [b"GET /model HTTP/1.1", b"PUT /strength HTTP/1.0", b"BREW / HTTP/1.1"]
            ),
            _lines,
            st.binary(max_size=20),
        ),
    )
)
def test_no_bytes_break_a_server(servers: dict[str, LocalServer], data: bytes) -> None:
    for engine in ENGINES:
        answer = talk(servers[engine].port, data)
        assert b"Traceback" not in answer
        assert answer == b"" or answer.startswith(b"HTTP/1.1 ")


@given(st.binary(max_size=400))
def test_head_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert read_head(data).target.isascii()


def test_servers_live_on_after_the_fuzzing(servers: dict[str, LocalServer]) -> None:
    for server in servers.values():
        assert ask(server.port, "GET", "/model")[0] == 200

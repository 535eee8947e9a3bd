"""A SuperNode whose connection is cut while TLS is agreed on tries again; before, it hung."""

import httpx
import pytest
from flwr.supercore import retry
from flwr.supercore.retry import http_retry

from homebody_server.fleet import steady as module
from homebody_server.fleet.steady import make_steady_invoker

BROKEN = (
    httpx.ConnectError("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol"),
    httpx.ReadError("[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC] decryption failed"),
    httpx.ConnectError("connection refused"),
)


@pytest.mark.parametrize("error", BROKEN, ids=str)
def test_a_broken_handshake_is_tried_again(error: Exception) -> None:
    calls = []

    def call() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise error
        return "through"

    invoker = make_steady_invoker()
    invoker.wait_function = lambda _seconds: None
    assert invoker.invoke(call) == "through"
    assert len(calls) == 3


def test_a_certificate_that_does_not_verify_is_given_up_at_once() -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")

    with pytest.raises(httpx.ConnectError):
        make_steady_invoker().invoke(call)
    assert len(calls) == 1


def test_programs_that_are_loaded_later_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner in (retry, http_retry):
        before = owner.make_simple_http_retry_invoker
        monkeypatch.setattr(owner, "make_simple_http_retry_invoker", before)
    module.steady()
    assert retry.make_simple_http_retry_invoker is make_steady_invoker
    assert http_retry.make_simple_http_retry_invoker is make_steady_invoker

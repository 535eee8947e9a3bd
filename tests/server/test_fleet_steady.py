"""A SuperNode whose connection is cut while TLS is agreed on tries again; before, it hung."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from flwr.supercore import retry
from flwr.supercore.retry import http_retry

from homebody_privacy.environment import QUIET
from homebody_server.fleet import guard
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


@pytest.mark.parametrize(("side", "program"), [("client", "supernode"), ("server", "superlink")])
def test_the_guards_apps_use_it_before_flower_is_loaded(
    side: guard.Side, program: str, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    guard.write_guard(tmp_path / "guard", side)
    script, noted = tmp_path / "guard" / "run_installed_app.py", tmp_path / "noted"
    watch = f"""
import sys
from pathlib import Path
import homebody_server.fleet.steady as module
def noting():
    Path({str(noted)!r}).write_text(str("flwr.{program}.cli" in sys.modules))
module.steady = noting
sys.argv = ["app", "--help"]
exec(compile(Path({str(script)!r}).read_text(), "guard", "exec"), {{"__name__": "__main__"}})
"""
    environ = {**os.environ, **QUIET, "HOMEBODY_FLEET": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", watch], env=environ, check=False)
    assert done.returncode == 0
    assert noted.read_text() == "False"

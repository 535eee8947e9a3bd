"""Who may ask, and in which form: the rules of the local API, in the order they are checked.

Any program and any web page on the machine can reach 127.0.0.1. The Host check stops names that
were pointed here (DNS rebinding), the Origin checks stop pages of other sites, the token stops
other programs. Only then is anything of the request looked at.
"""

import re
from typing import Final

from .messages import ApiRequest, Refusal
from .tokens import Tokens

BODY_BYTES: Final = 65_536
"""Longest body taken."""

METHODS: Final = ("GET", "POST", "PUT")

_DIGITS: Final = 7  # of a length worth reading
_BEARER = re.compile(r"bearer +(\S+)", re.ASCII | re.IGNORECASE)
_JSON = re.compile(r"application/json(?:; *charset=utf-8)?", re.ASCII | re.IGNORECASE)


def wrong_host(request: ApiRequest, port: int) -> Refusal | None:
    """Refuse a request that was sent to another name than this server's own: 421."""
    if request.values("host") in ([f"127.0.0.1:{port}"], [f"localhost:{port}"]):
        return None
    return Refusal(
        status=421,
        code="wrong-host",
        message="The Host of the request is not this server's own.",
        fix="send it to 127.0.0.1 and the port of the server",
    )


def foreign_origin(request: ApiRequest) -> Refusal | None:
    """Refuse what a page of another site sent: 403. Call after ``wrong_host``."""
    own = [f"http://{host}" for host in request.values("host")]
    sites = request.values("sec-fetch-site")
    if request.values("origin") in ([], own) and sites in ([], ["same-origin"], ["none"]):
        return None
    return Refusal(
        status=403,
        code="foreign-origin",
        message="Pages of other sites get no answer.",
        fix="ask from the device page or from a program",
    )


def no_token(request: ApiRequest, tokens: Tokens) -> Refusal | None:
    """Refuse a request without a token in force: 401."""
    offered = request.values("authorization")
    found = _BEARER.fullmatch(offered[0].strip()) if len(offered) == 1 else None
    if found and tokens.accepts(found[1]):
        return None
    return Refusal(
        status=401,
        code="no-token",
        message="The request holds no token that is in force.",
        fix="send the header 'Authorization: Bearer <token>', with the token of the profile",
        more=(("WWW-Authenticate", "Bearer"),),
    )


def wrong_method(request: ApiRequest) -> Refusal | None:
    """Refuse methods this API has no use for: 405."""
    if request.method in METHODS:
        return None
    return method_refusal(METHODS)


def method_refusal(allowed: tuple[str, ...]) -> Refusal:
    """Return the refusal of a method, with those that are taken."""
    return Refusal(
        status=405,
        code="method-not-allowed",
        message="This address does not take the method.",
        fix=f"use {' or '.join(allowed)}",
        more=(("Allow", ", ".join(allowed)),),
    )


def wrong_body(request: ApiRequest) -> Refusal | None:
    """Refuse a body of unknown length, too long, or not JSON: 400, 411, 413 or 415."""
    lengths = request.values("content-length")
    if request.values("transfer-encoding") or (request.method != "GET" and not lengths):
        return _body(411, "length-required", "The length of the body is not stated.")
    if len(lengths) > 1 or not all(text.isascii() and text.isdigit() for text in lengths):
        return _body(400, "bad-request", "Content-Length is no length.")
    digits = lengths[0].lstrip("0") if lengths else ""
    if len(digits) > _DIGITS or max(int(digits or "0"), len(request.body)) > BODY_BYTES:
        return TOO_LARGE
    if request.method == "GET":
        return _body(400, "bad-request", "GET takes no body.") if digits else None
    types = request.values("content-type")
    if len(types) == 1 and _JSON.fullmatch(types[0].strip()):
        return None
    return _body(415, "not-json", "The body is not said to be JSON.")


def _body(status: int, code: str, message: str) -> Refusal:
    fix = f"send JSON of at most {BODY_BYTES} bytes as application/json, with its Content-Length"
    return Refusal(status=status, code=code, message=message, fix=fix)


TOO_LARGE: Final = _body(413, "too-large", "The body is longer than this server takes.")
BUSY: Final = Refusal(
    status=503,
    code="busy",
    message="All connections are in use.",
    fix="close one, or try again in a second",
    more=(("Retry-After", "1"),),
)
TOO_SLOW: Final = Refusal(
    status=408,
    code="too-slow",
    message="The request did not arrive in time.",
    fix="send the whole request within 5 seconds",
)
NOT_HTTP: Final = Refusal(
    status=400,
    code="not-http",
    message="The request is not HTTP this server reads.",
    fix="send HTTP/1.1 with fewer and shorter headers",
)

"""What the local API takes and gives, whichever server carries it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

POLICY: Final = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "object-src 'none'"
)
"""Nothing from elsewhere is loaded, nothing inline runs, nobody frames the page."""

ALWAYS: Final = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Connection", "close"),
)
"""Headers of every answer, refusals included. A list reveals its history: no cache keeps it."""

JSON: Final = "application/json"
HTML: Final = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """One request as it came. Secret: its target and body are behaviour.

    Attributes:
        method: As sent; compared with upper-case names.
        target: Path and query, still percent-encoded.
        headers: Names in lower case, with values, in order; a name may come twice.
        body: All of the body; empty before it was read.
    """

    method: str
    target: str = field(repr=False)
    headers: Sequence[tuple[str, str]] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)

    def values(self, name: str) -> list[str]:
        """Return every value of a header; ``name`` is in lower case."""
        return [value for found, value in self.headers if found == name]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiResponse:
    """One answer, whole.

    Attributes:
        status: HTTP status.
        body: All of the body. Secret.
        content_type: Media type of the body.
        more: Headers beside those every answer has.
    """

    status: int
    body: bytes = field(default=b"", repr=False)
    content_type: str = JSON
    more: tuple[tuple[str, str], ...] = ()

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return all headers, in the order both servers send them."""
        length = ("Content-Length", str(len(self.body)))
        return (("Content-Type", self.content_type), length, *ALWAYS, *self.more)


def json_answer(value: object, *, status: int = 200) -> ApiResponse:
    """Return a value as JSON.

    Raises:
        ValueError: If the value holds NaN or infinity, which JSON has no word for.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return ApiResponse(status=status, body=text.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request gets no answer. Public: never holds anything of the request.

    Attributes:
        status: HTTP status.
        code: Stable name.
        message: What was refused and why.
        fix: What helps.
        more: Headers the status calls for.
    """

    status: int
    code: str
    message: str
    fix: str
    more: tuple[tuple[str, str], ...] = ()

    def answer(self) -> ApiResponse:
        """Return the refusal as an answer."""
        error: Mapping[str, str] = {"code": self.code, "message": self.message, "fix": self.fix}
        body = json_answer({"error": error}).body
        return ApiResponse(status=self.status, body=body, more=self.more)


class RefusedError(Exception):
    """Carries a refusal out of a route. Never leaves the handler."""

    def __init__(self, refusal: Refusal) -> None:
        """Keep the refusal."""
        super().__init__(refusal.code)
        self.refusal = refusal


def bad(message: str, fix: str) -> RefusedError:
    """Return the error of a request that cannot be meant: 400."""
    return RefusedError(Refusal(status=400, code="bad-request", message=message, fix=fix))


def missing(message: str, fix: str) -> RefusedError:
    """Return the error of something that is not here: 404."""
    return RefusedError(Refusal(status=404, code="not-found", message=message, fix=fix))

"""The addresses of the device page: a shell without data, its files, and parts that hold data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from .changes import Changes
from .messages import HTML, ApiResponse, Refusal, RefusedError, json_answer, missing
from .parameters import read_fields
from .profiles import Profile, chosen
from .routes import Call, Route
from .tokens import Tokens

PUBLIC: Final = ("/", "/page/token")
"""Paths that need no token: the shell holds no data, and the other sells tokens."""

STATIC: Final = "/static/"

_POLL_S: Final = 10.0
_DIGITS: Final = 15
_USED: Final = Refusal(
    status=401,
    code="page-closed",
    message="This address was opened before, or is too old.",
    fix="open the page again from the app or with homebody device serve",
)


class PageLike(Protocol):
    """The device page, where Jinja2 is installed."""

    def shell(self, profiles: Sequence[Profile]) -> bytes:
        """Return the page without any data."""

    def asset(self, name: str) -> tuple[str, bytes] | None:
        """Return media type and bytes of a file the page loads; None if there is none."""

    def part(self, name: str, at: int, profile: Profile) -> bytes | None:
        """Return a part of the page with its data; None if there is none of that name."""


def is_public(path: str) -> bool:
    """Return whether an address of the page needs no token."""
    return path in PUBLIC or path.startswith(STATIC)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRoutes:
    """Answers for the page.

    Attributes:
        page: Renders it.
        tokens: Sells page tokens.
        changes: Lets the page wait for the next change.
    """

    page: PageLike
    tokens: Tokens = field(repr=False)
    changes: Changes = field(repr=False)

    def find(self, parts: tuple[str, ...]) -> Mapping[str, Route] | None:
        """Return what answers at an address, by method; None if nothing does."""
        match parts:
            case ("",):
                return {"GET": self._shell}
            case ("static", _):
                return {"GET": self._asset}
            case ("page", "token"):
                return {"POST": self._buy}
            case ("page", "changes"):
                return {"GET": self._wait}
            case ("page", _):
                return {"GET": self._part}
            case _:
                return None

    def _shell(self, call: Call) -> ApiResponse:
        call.target.only()
        body = self.page.shell(call.profiles)
        return ApiResponse(status=200, body=body, content_type=HTML)

    def _asset(self, call: Call) -> ApiResponse:
        call.target.only()
        found = self.page.asset(call.target.parts[1])
        if found is None:
            raise missing("The page has no such file.", "open the page's own address")
        return ApiResponse(status=200, body=found[1], content_type=found[0])

    def _part(self, call: Call) -> ApiResponse:
        call.target.only("profile")
        at, _ = chosen(call.profiles, call.target)
        body = self.page.part(call.target.parts[1], at, call.profiles[at])
        if body is None:
            raise missing("The page has no such part.", "open the page's own address")
        return ApiResponse(status=200, body=body, content_type=HTML)

    def _buy(self, call: Call) -> ApiResponse:
        call.target.only()
        fields = read_fields(call.body)
        fields.only("one_time")
        token = self.tokens.buy(fields.text("one_time"))
        if token is None:
            raise RefusedError(_USED)
        return json_answer({"token": token})

    def _wait(self, call: Call) -> ApiResponse:
        call.target.only("since")
        since = [_count(text) for text in (call.target.text("since") or "").split(",")]
        return json_answer({"changes": self.changes.wait(since, _POLL_S)})


def _count(text: str) -> int:
    """Return a count of changes; -1, which no device has, for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else -1

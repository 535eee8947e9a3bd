"""The one handler behind both servers: checks, then routes. No framework."""

import logging
from collections.abc import Mapping, Sequence
from typing import Final

from homebody_privacy.errors import HomebodyError

from . import checks
from .changes import Changes
from .messages import ApiRequest, ApiResponse, Refusal, RefusedError, bad, missing
from .page_routes import PageLike, PageRoutes, is_public
from .parameters import read_target
from .profiles import Profile
from .routes import ROUTES, Call, Route
from .tokens import Tokens

_log: Final = logging.getLogger("homebody.api")

_STATUS: Final[Mapping[str, int]] = {
    "usage": 400,
    "invalid-file": 500,
    "missing-extra": 501,
    "consent-missing": 409,
    "integrity-failure": 500,
}
"""HTTP status of a refusal by its code; any other is 409: it can be asked, but not now."""

INTERNAL: Final = Refusal(
    status=500,
    code="internal-error",
    message="The device could not answer; nothing was sent anywhere.",
    fix="try again; if it stays, restart the app",
)


class Handler:
    """Answers requests about some devices.

    Args:
        profiles: The devices, at least one.
        tokens: Who may ask.
        port: Port of the server, part of its name.
        page: The device page; None serves the API alone.
    """

    __slots__ = ("_changes", "_page", "_port", "_profiles", "_tokens")

    def __init__(
        self,
        profiles: Sequence[Profile],
        *,
        tokens: Tokens,
        port: int,
        page: PageLike | None = None,
    ) -> None:
        """Watch the devices for changes."""
        if not profiles:
            raise ValueError("profiles must name at least one device")
        self._profiles = tuple(profiles)
        self._tokens = tokens
        self._port = port
        self._changes = Changes([profile.device for profile in profiles])
        self._page: PageRoutes | None = None
        if page is not None:
            self._page = PageRoutes(page=page, tokens=tokens, changes=self._changes)

    def close(self) -> None:
        """Stop watching and let waiting pages go."""
        self._changes.close()

    def refusal(self, request: ApiRequest) -> Refusal | None:
        """Return why a request gets no answer, from its head alone; None if it may be read."""
        return (
            checks.wrong_host(request, self._port)
            or checks.foreign_origin(request)
            or (None if self._is_public(request) else checks.no_token(request, self._tokens))
            or checks.wrong_method(request)
            or checks.wrong_body(request)
        )

    def handle(self, request: ApiRequest) -> ApiResponse:
        """Answer a request; never raises for anything a request or a device can do.

        Guarantees:
            A refusal holds a code, a message and a fix, and nothing of the request or the device.
        """
        refusal = self.refusal(request)
        return refusal.answer() if refusal else self._guarded(request)

    def _guarded(self, request: ApiRequest) -> ApiResponse:
        try:
            return self._answer(request)
        except RefusedError as refused:
            return refused.refusal.answer()
        except HomebodyError as error:
            return _said(error).answer()
        except ValueError:  # its message may quote the request
            message = "A value is not one the device takes."
            return bad(message, "correct the request").refusal.answer()
        except Exception as error:  # noqa: BLE001 - the last line before a client
            # The type alone: a traceback or a message may quote what the person did.
            _log.error("a request failed inside the device: %s", type(error).__name__)
            return INTERNAL.answer()

    def _is_public(self, request: ApiRequest) -> bool:
        return self._page is not None and is_public(request.target.partition("?")[0])

    def _answer(self, request: ApiRequest) -> ApiResponse:
        target = read_target(request.target)
        parts = target.parts
        routes = ROUTES.get(parts) or ROUTES.get((*parts[:-1], "*"))
        if routes is None and self._page is not None:
            routes = self._page.find(parts)
        call = Call(profiles=self._profiles, target=target, body=request.body)
        return _pick(routes, request.method)(call)


def _said(error: HomebodyError) -> Refusal:
    """Return a refusal of the device in the words it chose, which hold no user data."""
    status = _STATUS.get(error.code, 409)
    return Refusal(status=status, code=error.code, message=str(error), fix=error.fix)


def _pick(routes: Mapping[str, Route] | None, method: str) -> Route:
    """Return what answers a method.

    Raises:
        RefusedError: 404 without routes, 405 without the method.
    """
    if routes is None:
        raise missing("There is nothing at this address.", "see the documentation of the local API")
    if method not in routes:
        raise RefusedError(checks.method_refusal(tuple(routes)))
    return routes[method]

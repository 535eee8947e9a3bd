"""Consent where the vault cannot be opened: everything is shut, and nothing can be granted."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from homebody_privacy.consent import Closed, Decision, closed
from homebody_privacy.consent_terms import ConsentTerms
from homebody_privacy.errors import ConsentMissingError, IntegrityError

if TYPE_CHECKING:
    from homebody_client.consent.matrix import MatrixRow


class ShutBook:
    """Stands in for the book of consent; every answer is no, with the code ``chain_broken``."""

    __slots__ = ()

    terms: ConsentTerms | None = None
    restricted = False
    age_band: str | None = None
    epoch = 0

    @property
    def signals(self) -> Mapping[str, bool | None]:
        """No signal can be read."""
        return {}

    def why(self, purpose: str, feature: str) -> Closed:  # noqa: ARG002 the same for all
        """Return why nothing is open."""
        return closed("chain_broken")

    def decision(self, purpose: str) -> Decision:
        """Return that nothing is known."""
        return Decision(purpose=purpose)

    def matrix(self) -> "list[MatrixRow]":
        """Return no switch."""
        return []

    def open_features(self, purpose: str) -> tuple[str, ...]:  # noqa: ARG002 the same for all
        """Return nothing."""
        return ()

    def grant(
        self,
        purpose: str,
        *,
        features: Sequence[str],
        language: str = "en",
        explicit: bool = False,
        over_signal: bool = False,
        method: str = "api",
    ) -> NoReturn:
        """Refuse."""
        del purpose, features, language, explicit, over_signal, method
        _refuse()

    def refuse(self, purpose: str, *, method: str = "api") -> NoReturn:
        """Refuse: it could not be written down, and all is shut already."""
        del purpose, method
        _refuse()

    defer = withdraw = refuse

    def restrict(self) -> NoReturn:
        """Refuse: all is shut already."""
        _refuse()

    lift = restrict

    def set_age_band(self, band: str) -> NoReturn:
        """Refuse: it could not be kept."""
        del band
        _refuse()

    def set_signal(self, name: str, on: bool | None) -> NoReturn:  # noqa: FBT001 as the real book
        """Refuse: it could not be kept."""
        del name, on
        _refuse()

    def object_to(self, purpose: str) -> NoReturn:
        """Refuse, as ``withdraw``."""
        del purpose
        _refuse()

    def receipts(self) -> NoReturn:
        """Refuse: what vouches for them cannot be read."""
        raise IntegrityError(
            "the receipts cannot be verified: the keys of this device cannot be opened",
            fix="bring its state folder back, or erase the device and begin anew",
        )


def _refuse() -> NoReturn:
    shut = closed("chain_broken")
    raise ConsentMissingError(
        f"{shut.code}: {shut.sentence}", fix="erase the device and begin anew"
    )

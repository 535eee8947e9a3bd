"""What the local API and the page ask of a device; the facade provides it.

Methods may raise any ``HomebodyError``; its message and fix reach the person, so they hold no user
data. Everything returned is secret but titles, terms and the model's facts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from homebody_client.explain import Reason
from homebody_client.recommend import Recommendations
from homebody_privacy.consent import Closed, Decision
from homebody_privacy.consent_terms import ConsentTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One row of the store, as the person may see, correct and delete it. Secret.

    Attributes:
        row: Number of the row; never used again for another.
        feature: Feature group it belongs to.
        at: Unix seconds.
        values: The fields kept, ``event`` among them.
        editable: Whether the person may correct it (GDPR Art. 16).
    """

    row: int
    feature: str
    at: float = field(repr=False)
    values: Mapping[str, str | int | float | bool | None] = field(repr=False)
    editable: bool = True


class ConsentLike(Protocol):
    """The person's decisions; ``consent.book.ConsentBook`` is one."""

    @property
    def terms(self) -> ConsentTerms | None:
        """What people are asked; None while no config was accepted: nothing can be granted."""

    @property
    def restricted(self) -> bool:
        """Whether everything is paused (GDPR Art. 18)."""

    @property
    def age_band(self) -> str | None:
        """The person's age band, one of ``consent.AGE_BANDS``; None while not known."""

    @property
    def signals(self) -> Mapping[str, bool | None]:
        """Opt-out signals by name: True is on, None cannot be read."""

    def why(self, purpose: str, feature: str) -> Closed | None:
        """Return why a feature group may not be used for a purpose now; None if it may."""

    def decision(self, purpose: str) -> Decision:
        """Return what the person said about a purpose, and what became of it."""

    def grant(
        self,
        purpose: str,
        *,
        features: Sequence[str],
        language: str = "en",
        explicit: bool = False,
        over_signal: bool = False,
        method: str = "api",
    ) -> object:
        """Say yes to exactly these feature groups; those not named are off."""

    def refuse(self, purpose: str, *, method: str = "api") -> object:
        """Say no to what was never allowed."""

    def defer(self, purpose: str) -> object:
        """Say "not now"."""

    def withdraw(self, purpose: str, *, method: str = "api") -> object:
        """Take a yes back; what was kept for it is erased when this returns."""

    def set_age_band(self, band: str) -> object:
        """Keep the person's age band, asked once; one of ``consent.AGE_BANDS``."""

    def restrict(self) -> object:
        """Pause everything: nothing is collected, read or sent; nothing is erased."""

    def lift(self) -> object:
        """End the pause."""


class Left(Protocol):
    """An entry of the egress log."""

    @property
    def time(self) -> float:
        """Unix seconds."""

    @property
    def kind(self) -> str:
        """What it was: ``update``, ``metrics``, ``leave`` ..."""

    @property
    def purpose(self) -> str:
        """Purpose it was sent for."""

    @property
    def bytes(self) -> int:
        """Size on the wire."""

    @property
    def summary(self) -> str:
        """What it was, in a sentence."""

    @property
    def round(self) -> int | None:
        """Round it was for; None for none."""

    @property
    def charge(self) -> str | None:
        """What pays for it in the run's ledger; None for what holds nothing about the person."""

    @property
    def sent(self) -> bool:
        """Whether it left; False: it was held back."""

    @property
    def why(self) -> str:
        """Why it was held back; empty where it left."""


class EgressLike(Protocol):
    """The record of everything that left, or was held back."""

    def tail(self, n: int) -> Sequence[Left]:
        """Return the last ``n`` entries, oldest first."""


class DeviceLike(Protocol):
    """A device, as the local API and the page see it. Safe to call from several threads."""

    @property
    def consent(self) -> ConsentLike:
        """The person's decisions."""

    @property
    def egress(self) -> EgressLike:
        """What left."""

    @property
    def strength(self) -> int:
        """How personal lists are: 0 is the same list for all, 100 fully personal."""

    @strength.setter
    def strength(self, value: int) -> None:
        """Change it; kept. ``ValueError`` outside 0 to 100."""

    def owns(self, user_id: str) -> bool:
        """Return whether the profile is this person's.

        A profile that has met nobody owns every id; its first event binds it.
        """

    def record(self, event: Mapping[str, object]) -> bool:
        """Take an event; return whether a row was kept (False: shut, or known already)."""

    def recommend(
        self,
        *,
        surface: str = "home",
        n: int = 10,
        product_id: str | None = None,
        cart: Sequence[str] = (),
    ) -> Recommendations:
        """Return a list; never empty, whatever is missing or shut."""

    def why(self, product_id: str) -> Reason:
        """Return why a product would be in the list; ``UsageError`` if it is in no catalog."""

    def react(self, product_id: str, reaction: str) -> bool:
        """Take a ``like`` or a ``dislike`` of the person; return whether a row was kept."""

    def forget(self, product_id: str) -> int:
        """Erase every row of a product; return how many there were."""

    def title(self, product_id: str) -> str:
        """Return the name shown to people; the id itself where there is none."""

    def knows(self) -> Sequence[Known]:
        """Return every row kept, oldest first."""

    def correct(self, row: int, values: Mapping[str, str | int | float | bool | None]) -> None:
        """Change fields of a row; ``ValueError`` if it is not there or may not be changed."""

    def delete(self, row: int) -> int:
        """Erase a row; return how many there were."""

    def export_data(self) -> dict[str, object]:
        """Return everything of the person, as JSON (GDPR Art. 15 and 20)."""

    def erase(self) -> None:
        """Erase rows, queue, local model and keys (GDPR Art. 17)."""

    def model(self) -> Mapping[str, object]:
        """Return the facts of the model in use, as JSON; empty without one. Public.

        Keys: ``model_id``, ``version``, ``serial``, ``stale``, ``statement`` (the one sentence a
        claim may be made in); where it is known, ``withdrawal``: what becomes of contributions
        already made (``homebody_privacy.withdrawal_words``).
        """

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` after every change of rows, consent, strength or model.

        It returns at once and takes no lock of the device.

        Returns:
            A function that ends the subscription.
        """

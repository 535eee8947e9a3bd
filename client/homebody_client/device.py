"""What an app embeds: one person's device, which records, ranks, explains and obeys on its own.

Everything happens on the machine: no call here opens a socket. What the person has not allowed is
not kept; what they take back is erased before the call returns.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from homebody_client.consent.book import ConsentBook
from homebody_client.consent.egress import EgressLog
from homebody_client.core import RECOMMEND, Core
from homebody_client.events.event import Event
from homebody_client.explain import Reason
from homebody_client.keystores import KeyStore
from homebody_client.profile import Profile
from homebody_client.recommend import Recommendations
from homebody_client.setup import Setup, Shop
from homebody_client.shut_book import ShutBook
from homebody_client.store import Value
from homebody_models.bundle import ModelBundle
from homebody_models.catalog import ItemCatalog
from homebody_privacy.durable import write_durably

if TYPE_CHECKING:  # a device that only ranks starts without them
    from homebody_client.api.device_like import Known
    from homebody_client.check_in import CheckIn, LocalModel, Participant
    from homebody_client.features.spec import Value as FeatureValue


class Device:
    """One person's runtime and data. Made by ``open``; safe to use from several threads.

    Use it in a ``with`` statement, or call ``close``.

    Args:
        setup: What the app gave.
    """

    def __init__(self, setup: Setup) -> None:
        """Bring up what can be brought up."""
        self._core = Core(setup)

    @classmethod
    def open(
        cls,
        profile: Path | str,
        *,
        config: Path | str | None = None,
        bundle: Path | str | None = None,
        catalog: Path | str | None = None,
        trusted_key: Path | str | None = None,
        floor_serial: int = 0,
        passphrase: str | None = None,
        keys: KeyStore | None = None,
        shop: Shop | None = None,
        now: Callable[[], float] = time.time,
    ) -> Self:
        """Open a person's profile, made at the first use.

        It opens in every state: what is missing or cannot be trusted stays shut, is named in
        ``problems``, and the list for all is shown.

        Args:
            profile: Folder of the profile.
            config: ``privacy.toml`` the app ships; None goes by the one in the profile. Without a
                valid one nothing is kept.
            bundle: A model to take into use if it is newer; None serves with the one in use.
            catalog: A catalog to take into use if it is newer; None as for ``bundle``.
            trusted_key: File of the publisher's public key, as shipped with the app; None goes by
                ``publisher.pub`` in the profile. Without it no model is trusted.
            floor_serial: Least serial of a model this build of the app accepts.
            passphrase: Seals the profile's key where the system keeps none. Secret.
            keys: Where the profile's key is kept; None takes the best there is.
            shop: The app's places, names, rules and last resort.
            now: The clock, Unix seconds.

        Raises:
            UsageError: If another process has the profile open, or the pass phrase is wrong.
            InvalidFileError: If the folder cannot be made, or ``trusted_key`` is no key.
        """
        opened = Profile.open(Path(profile))
        try:
            setup = Setup(
                profile=opened,
                config=None if config is None else Path(config),
                bundle=None if bundle is None else Path(bundle),
                catalog=None if catalog is None else Path(catalog),
                passphrase=passphrase,
                keys=keys,
                shop=shop or Shop(),
                now=now,
            )
            key = None if trusted_key is None else Path(trusted_key)
            return cls(setup.trusting(key, floor_serial=floor_serial))
        except BaseException:
            opened.close()
            raise

    def __enter__(self) -> Self:
        """Return the device itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Put on disk what waits, and let other processes open the profile."""
        self._core.close()

    # What the device is.

    @property
    def consent(self) -> ConsentBook | ShutBook:
        """What the person decided, and the switches: grant, withdraw, refuse, restrict, ..."""
        return self._core.parts.book

    @property
    def egress(self) -> EgressLog:
        """What left this device, in words."""
        return self._core.parts.egress

    @property
    def problems(self) -> tuple[str, ...]:
        """What was refused or is missing; for the app's log. No user data."""
        return self._core.problems

    @property
    def readable(self) -> bool:
        """Whether the person's rows and keys can be read; where not, ``problems`` says why."""
        return self._core.rows is not None

    @property
    def key_store(self) -> tuple[str, str]:
        """Kind of place that keeps the profile's key, and how it is weaker than the system's.

        The second is empty where it is not weaker; both are where the keys cannot be opened.
        """
        vault = self._core.parts.vault
        return ("", "") if vault is None else (vault.kind, vault.weaker)

    @property
    def bundle(self) -> ModelBundle | None:
        """The model in use; None without one. Public."""
        return self._core.shelved.bundle

    @property
    def catalog(self) -> ItemCatalog | None:
        """The catalog in use; None without one. Public."""
        return self._core.shelved.catalog

    @property
    def strength(self) -> int:
        """How personal lists are: 0 is the same list for all, 100 fully personal."""
        return self._core.strength()

    @strength.setter
    def strength(self, value: int) -> None:
        self._core.set_strength(value)

    def owns(self, user_id: str) -> bool:
        """Return whether the profile is this person's; one that met nobody is anyone's."""
        return self._core.rows is None or self._core.rows.owns(user_id)

    # Events in, lists out.

    def record(
        self,
        event: Event | Mapping[str, object] | str,
        *,
        mode: Literal["strict", "lax"] = "strict",
        source: str = "app",
    ) -> bool:
        """Take an event; it reaches the disk within a moment, and the next list knows it.

        Args:
            event: JSON of the vocabulary (``homebody export schema events``), or an ``Event``.
            mode: ``strict`` refuses fields the vocabulary does not know, ``lax`` passes them over.
            source: Where it came from.

        Returns:
            Whether a row was kept. False: no switch is open for it, it was recorded before, or it
            cannot be believed (``quarantined``).

        Raises:
            UsageError: If it is no event of the vocabulary; the message holds no value.
            PolicyViolationError: If it is of another person than this profile.
        """
        if not isinstance(event, Event):
            # Parsed here, not at import: a device that only ranks does without the vocabulary.
            from homebody_client.events.parse import parse_event  # noqa: PLC0415

            event = parse_event(event, now=self._core.now(), mode=mode, source=source)
        return self._core.take(event)

    def recommend(
        self,
        n: int = 10,
        *,
        surface: str = "home",
        product_id: str | None = None,
        cart: Sequence[str] = (),
        hour: int | None = None,
        device: str | None = None,
        facts: Mapping[str, object] | None = None,
    ) -> Recommendations:
        """Return a list, made on the device; never empty while anything is known to list.

        Args:
            n: Length, 1 to 1,000.
            surface: Place it is for.
            product_id: What is shown beside it, on the surface ``product``.
            cart: What is in the cart, on the surface ``cart``.
            hour: Hour where the person is, 0 to 23; None takes the machine's.
            device: Kind of device, such as ``mobile``.
            facts: What the app's rules may ask about.

        Raises:
            UsageError: If there is no such surface.
            ValueError: If ``n`` or ``hour`` is out of range.
        """
        query = self._core.query(
            n=n,
            surface=surface,
            product_id=product_id,
            cart=tuple(cart),
            hour=hour,
            device=device,
            facts=dict(facts or {}),
        )
        return self._core.make(query)

    def why(self, product_id: str) -> Reason:
        """Return why a product would be in the list at home.

        Raises:
            UsageError: If neither model nor catalog has it.
        """
        interactions, reason = self._core.open_interactions()
        return self._core.maker.why(
            interactions, product_id, self._core.query(), fallback_reason=reason
        )

    explain = why

    def title(self, product_id: str) -> str:
        """Return the name shown to people; the id itself where there is none."""
        item = self._core.maker.shelf.index.get(product_id)
        return product_id if item is None else self._core.maker.shelf.title(item)

    def react(self, product_id: str, reaction: str) -> bool:
        """Take a ``like``, ``dislike`` or ``dismiss`` said on this device; return if it was kept.

        Raises:
            UsageError: If it is no event of the vocabulary.
        """
        return self._core.react(product_id, reaction)

    def features(
        self, purpose: str = RECOMMEND, *, at: float | None = None
    ) -> "dict[str, FeatureValue]":
        """Return the features a purpose may use, by name; computed here, kept sealed. Secret.

        Args:
            purpose: What for.
            at: Unix seconds: as they were known then, and nothing later. None: now.

        Raises:
            ConsentMissingError: If nothing is open to the purpose.
            IntegrityError: If the store cannot be read.
        """
        store = self._core.features()
        now = self._core.now()
        return store.values(purpose, now=now) if at is None else store.example(purpose, at=at)

    # The person's rights over rows and device.

    def knows(self) -> "list[Known]":
        """Return every row kept (GDPR Art. 15). Secret."""
        self._core.tick()  # what is past its time goes first
        return [] if self._core.rows is None else self._core.rows.known()

    def correct(self, row: int, values: Mapping[str, Value]) -> None:
        """Change fields of a row (Art. 16).

        Raises:
            ValueError: If there is no such row, or it may not be changed so.
        """
        if self._core.rows is None:
            raise ValueError("there is no such row")
        self._core.rows.correct(row, values, self._core.shelved.catalog)
        self._core.tell()

    def delete(self, row: int) -> int:
        """Erase a row; return how many there were."""
        return self._core.gone(0 if self._core.rows is None else self._core.rows.delete([row]))

    def forget(self, product_id: str) -> int:
        """Erase every row of a product; return how many there were."""
        return self._core.gone(0 if self._core.rows is None else self._core.rows.forget(product_id))

    @property
    def quarantined(self) -> Mapping[str, int]:
        """How many events were put aside since the device was opened, by problem."""
        return {} if self._core.rows is None else self._core.rows.quarantined()

    def export_data(self) -> dict[str, object]:
        """Return everything of the person, as JSON (Art. 15 and 20). Secret."""
        from homebody_client.personal_copy import copy_of  # noqa: PLC0415 seldom asked for

        return copy_of(self._core)

    def export(self, file: Path | str) -> Path:
        """Write ``export_data`` to a file only its owner may read; return the file."""
        path = Path(file)
        text = json.dumps(self.export_data(), ensure_ascii=False, indent=1, allow_nan=False)
        write_durably(path, text.encode(), mode=0o600)
        return path

    def take_in(self, file: Path | str) -> int:
        """Take in the rows of an export, through the collect gate; return how many were kept.

        A yes does not travel: what is not allowed on this device is not taken in.

        Raises:
            InvalidFileError: If it is no export.
        """
        from homebody_client.personal_copy import read_copy  # noqa: PLC0415 seldom asked for

        document = read_copy(Path(file))
        rows, catalog = self._core.rows, self._core.shelved.catalog
        return self._core.gone(0 if rows is None else rows.take_in(document, catalog))

    def erase(self) -> None:
        """Erase rows, queue, what was derived, and their keys (Art. 17); then begin anew.

        Receipts, the rounds joined and the record of what left stay: they hold no behaviour. What
        was already added into a shared model cannot be picked out again.
        """
        self._core.erase()

    # The device and its fleet.

    def check_in(self, *, idle: bool, charging: bool, unmetered: bool) -> "CheckIn":
        """Say how the machine is; until the next call, the device answers invitations or declines.

        Args:
            idle: Nobody is using it.
            charging: It is on mains, or has no battery.
            unmetered: Its network costs nothing.
        """
        from homebody_client import fleet  # noqa: PLC0415 a device that only ranks does without

        return fleet.check_in(self._core, idle=idle, charging=charging, unmetered=unmetered)

    def participant(self, model: "LocalModel") -> "Participant":
        """Return the device as a fleet sees it.

        Args:
            model: Local computation of the fleet's model, ``homebody_client.local_model``.

        Raises:
            InvalidFileError: If there is no valid config.
            PolicyViolationError: If the config is not the one the device was opened with.
            IntegrityError: If the vault or the anchors of the record of joins cannot be read.
        """
        from homebody_client import fleet  # noqa: PLC0415 a device that only ranks does without

        return fleet.participant(self._core, model)

    def model(self) -> dict[str, object]:
        """Return the facts of the model in use, as JSON; empty without one. Public."""
        return self._core.model_facts()

    def install(self, *, bundle: Path | None = None, catalog: Path | None = None) -> None:
        """Take a model or a catalog into use.

        Raises:
            IntegrityError: If it is refused; what was in use serves on.
            InvalidFileError: If there is none, or it cannot be stored.
        """
        self._core.install(bundle, catalog)

    def tick(self) -> None:
        """Do what time demands: expiry, retention; call it now and then, such as once an hour."""
        self._core.tick()

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` after every change; return a function that ends that."""
        return self._core.subscribe(callback)

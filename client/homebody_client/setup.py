"""What an app gives a device once, and how the device's parts are made of it."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Final, Self

from homebody_client.bundles import read_public_key, trust_key
from homebody_client.keystores import KeyStore
from homebody_client.library import Library, Shelved
from homebody_client.light_dataclass import dataclass
from homebody_client.parts import Parts, open_parts
from homebody_client.profile import Profile
from homebody_client.serving.list_maker import ListMaker
from homebody_client.serving.rules import RuleBook
from homebody_client.serving.surfaces import SURFACES, Surface
from homebody_models.bundle import Trust
from homebody_privacy.errors import InvalidFileError

if TYPE_CHECKING:
    import numpy as np

    from homebody_client.features.spec import FeatureSpec

_NO_RULES: Final = RuleBook()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """What an app knows of its own places and products. Public.

    Attributes:
        surfaces: The places lists are for.
        fallback: Product ids to list where there is neither model nor catalog, best first.
        titles: Names shown to people where the catalog has none.
        rules: Rules of the app.
        features: What is computed of the person; None takes ``features.DEFAULT_SPECS``.
        accelerate: Let ONNX Runtime score where it is installed and gives the golden lists.
        rng: Randomness of exploration; drawn from the system where none is given.
    """

    surfaces: Mapping[str, Surface] = field(default_factory=lambda: SURFACES)
    fallback: Sequence[str] = ()
    titles: Mapping[str, str] = field(default_factory=dict)
    rules: RuleBook = _NO_RULES
    features: "Sequence[FeatureSpec] | None" = None
    accelerate: bool = False
    rng: "np.random.Generator | None" = field(repr=False, default=None)

    def accelerated(self, shelved: Shelved) -> tuple[Shelved, str]:
        """Return what serves on the engine the app asks for, and the name of that engine."""
        if not self.accelerate or shelved.bundle is None:
            return shelved, "numpy"
        from homebody_client.accelerate import accelerated  # noqa: PLC0415 only where asked for

        bundle, engine = accelerated(shelved.bundle)
        return replace(shelved, bundle=bundle), engine.name

    def lists(self, shelved: Shelved, sensitive_categories: Collection[str]) -> ListMaker:
        """Return what makes lists of a model and a catalog."""
        return ListMaker(
            shelved.bundle,
            shelved.catalog,
            self.fallback,
            titles=self.titles,
            surfaces=self.surfaces,
            rules=self.rules,
            sensitive_categories=sensitive_categories,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything a device is opened with; ``Device.open`` explains each.

    Attributes:
        profile: The profile, locked.
        trust: Keys a model or catalog is accepted from; None accepts none.
        config: The app's config; None goes by the profile's.
        bundle: A model on offer.
        catalog: A catalog on offer.
        passphrase: Seals the profile's key. Secret.
        keys: Where the profile's key is kept.
        shop: What the app knows.
        now: The clock, Unix seconds.
        problems: What could not be used of all this; for the app's log.
    """

    profile: Profile
    trust: Trust | None = None
    config: Path | None = None
    bundle: Path | None = None
    catalog: Path | None = None
    passphrase: str | None = field(repr=False, default=None)
    keys: KeyStore | None = field(repr=False, default=None)
    shop: Shop = field(default_factory=Shop)
    now: Callable[[], float] = time.time
    problems: tuple[str, ...] = ()

    def trusting(self, key: Path | None, *, floor_serial: int) -> Self:
        """Return the setup with the publisher's key: as shipped with the app, or the profile's.

        Raises:
            InvalidFileError: If the app's is no key. The profile's own is a problem, no more.
        """
        if key is not None:
            return replace(self, trust=trust_key(read_public_key(key), floor_serial=floor_serial))
        if not self.profile.publisher.exists():
            return self
        try:
            return self.trusting(self.profile.publisher, floor_serial=floor_serial)
        except InvalidFileError as error:
            return replace(self, problems=(*self.problems, str(error)))

    @property
    def config_file(self) -> Path:
        """The config in force."""
        return self.config or self.profile.config

    def open_parts(self, lock: RLock) -> Parts:
        """Open what can be opened; raises as ``parts.open_parts``."""
        return open_parts(
            self.profile,
            lock=lock,
            config=self.config_file,
            now=self.now,
            keys=self.keys,
            passphrase=self.passphrase,
        )

    def library(self, parts: Parts) -> Library:
        """Return the models and catalogs of the profile."""
        return Library(self.profile.folder, parts.vault, self.trust)

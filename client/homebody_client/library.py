"""The public things a device serves with: its model and its catalog, verified and activated."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import field, replace
from pathlib import Path
from typing import Final, Protocol, TypeVar, cast

from homebody_client.activation import BundleHome, CatalogHome
from homebody_client.activation_state import Active, Kind, State
from homebody_client.light_dataclass import dataclass
from homebody_client.vault import Json, Vault
from homebody_models.bundle import BundleError, ModelBundle, Trust, open_bundle
from homebody_models.catalog import CatalogError, ItemCatalog, open_catalog
from homebody_privacy.errors import HomebodyError, IntegrityError, InvalidFileError

_BUNDLES: Final = "bundles"
_CATALOGS: Final = "catalogs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelved:
    """What is there to serve with. Public.

    Attributes:
        bundle: The model; None without one.
        catalog: The catalog; None without one.
        problems: Why something offered or in use was refused.
    """

    bundle: ModelBundle | None = field(repr=False, default=None)
    catalog: ItemCatalog | None = field(repr=False, default=None)
    problems: tuple[str, ...] = ()


class Library:
    """Models and catalogs of one profile.

    Args:
        folder: The profile.
        vault: Keeps which is in use, and how far serials have come; None if it cannot be opened:
            then what the app names is verified and served, and nothing is activated.
        trust: Keys, threshold and floor pinned in the app; None trusts nobody: no model.
    """

    __slots__ = ("_folder", "_trust", "_vault")

    def __init__(self, folder: Path, vault: Vault | None, trust: Trust | None) -> None:
        """Keep where things are; nothing is read yet."""
        self._folder = folder
        self._vault = vault
        self._trust = trust

    def install_bundle(self, source: Path, *, now: int) -> ModelBundle:
        """Verify a model and take it into use.

        Raises:
            IntegrityError: If it is refused; the model in use stays.
            InvalidFileError: If there is none, or it cannot be stored.
        """
        return self._bundles().install(source, now=now)

    def install_catalog(self, source: Path, *, now: int) -> ItemCatalog:
        """Verify a catalog and take it into use; raises as ``install_bundle``."""
        return self._catalogs().install(source, now=now)

    def open(self, *, bundle: Path | None, catalog: Path | None, now: int) -> Shelved:
        """Take what the app names into use if it is newer, and return what serves.

        Whatever is refused, what was in use serves on, and the problem is named.
        """
        problems: list[str] = []
        if self._trust is None:
            if bundle is not None or catalog is not None:
                problems.append("a model or catalog was named, but no publisher's key is pinned")
            return Shelved(problems=tuple(problems))
        if self._vault is None:
            return self._unrecorded(bundle, catalog, self._trust, now)
        bundles, catalogs = self._bundles(), self._catalogs()
        self._recover(bundles, _BUNDLES, now)
        self._recover(catalogs, _CATALOGS, now)
        model = _tried(bundle, lambda path: bundles.install(path, now=now), problems)
        items = _tried(catalog, lambda path: catalogs.install(path, now=now), problems)
        return Shelved(
            bundle=model or _serving(bundles, now, problems),
            catalog=items or _serving(catalogs, now, problems),
            problems=tuple(problems),
        )

    def _unrecorded(
        self, bundle: Path | None, catalog: Path | None, trust: Trust, now: int
    ) -> Shelved:
        """Return what can be verified where nothing says what is in use: the newest there is."""
        problems: list[str] = []
        models = [
            _tried(bundle, lambda path: open_bundle(path, trust, now=now), problems),
            *(
                _tried(stored, lambda path: open_bundle(path, trust, now=now, active=True), [])
                for stored in self._stored(_BUNDLES)
            ),
        ]
        catalogs = [
            _tried(catalog, lambda path: open_catalog(path, trust), problems),
            *(
                _tried(stored, lambda path: open_catalog(path, trust), [])
                for stored in self._stored(_CATALOGS)
            ),
        ]
        return Shelved(
            bundle=max(
                filter(None, models), key=lambda one: one.manifest.facts.serial, default=None
            ),
            catalog=max(filter(None, catalogs), key=lambda one: one.version, default=None),
            problems=tuple(problems),
        )

    def _recover(self, home: BundleHome | CatalogHome, name: str, now: int) -> None:
        """Take what is stored into use again where nothing says so: the vault was lost."""
        with suppress(HomebodyError):
            if home.entry() is None:
                for stored in self._stored(name):
                    _tried(stored, lambda path: home.install(path, now=now), [])

    def _stored(self, name: str) -> list[Path]:
        folder = self._folder / name
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def _bundles(self) -> BundleHome:
        read, write = self._kept(_BUNDLES)
        return BundleHome(
            self._folder / _BUNDLES, self._pinned(), read_state=read, write_state=write
        )

    def _catalogs(self) -> CatalogHome:
        read, write = self._kept(_CATALOGS)
        return CatalogHome(
            self._folder / _CATALOGS,
            replace(self._pinned(), floor_serial=0),  # the floor is one of models
            read_state=read,
            write_state=write,
        )

    def _pinned(self) -> Trust:
        if self._trust is None:
            raise InvalidFileError(
                "no publisher's key is pinned: a model or catalog cannot be verified",
                fix="name the publisher's public key",
            )
        return self._trust

    def _kept(self, name: str) -> tuple[Callable[[], State | None], Callable[[State], None]]:
        vault = self._vault
        if vault is None:
            raise IntegrityError(
                "the vault cannot be opened: what is in use cannot be recorded",
                fix="erase the device, or bring its state folder back",
            )

        def read() -> State | None:
            value = vault.value(name)
            return value if isinstance(value, Mapping) else None

        def write(state: State) -> None:
            vault.change({name: cast("Json", state)})

        return read, write


Content = TypeVar("Content")


class _Serves(Protocol[Kind]):
    def active(self, *, now: int) -> Active[Kind]: ...


def _tried(
    path: Path | None, use: Callable[[Path], Content], problems: list[str]
) -> Content | None:
    """Return what ``use`` makes of a path; None, and a problem noted, if it is refused."""
    if path is None:
        return None
    try:
        return use(path)
    except (HomebodyError, BundleError, CatalogError) as error:
        problems.append(str(error))
        return None


def _serving(home: _Serves[Kind], now: int, problems: list[str]) -> Kind | None:
    """Return what is in use, or the one before it."""
    try:
        active = home.active(now=now)
    except HomebodyError as error:
        problems.append(str(error))
        return None
    if active.problem:
        problems.append(active.problem)
    return active.content

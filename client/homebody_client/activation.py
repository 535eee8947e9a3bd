"""Take a new model or catalog into use, in one step that a crash cannot halve.

A signed folder is verified where it lies, copied beside the others, put on disk, verified again and
renamed to its digest. Then one durable write moves the pointer and the serial together. Killed at
any step, a device serves what it served before. What is neither in use nor the one before is
removed, so two of a kind are on disk at most.

The state is kept by the caller, in one place with the device's keys and outside its backups: who
puts the profile of last month back does not put last month's model back.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, Generic

from homebody_client.activation_state import Active, Entry, Found, Kind, State
from homebody_models.bundle import (
    BundleError,
    Installed,
    ModelBundle,
    Trust,
    check_serial,
    open_bundle,
)
from homebody_models.bundle_writer import MANIFEST, SIGNATURES
from homebody_models.catalog import (
    CATALOG,
    CATALOG_SIGNATURES,
    CatalogError,
    ItemCatalog,
    check_version,
    open_catalog,
)
from homebody_models.folder_files import read_bounded
from homebody_models.manifest import LARGEST_FILE
from homebody_privacy.durable import sync_folder
from homebody_privacy.errors import IntegrityError, InvalidFileError

_HALF: Final = ".new-"


class _Home(Generic[Kind]):
    """Folders of one kind, by digest, and the pointer to the one in use.

    One caller at a time, under the device's lock.

    Args:
        folder: Where the folders are; made at the first use.
        trust: Keys, threshold and floor pinned in the app build; its ``installed`` is not used.
        read_state: Returns what ``write_state`` wrote last; None at first.
        write_state: Keeps the state, durably and in one step.
        line: The only line this app accepts (``model_id``); None for that of the first one.
    """

    kind: str

    def __init__(
        self,
        folder: Path,
        trust: Trust,
        *,
        read_state: Callable[[], State | None],
        write_state: Callable[[State], None],
        line: str | None = None,
    ) -> None:
        """Keep where things are; nothing is read yet."""
        self._folder = folder
        self._trust = replace(trust, installed=None)
        self._read_state = read_state
        self._write_state = write_state
        self._line = line

    def install(self, source: Path, *, now: int) -> Kind:
        """Verify a signed folder and take it into use.

        Args:
            source: The folder, as it was fetched. Not trusted; left as it is.
            now: Unix seconds in force on the device.

        Returns:
            The model or catalog, ready to serve with. What was derived from the one before
            (caches, reasons, a user vector) is to be dropped.

        Raises:
            InvalidFileError: If there is no such folder, or it cannot be stored.
            IntegrityError: If any check fails, it is of another line, older than the one in use or
                below the floor. What was in use stays in use.
        """
        content = self._verify(source, now)
        entries = self._entries()
        line, digest = self._facts(content)
        self._check_line(line, entries)
        entry = entries.get(line)
        self._check_state(content, entry)
        try:
            content = self._store(source, content, now)
        except (OSError, ValueError) as error:
            raise InvalidFileError(
                f"{self._folder}: the new {self.kind} cannot be stored: {error}",
                fix="free some space and try again; the old one stays in use",
            ) from error
        if entry is None or entry.digest != digest:
            entry = self._next(content, entry, now)
            self._write_state({name: e.to_json() for name, e in {**entries, line: entry}.items()})
        self._sweep(entry)
        return content

    def active(self, *, now: int) -> Active[Kind]:
        """Return what to serve with: the one in use, or else the one before it.

        Every check is made again but that of the expiry: past it a model serves on, ``stale``.

        Raises:
            IntegrityError: If the state is not what was written.
        """
        entries = self._entries()
        line = self._line if self._line is not None else next(iter(entries), None)
        entry = entries.get(line) if line is not None else None
        if entry is None:
            return Active(content=None, found="none")
        problem = ""
        sources: list[tuple[str, Found]] = [(entry.digest, "active"), (entry.previous, "previous")]
        for digest, found in sources:
            if digest:
                try:
                    return Active(
                        content=self._again(digest, entry, now), found=found, problem=problem
                    )
                except (IntegrityError, InvalidFileError) as error:
                    problem = problem or str(error)
        return Active(content=None, found="none", problem=problem)

    def entry(self) -> Entry | None:
        """Return what is recorded as in use; None if nothing is."""
        entries = self._entries()
        line = self._line if self._line is not None else next(iter(entries), None)
        return entries.get(line) if line is not None else None

    def _entries(self) -> dict[str, Entry]:
        state = self._read_state() or {}
        return {line: Entry.from_json(value) for line, value in state.items()}

    def _check_line(self, line: str, entries: Mapping[str, Entry]) -> None:
        wanted = self._line if self._line is not None else next(iter(entries), line)
        if line != wanted:
            raise IntegrityError(
                f"this {self.kind} is of another line than the one in use",
                fix="only an app build that names the new line may change it",
            )

    def _again(self, digest: str, entry: Entry, now: int) -> Kind:
        """Open what is on disk, as what the state says it is."""
        trust = replace(self._trust, floor_serial=max(self._trust.floor_serial, entry.floor))
        content = self._open(self._folder / digest, trust, now, active=True)
        if self._facts(content)[1] != digest:
            raise IntegrityError(f"{self._folder / digest}: it is not the one in use")
        return content

    def _verify(self, source: Path, now: int) -> Kind:
        if not source.is_dir():
            raise InvalidFileError(
                f"{source}: there is no {self.kind} here", fix=f"name the folder of a {self.kind}"
            )
        return self._open(source, self._trust, now, active=False)

    def _store(self, source: Path, content: Kind, now: int) -> Kind:
        """Copy what was verified and return it as read again from where it will stay."""
        import shutil  # noqa: PLC0415 what serves already is only read
        import tempfile  # noqa: PLC0415

        digest = self._facts(content)[1]
        target = self._folder / digest
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if target.exists():
            try:
                return self._open(target, self._trust, now, active=True)
            except IntegrityError:
                shutil.rmtree(target)  # damaged since: the copy below takes its place
        half = Path(tempfile.mkdtemp(prefix=_HALF, dir=self._folder))
        try:
            for name in self._names(content):
                _copy(source / name, half / name)
            sync_folder(half)
            copied = self._open(half, self._trust, now, active=False)
            if self._facts(copied)[1] != digest:
                raise IntegrityError(f"{source}: it changed while it was copied")
            half.rename(target)
            sync_folder(self._folder)
        finally:
            shutil.rmtree(half, ignore_errors=True)  # gone already once it was renamed
        return copied

    def _sweep(self, entry: Entry) -> None:
        """Remove what is neither in use nor the one before."""
        import shutil  # noqa: PLC0415 as in ``_store``

        for path in self._folder.iterdir():
            if path.name not in {entry.digest, entry.previous}:
                shutil.rmtree(path, ignore_errors=True)

    def _facts(self, content: Kind) -> tuple[str, str]:
        """Return line and digest."""
        raise NotImplementedError

    def _names(self, content: Kind) -> Iterable[str]:
        """Return the names of all files."""
        raise NotImplementedError

    def _open(self, folder: Path, trust: Trust, now: int, *, active: bool) -> Kind:
        """Verify a folder; raise ``IntegrityError``."""
        raise NotImplementedError

    def _check_state(self, content: Kind, entry: Entry | None) -> None:
        """Refuse what is older than the one in use, or below the floor."""
        raise NotImplementedError

    def _floor(self, content: Kind) -> int:
        """Return the least serial this one leaves a way back to."""
        raise NotImplementedError

    def _serial(self, content: Kind) -> int:
        raise NotImplementedError

    def _next(self, content: Kind, entry: Entry | None, now: int) -> Entry:
        """Return what is in use once this one is; what serves now is the way back."""
        serving = self.active(now=now).content if entry is not None else None
        return Entry(
            digest=self._facts(content)[1],
            serial=self._serial(content),
            floor=max(self._floor(content), 0 if entry is None else entry.floor),
            previous="" if serving is None else self._facts(serving)[1],
        )

    def _trusted(self, entry: Entry | None) -> Trust:
        if entry is None:
            return self._trust
        return replace(
            self._trust,
            floor_serial=max(self._trust.floor_serial, entry.floor),
            installed=Installed(entry.serial, entry.digest),
        )


class BundleHome(_Home[ModelBundle]):
    """The models of a device: the one in use and the one before."""

    kind = "model bundle"

    def _facts(self, content: ModelBundle) -> tuple[str, str]:
        return content.manifest.facts.model_id, content.digest

    def _names(self, content: ModelBundle) -> Iterable[str]:
        return (MANIFEST, SIGNATURES, *content.manifest.files)

    def _open(self, folder: Path, trust: Trust, now: int, *, active: bool) -> ModelBundle:
        try:
            return open_bundle(folder, trust, now=now, active=active)
        except BundleError as error:
            raise IntegrityError(f"{folder}: {error}") from error

    def _check_state(self, content: ModelBundle, entry: Entry | None) -> None:
        try:
            check_serial(content.manifest.facts, content.digest, self._trusted(entry))
        except ValueError as error:
            raise IntegrityError(
                f"the model bundle is refused: {error}", fix="keep the model in use"
            ) from error

    def _serial(self, content: ModelBundle) -> int:
        return content.manifest.facts.serial

    def _floor(self, content: ModelBundle) -> int:
        return content.manifest.facts.min_serial


class CatalogHome(_Home[ItemCatalog]):
    """The catalogs of a device: the one in use and the one before."""

    kind = "catalog"

    def _facts(self, content: ItemCatalog) -> tuple[str, str]:
        return content.columns.catalog_id, content.digest

    def _names(self, content: ItemCatalog) -> Iterable[str]:  # noqa: ARG002 the same of all
        return (CATALOG, CATALOG_SIGNATURES)

    def _open(self, folder: Path, trust: Trust, now: int, *, active: bool) -> ItemCatalog:  # noqa: ARG002 a catalog does not expire
        try:
            return open_catalog(folder, trust)
        except CatalogError as error:
            raise IntegrityError(f"{folder}: {error}") from error

    def _check_state(self, content: ItemCatalog, entry: Entry | None) -> None:
        try:
            check_version(content.version, content.digest, self._trusted(entry))
        except ValueError as error:
            raise IntegrityError(
                f"the catalog is refused: {error}", fix="keep the catalog in use"
            ) from error

    def _serial(self, content: ItemCatalog) -> int:
        return content.version

    def _floor(self, content: ItemCatalog) -> int:  # noqa: ARG002 versions only rise
        return 0


def _copy(source: Path, target: Path) -> None:
    """Copy one file and wait until it is on disk; what came along is checked afterwards."""
    content = read_bounded(source, LARGEST_FILE)
    with target.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())

"""The parts of an open device, and how each comes up, or does not, at a start.

A device always opens. What cannot be trusted stays shut: without its vault a device knows no
consent and keeps nothing; without its store it keeps nothing; without a config everything is shut.
It can still show the list for all, and it can be erased and begun anew.
"""

from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from threading import RLock
from typing import Final

from homebody_client.config_file import read_config
from homebody_client.consent.book import ConsentBook
from homebody_client.consent.egress import EgressLog
from homebody_client.consent.gates import Gates
from homebody_client.keystores import KeyStore, best_key_store
from homebody_client.light_dataclass import dataclass
from homebody_client.owner import OWNER
from homebody_client.profile import Profile
from homebody_client.shut_book import ShutBook
from homebody_client.store import Store
from homebody_client.vault import Vault
from homebody_privacy.errors import HomebodyError, IntegrityError, InvalidFileError

DEDUPE: Final = "dedupe"
STORE_UNREADABLE: Final = "store-unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What an open device is made of.

    Attributes:
        profile: Its folders.
        lock: Held during each call of each part.
        vault: Its keys; None if they cannot be opened.
        store: Its rows; None if they cannot be read.
        book: Its consent; everything is shut where vault or store are None.
        gates: Its gates; None without a vault.
        egress: What left.
        problems: Why a part is missing or a file was refused; for the app's log.
    """

    profile: Profile
    lock: RLock = field(repr=False)
    vault: Vault | None = field(repr=False)
    store: Store | None = field(repr=False)
    book: ConsentBook | ShutBook = field(repr=False)
    gates: Gates | None = field(repr=False)
    egress: EgressLog = field(repr=False)
    problems: tuple[str, ...] = ()

    def close(self) -> None:
        """Put book and store away; the profile stays locked."""
        try:
            if isinstance(self.book, ConsentBook):
                self.book.close()
        finally:
            if self.store is not None:
                self.store.close()


def open_parts(
    profile: Profile,
    *,
    config: Path,
    now: Callable[[], float],
    lock: RLock,
    keys: KeyStore | None = None,
    passphrase: str | None = None,
) -> Parts:
    """Open what can be opened.

    Args:
        profile: The profile, locked.
        config: Its ``privacy.toml``.
        now: The clock, Unix seconds.
        lock: Held during each call of each part.
        keys: Where the key of the vault is kept; None takes the best there is.
        passphrase: Seals that key where the system keeps none.

    Raises:
        UsageError: If the pass phrase is wrong, or a file cannot be read or written now: nothing
            is damaged, and nothing is opened.
    """
    egress, problems = EgressLog(profile.egress), list[str]()
    if profile.store.exists() and not profile.vault.exists():  # if its key is there, more is said
        problems.append(f"{profile.vault}: it is not there, and what it opened is lost")
    try:
        place = keys or best_key_store(profile.state, profile.identity, passphrase=passphrase)
        vault = Vault.open(profile.vault, place)
    except (IntegrityError, InvalidFileError) as error:  # damaged, or others had rights to its key
        return Parts(
            profile=profile,
            lock=lock,
            vault=None,
            store=None,
            book=ShutBook(),
            gates=None,
            egress=egress,
            problems=(str(error),),
        )
    found = read_config(config, vault)
    if found.problem:
        problems.append(found.problem)
    store = _store(profile, vault, problems)

    def open_book(readable: Store | None) -> ConsentBook:
        return ConsentBook.open(
            terms=found.terms,
            vault=vault,
            store=readable,
            receipts=profile.receipts,
            lock=lock,
            now=now,
        )

    book, store = _book(open_book, store, problems)
    if isinstance(book, ConsentBook) and book.keeper.state.broken_at is not None:
        problems.append(f"{profile.receipts}: not what the vault vouches for: all is shut")
    return Parts(
        profile=profile,
        lock=lock,
        vault=vault,
        store=store,
        book=book,
        gates=Gates(book, egress) if isinstance(book, ConsentBook) else None,
        egress=egress,
        problems=tuple(problems),
    )


def _store(profile: Profile, vault: Vault, problems: list[str]) -> Store | None:
    if vault.key(DEDUPE) is None:
        vault.change(new_keys=(DEDUPE,))
    if vault.value(OWNER) is not None and not profile.store.exists():
        problems.append(f"{profile.store}: it is gone, and the rows in it")
    try:
        return Store.open(profile.store, dedupe_key=vault.key(DEDUPE) or b"")
    except HomebodyError as error:
        problems.append(str(error))
        return None


def _book(
    open_book: Callable[[Store | None], ConsentBook], store: Store | None, problems: list[str]
) -> tuple[ConsentBook | ShutBook, Store | None]:
    """Open the book: without the store if that is damaged, not at all if consent itself is."""
    try:
        return open_book(store), store
    except IntegrityError as error:
        problems.append(str(error))
    if store is None:
        return ShutBook(), None
    store.close()
    return _book(open_book, None, problems)

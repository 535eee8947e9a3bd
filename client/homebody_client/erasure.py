"""Erase a person (GDPR Art. 17): what is whole is emptied, what is damaged is begun anew.

Receipts, the rounds joined and the record of what left stay: they hold no behaviour.
"""

from typing import Final

from homebody_client.consent.book import ConsentBook
from homebody_client.consent.receipt_file import ReceiptFile
from homebody_client.consent.state import COMMITMENT
from homebody_client.keystores import KeyStore, forget_keys
from homebody_client.owner import OWNER, PSEUDONYM
from homebody_client.parts import DEDUPE, Parts
from homebody_client.vault import Vault
from homebody_privacy.durable import sync_folder
from homebody_privacy.errors import IntegrityError

STRENGTH: Final = "strength"
"""How personal the person wants lists, in the vault."""


def erase(parts: Parts) -> bool:
    """Withdraw everything, and empty vault and store of the person.

    Returns:
        Whether the parts may be used on. False: one of them is missing or damaged, and
        ``begin_anew`` has to finish.
    """
    if not isinstance(parts.book, ConsentBook):
        return False
    try:
        parts.book.erase()
    except IntegrityError:  # the store: its keys are gone already, and its file goes next
        return False
    if parts.vault is None or parts.store is None:
        return False
    _forget_person(parts.vault)
    parts.store.tag_with(parts.vault.key(DEDUPE) or b"")
    return True


def begin_anew(parts: Parts, keys: KeyStore | None) -> None:
    """Destroy what could not be emptied, so that the next opening starts from nothing.

    Receipts without the vault that vouches for them are set aside, not destroyed.

    Args:
        parts: The parts; of no use afterwards.
        keys: Where the key of the vault is kept; None for the best place there is.
    """
    import shutil  # noqa: PLC0415 seldom needed, and not to rank

    profile = parts.profile
    if parts.store is not None:
        parts.store.close()
    for path in profile.folder.glob(f"{profile.store.name}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    sync_folder(profile.folder)
    if isinstance(parts.book, ConsentBook) and parts.vault is not None:
        _forget_person(parts.vault)
        return
    if keys is not None:
        keys.erase()
    forget_keys(profile.state, profile.identity)
    ReceiptFile(profile.receipts).set_aside()


def _forget_person(vault: Vault) -> None:
    """Forget who it was: what old copies of the store or a server's proofs hold is of nobody."""
    vault.change(
        {OWNER: None, STRENGTH: None}, drop_keys=(PSEUDONYM, COMMITMENT), new_keys=(DEDUPE,)
    )

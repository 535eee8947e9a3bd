"""Whose profile it is.

The person's id is never kept. The first event binds the profile: a keyed hash of the id goes into
the vault, and from then on an event of somebody else is refused.
"""

import hmac
from typing import Final

from homebody_client.vault import Vault
from homebody_privacy.errors import PolicyViolationError

OWNER: Final = "owner"
PSEUDONYM: Final = "pseudonym"
_LABEL: Final = b"homebody/pseudonym/v1\0"


class Owner:
    """Whose profile it is, by a keyed hash that is of no use without the vault.

    Args:
        vault: Keeps key and hash.
    """

    __slots__ = ("_hash", "_vault")

    def __init__(self, vault: Vault) -> None:
        """Read who is known."""
        self._vault = vault
        self._hash = vault.value(OWNER)

    def is_(self, user_id: str) -> bool:
        """Return whether the profile is this person's; one that met nobody is anyone's."""
        return self._hash is None or self._hash == self._pseudonym(user_id)

    def meet(self, user_id: str) -> None:
        """Bind the profile to a person, or refuse.

        Raises:
            PolicyViolationError: If it is somebody else's.
        """
        if self._hash is None:
            if self._vault.key(PSEUDONYM) is None:
                self._vault.change(new_keys=(PSEUDONYM,))
            self._hash = self._pseudonym(user_id)
            self._vault.change({OWNER: self._hash})
        elif self._hash != self._pseudonym(user_id):
            raise PolicyViolationError(
                "the event is of another person than this profile",
                fix="open a profile for each person",
            )

    def _pseudonym(self, user_id: str) -> str:
        key = self._vault.key(PSEUDONYM) or b""
        message = _LABEL + user_id.encode("utf-8", "surrogatepass")
        return hmac.digest(key, message, "sha256").hex()

"""A run's ledger in its folder, real from the first entry, and what its server would show of it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from homebody_privacy.charges import GaussianReleases
from homebody_privacy.checkpoint import ledger_key
from homebody_privacy.ledger import Ledger
from homebody_privacy.ledger_entries import ConfigApproved, Header
from homebody_privacy.note import COSIGNATURE, VerifierKey, cosign_note
from homebody_privacy.signing import SigningKey
from homebody_server.run_folder import RunFolder
from homebody_server.secure.shown import LedgerWindow

_OPEN: list[Ledger] = []


def close_books() -> None:
    """Close every ledger that is open still."""
    while _OPEN:
        _OPEN.pop().close()


class Book:
    """The ledger of a run that was approved, and paid for at once."""

    def __init__(
        self,
        runs: Path,
        *,
        config: str,
        app: str,
        name: str = "autumn",
        witness: tuple[str, SigningKey] | None = None,
    ) -> None:
        """Begin the ledger, enter the approval and the charge of the run, and let it be seen."""
        self.folder = RunFolder(runs / name)
        self.folder.path.mkdir(parents=True)
        self._key = ledger_key(runs)
        header = Header(
            run=name, population="0d" * 32, devices=12, delta=1e-5, ceiling=2.0, config=config
        )
        self.ledger = Ledger.create(self.folder.ledger_file, header, signer=self._key)
        _OPEN.append(self.ledger)
        self.ledger.enter(ConfigApproved(config=config, app=app, keys=["0e" * 32]))
        self.buy("run")
        self._witness = witness
        if witness is not None:
            self.cosign()

    def buy(self, name: str) -> None:
        """Charge something that is no round."""
        self.ledger.purchase(name, GaussianReleases(noise_multiplier=60.0, releases=1))

    def open(self, number: int) -> None:
        """Charge a round; the one before it is void."""
        if number > 1:
            self.ledger.void(number - 1, "too-few-devices")
        self.ledger.intend(number, None)

    def cosign(self) -> None:
        """Let the witness see where the ledger stands."""
        assert self._witness is not None
        name, key = self._witness
        self.ledger.checkpoint()
        file = self.folder.checkpoint_file
        file.write_text(cosign_note(file.read_text("utf-8"), name, key, 1_800_000_000), "utf-8")

    @property
    def window(self) -> LedgerWindow:
        """What the server looks through."""
        keys = None
        if self._witness is not None:
            keys = (VerifierKey(self._witness[0], self._witness[1].public, COSIGNATURE),)
        return LedgerWindow(folder=self.folder, signer=self._key, witnesses=keys)

    @property
    def key_line(self) -> str:
        """How nodes know the ledger's key."""
        return self.window.key_line

    def shown(self, charge: str, sizes: Iterable[int] = ()) -> Mapping[str, Any]:
        """Return what a node is shown that may have kept checkpoints of these sizes."""
        return self.window.show(charge).to(sizes)

"""Put what a fleet or node relies on into its folder: whose signatures count, and its own floor.

They come from the machine's own operator and never from a server: a list of reviewers that came
with a config would let the config approve itself.
"""

from pathlib import Path
from typing import Final

from homebody_privacy.approval.reviewers import ReviewerKeys
from homebody_privacy.durable import write_durably
from homebody_privacy.errors import InvalidFileError
from homebody_privacy.policy_floor import PolicyFloor

REVIEWERS: Final = "reviewers.toml"
"""Name of the pinned reviewers' keys, in the folder of a fleet or node."""

FLOOR: Final = "floor.toml"
"""Name of the floor in a node's folder."""


def check_pins(reviewers: Path | None, floor: Path | None) -> None:
    """Refuse files that are none, before anything is written.

    Raises:
        InvalidFileError: If one is missing or invalid.
    """
    if reviewers is not None:
        ReviewerKeys.load(reviewers)
    if floor is not None:
        if not floor.exists():
            raise InvalidFileError(f"{floor}: there is no such file", fix="name a floor.toml")
        PolicyFloor.load(floor)


def pin(folder: Path, *, reviewers: Path | None = None, floor: Path | None = None) -> None:
    """Copy what is named into a folder, in the place of what was pinned there before.

    Args:
        folder: Of a fleet or a node.
        reviewers: File of reviewers' keys; None leaves what is there.
        floor: A node's floor; None leaves what is there.

    Raises:
        InvalidFileError: If one is missing or invalid.
    """
    check_pins(reviewers, floor)
    for source, name in ((reviewers, REVIEWERS), (floor, FLOOR)):
        if source is not None:
            write_durably(folder / name, source.read_bytes(), mode=0o600)

"""The folder of a device that joins rounds, for the tests of its store; also as a process."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from homebody_client.participation import Allowance
from homebody_client.participation_store import ParticipationStore
from homebody_privacy.anchor import AnchorBook

Process = subprocess.Popen[str]
MODEL, OTHER = "d" * 64, "e" * 64
RULES = Allowance(
    run="autumn",
    rounds=1000,
    min_separation=10,
    max_rounds=4,
    loss_per_run=0.0,
    loss_per_join=0.25,
    delta=1e-5,
    epsilon_max=8.0,
)
FREE = replace(RULES, rounds=10**6, min_separation=1, max_rounds=10**6, epsilon_max=None)
_DEVICE = """
import os, signal, sys
from pathlib import Path
from homebody_client.participation import Allowance
from homebody_client.participation_store import ParticipationStore
from homebody_privacy.anchor import AnchorBook

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

folder, moment, device, first, last = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
rules = Allowance(run="autumn", rounds=10**6, min_separation=1, max_rounds=10**6,
    loss_per_run=0.0, loss_per_join=0.25, delta=1e-5, epsilon_max=None)
store = ParticipationStore.open(folder / "joins.db", anchors=AnchorBook.open(folder / "anchors"))
insert = ParticipationStore._insert
if moment == "before the commit":
    ParticipationStore._insert = lambda self, joins: (insert(self, joins), die())
if moment == "before the anchor":
    AnchorBook.advance = die
for number in range(first, last):
    store.admit(device, rules, number)
    if moment == "after admission":
        die()
    store.record(device, rules, number, "d" * 64)
    print(number, flush=True)
    if moment == "after the record":
        die()
"""


class Home:
    """A device's folder, with the anchors beside what a backup covers."""

    def __init__(self, folder: Path) -> None:
        """Name the two places."""
        self.folder = folder
        self.path = folder / "joins.db"

    def open(self) -> ParticipationStore:
        """Open the store as the app does at each start."""
        return ParticipationStore.open(self.path, anchors=self.book())

    def book(self) -> AnchorBook:
        """Open the anchors."""
        return AnchorBook.open(self.folder / "anchors")

    def join(self, *numbers: int, device: int = 0, rules: Allowance = RULES) -> None:
        """Join these rounds, with a restart before each."""
        for number in numbers:
            with self.open() as store:
                store.admit(device, rules, number)
                store.record(device, rules, number, MODEL)

    def process(self, moment: str, first: int, last: int, device: int = 0) -> "Process":
        """Start a device in a process of its own, which kills itself at a moment."""
        numbers = map(str, (device, first, last))
        command = [sys.executable, "-c", _DEVICE, str(self.folder), moment, *numbers]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

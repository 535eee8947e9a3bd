"""See what a server app in another process releases: its run's folder is read again and again."""

import numpy as np

from homebody_server.rounds import Observer
from homebody_server.run_folder import RunFolder


class Watch:
    """Tells an observer of each release that appears in a run's folder, from now on.

    Args:
        folder: The run.
        observe: Called with round and released model; round 0 is that of the statistics.
    """

    def __init__(self, folder: RunFolder, observe: Observer) -> None:
        """Take what is there already as seen."""
        self._folder = folder
        self._observe = observe
        self._started = folder.start_file.exists()
        self._seen = folder.load_state().next_round

    def look(self) -> None:
        """Tell of the releases since the last look; of several rounds, of the latest."""
        if not self._started and self._folder.start_file.exists():
            self._started = True
            self._observe(0, np.load(self._folder.start_file, allow_pickle=False))
        state = self._folder.load_state()
        if state.next_round > self._seen:
            self._seen = state.next_round
            self._observe(state.next_round - 1, state.parameters)

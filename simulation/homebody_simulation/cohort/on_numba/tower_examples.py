"""What a tower's device trains on: which events it predicts, and the windows before them.

The windows of one device share most of their items. So its distinct items are listed once, each
with its weight in each window, in order of their first appearance.
"""

import numpy as np
import numpy.typing as npt

from homebody_models.draws import FIRST, SECOND, STEP
from homebody_simulation.cohort.compiled import inner

_WORD = 0xFFFFFFFF
_FIRST, _SECOND, _STEP = FIRST, SECOND, STEP  # constants of compiled code

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]


@inner
def choose(device: tuple[int, int, bool], windows: int, words: Longs, positions: Longs) -> None:
    """Write the events that a device predicts, ascending; nothing comes before the first.

    Args:
        device: Key of its draws, its events, and whether it predicts the newest of them, or those
            of ``Draws(key).subset(events - 1, windows)``, counted from the second.
        windows: How many it predicts, fewer than its events.
        words: Room for as many words.
        positions: Receives them.
    """
    key, events, newest = device
    if newest or windows == events - 1:
        for window in range(windows):
            positions[window] = events - windows + window
        return
    held = 0
    for event in range(1, events):
        word = (key + (event - 1) * _STEP) & _WORD
        word ^= word >> 16
        word = (word * _FIRST) & _WORD
        word ^= word >> 15
        word = (word * _SECOND) & _WORD
        word ^= word >> 16
        if held < windows:
            held += 1
        elif word >= words[windows - 1]:  # of equal words the smaller number came first
            continue
        place = held - 1
        while place > 0 and words[place - 1] > word:
            words[place], positions[place] = words[place - 1], positions[place - 1]
            place -= 1
        words[place], positions[place] = word, event
    for window in range(1, windows):  # compiling numpy's sort would take longer than this ever does
        event, place = positions[window], window
        while place > 0 and positions[place - 1] > event:
            positions[place] = positions[place - 1]
            place -= 1
        positions[place] = event


@inner
def read_windows(
    history: npt.NDArray[np.int32],
    positions: Longs,
    windows: int,
    shares: Floats,
    slots: npt.NDArray[np.int32],
    items: npt.NDArray[np.int32],
    weights: Floats,
    first: int,
) -> int:
    """List the distinct items of the windows before ``positions``; return how many they are.

    Args:
        history: The device's events, oldest first. Secret.
        positions: What is predicted: window c ends before event ``positions[c]``.
        windows: How many they are.
        shares: float32 of shape ``(history_max + 1, history_max)``: row n has the weights of a
            window of n events, at its end.
        slots: -1 for each item of the catalog, before and after.
        items: Receives the items.
        weights: Receives in row t, from column ``first``, the weight of item t in each window; the
            rest of the row becomes 0.
        first: Column of the first window.
    """
    most, seen = shares.shape[1], 0
    for window in range(windows):
        stop = positions[window]
        length = min(stop, most)
        for event in range(length):
            item = history[stop - length + event]
            slot = slots[item]
            if slot < 0:
                slot = seen
                slots[item], items[seen] = slot, item
                for column in range(weights.shape[1]):
                    weights[seen, column] = 0.0
                seen += 1
            weights[slot, first + window] += shares[length, most - length + event]
    for slot in range(seen):
        slots[items[slot]] = -1
    return seen

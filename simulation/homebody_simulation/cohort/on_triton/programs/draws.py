"""The draws of ``homebody_models.draws`` on a GPU."""

import triton
import triton.language as tl


@triton.jit
def words(key, indices):
    """Return the uniform 32-bit word of each index; ``Draws.words``.

    Args:
        key: int32 with the bits of the device's key.
        indices: int32, not negative.
    """
    h = key.to(tl.uint32, bitcast=True) + indices.to(tl.uint32) * 0x9E3779B1
    h = h ^ (h >> 16)
    h = h * 0x7FEB352D
    h = h ^ (h >> 15)
    h = h * 0x846CA68B
    return h ^ (h >> 16)


@triton.jit
def choose_cuts(
    counts,
    keys,
    positions,
    cuts_of,
    CUTS: tl.constexpr,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Choose which events a device predicts: ``Draws.subset`` of its positions but the first.

    One program a device. It finds the least words one after another: CUTS are few.

    Args:
        counts: int32 ``(n,)``, events of each device.
        keys: int32 ``(n,)``, bits of each device's key.
        positions: int32 ``(n, PADDED)``, written: positions from 1, ascending.
        cuts_of: int32 ``(n,)``, written: how many there are.
        CUTS: Most positions.
        PADDED: Power of two, at least CUTS.
        BLOCK: Positions looked at at once, a power of two.
    """
    device = tl.program_id(0)
    room = tl.load(counts + device) - 1
    key = tl.load(keys + device)
    lane = tl.arange(0, PADDED)
    chosen = lane
    if room > CUTS:
        none = 0x7FFFFFFFFFFFFFFF
        last = tl.full((), -1, tl.int64)
        for place in range(CUTS):
            least = tl.full((BLOCK,), none, tl.int64)
            for start in range(0, room, BLOCK):
                index = start + tl.arange(0, BLOCK)
                # Of two with the same word the smaller number comes first.
                rank = (words(key, index).to(tl.int64) << 31) | index.to(tl.int64)
                rank = tl.where((index < room) & (rank > last), rank, none)
                least = tl.minimum(least, rank)
            last = tl.min(least, 0)
            chosen = tl.where(lane == place, (last & 0x7FFFFFFF).to(tl.int32), chosen)
    found = tl.maximum(tl.minimum(room, CUTS), 0)
    smaller = (chosen[None, :] < chosen[:, None]) & (lane[None, :] < found)
    place_of = tl.sum(smaller.to(tl.int32), 1)
    tl.store(positions + device * PADDED + place_of, chosen + 1, mask=lane < found)
    tl.store(cuts_of + device, found)

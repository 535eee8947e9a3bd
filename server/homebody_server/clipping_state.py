"""Where an adaptive clip norm stands: made of released shares alone."""

from dataclasses import dataclass, replace

from homebody_privacy.adaptive_clip import AdaptiveClip
from homebody_privacy.lattice import Lattice
from homebody_privacy.stream import NoiseStream


@dataclass(frozen=True, slots=True, kw_only=True)
class Clipping:
    """The clip norm of the next round. Public.

    Attributes:
        rule: How it moves.
        clip_norm: Its value now.
        bits: Binary digits of one clip norm on the lattice.
        share: Released share of the last round's updates within the clip norm; None before one.
    """

    rule: AdaptiveClip
    clip_norm: float
    bits: int
    share: float | None = None

    @property
    def lattice(self) -> Lattice:
        """The lattice of the next round's contributions."""
        return Lattice(clip_norm=self.clip_norm, bits=self.bits)

    def after(self, votes: int, stream: NoiseStream) -> "Clipping":
        """Release the round's share and return where the clip norm stands then.

        Args:
            votes: Sum of the votes of those who came. Secret.
            stream: Keystream of this use and round alone. Secret.
        """
        share = self.rule.released_share(votes, stream)
        return replace(self, clip_norm=self.rule.following(self.clip_norm, share), share=share)

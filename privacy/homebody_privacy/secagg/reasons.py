"""Why a node left a secure sum, and why a server gave one up: stable names, no detail.

A reason never says which node, which key or how many: it may go into a log and to the other side.
"""

from enum import StrEnum


class AbortReason(StrEnum):
    """Why a node left."""

    OUT_OF_STATE = "out-of-state"
    """A message of a leg that is over or not yet due, such as a second unmasking."""
    MALFORMED = "malformed"
    """Bytes that are no message of this leg: cut, too long, or not in canonical form."""
    BAD_CERTIFICATE = "bad-certificate"
    """A node in the roster that the authority did not vouch for."""
    BAD_SIGNATURE = "bad-signature"
    """A signature that is not its node's, over another session or other keys."""
    BAD_KEY = "bad-key"
    """A public key with which no secret can be agreed."""
    REPEATED_KEY = "repeated-key"
    """Two nodes, or both uses of one node, with the same key."""
    OWN_ADVERT = "own-advert"
    """This node is missing from the roster, or stands there with other keys."""
    PARAMETERS = "parameters"
    """Too few nodes, or no thresholds that keep this node's own bounds."""
    TOO_FEW_SHARED = "too-few-shared"
    """Fewer nodes shared than a quorum or this node's threshold needs."""
    BAD_SHARE = "bad-share"
    """A share that does not open: altered, of another session, another pair or direction."""
    OWN_ID = "own-id"
    """This node is missing from those who shared or survived."""
    CHANGED_PARTICIPANTS = "changed-participants"
    """Survivors and vanished together are not those who shared."""
    BOTH_LISTS = "both-lists"
    """A node that is to have survived and vanished: both its secrets would open."""
    TOO_FEW_SURVIVORS = "too-few-survivors"
    """Fewer vectors than the least sum or the quorum."""
    THIN_RING = "thin-ring"
    """So few survivors in one place of a sparse graph that the sum might fall in two."""
    QUORUM = "quorum"
    """Fewer valid signatures of survivors than the quorum."""
    CALLER = "caller"
    """The node's own software left: deadline, consent withdrawn, an older round."""


class VoidReason(StrEnum):
    """Why a server gave up."""

    TOO_FEW_ADVERTS = "too-few-adverts"
    """Fewer nodes than the least sum."""
    NO_PARAMETERS = "no-parameters"
    """No thresholds keep the promised bounds with this many nodes."""
    TOO_FEW_SHARED = "too-few-shared"
    """Fewer nodes shared than the quorum."""
    TOO_FEW_VECTORS = "too-few-vectors"
    """Fewer vectors than the least sum or the quorum."""
    THIN_RING = "thin-ring"
    """So few survivors in one place of a sparse graph that the sum might fall in two."""
    QUORUM = "quorum"
    """Fewer signatures of survivors than the quorum."""
    TOO_FEW_SHARES = "too-few-shares"
    """Fewer shares of some secret than its threshold."""
    WRONG_SHARES = "wrong-shares"
    """Shares that do not give back what their node committed to."""

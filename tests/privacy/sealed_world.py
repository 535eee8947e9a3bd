"""Fixed keys and contexts for the tests of sealing: a server, two nodes, an authority."""

from dataclasses import replace
from typing import Any, Final

from homebody_privacy.envelope import SealContext
from homebody_privacy.errors import SealRefusedError
from homebody_privacy.identity import NodeIdentity, RecipientKey
from homebody_privacy.legs import Step
from homebody_privacy.sealing import open_sealed, seal
from homebody_privacy.signing import SigningKey


def counted(start: int, size: int) -> bytes:
    """Return bytes that count up: a key that is easy to write down."""
    return bytes((start + at) % 256 for at in range(size))


AGGREGATOR: Final = SigningKey(counted(0x01, 32))
AUTHORITY: Final = SigningKey(counted(0x21, 32))
SERVER_KEY: Final = RecipientKey.from_bytes(counted(0x40, 96))
NODE: Final = NodeIdentity(
    signing=SigningKey(counted(0x81, 32)), recipient=RecipientKey.from_bytes(counted(0xA0, 96))
)
OTHER: Final = NodeIdentity(
    signing=SigningKey(counted(0x91, 32)), recipient=RecipientKey.from_bytes(counted(0xB0, 96))
)
MODEL_SHA256: Final = "d2" * 32
CONFIG_SHA256: Final = "c0" * 32
NOW: Final = 1_700_000_000
BODY: Final = b"the masked words of one node"


def context(**fields: Any) -> SealContext:  # noqa: ANN401 - one of the fields' types
    """Return the context of an update of ``NODE``; any field may be given."""
    usual = SealContext(
        run="autumn",
        round=7,
        session=12,
        step=Step.UPDATE,
        direction="up",
        node_id=NODE.node_id,
        msg_id=counted(0x10, 16),
        recipient_key_id=SERVER_KEY.key_id,
        model_sha256=MODEL_SHA256,
        config_sha256=CONFIG_SHA256,
        consent_tag="7a" * 16,
        consent_receipt_sha256="5e" * 32,
        not_after=NOW + 600,
    )
    return replace(usual, **fields)


def sealed(body: bytes = BODY, **fields: Any) -> bytes:  # noqa: ANN401
    """Return an update that ``NODE`` sealed to the server."""
    return seal(context(**fields), body, recipient=SERVER_KEY.public, signer=NODE.signing)


def opened(envelope: bytes, **fields: Any) -> bytes:  # noqa: ANN401
    """Open it as the server does; ``fields`` are what the server expects otherwise."""
    return open_sealed(
        envelope,
        expected=context(**fields),
        key=SERVER_KEY,
        sender=NODE.signing.public,
        now=NOW,
    )


def reason_of(error: SealRefusedError) -> str:
    """Return the reason of a refusal, after a look that the message says nothing else."""
    assert str(error) == f"a message was refused: {error.reason}"
    return str(error.reason)

"""``[consent]`` of ``privacy.toml``: how long an answer holds, and what closes a switch besides."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from .protection import STRICT, Text


class Notice(BaseModel):
    """The words shown before a yes, in one language."""

    model_config = STRICT

    file: Text
    """Where they are, beside ``privacy.toml``."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the file; it stands in each receipt."""


class Consent(BaseModel):
    """How long an answer holds, and what closes a switch besides the person."""

    model_config = STRICT

    expiry_days: int = Field(ge=1)
    """Days a yes holds."""
    grace_days: int = Field(ge=0)
    """Days that data waits, shut, for a new yes after an expiry."""
    refusal_days: int = Field(ge=1)
    """Days a no is kept without asking again."""
    reach_back: bool
    """Whether a yes covers rows older than itself."""
    withdraw_max_seconds: int = Field(ge=1)
    """Bound on the time a withdrawal takes, erasure on disk included."""
    server_copy: Literal["none", "commitment"]
    """What the server has of a receipt: nothing, or a keyed hash that tells nobody who."""
    receipts_years: int = Field(ge=1)
    """Years receipts are kept after the last event."""
    honour_gpc: bool
    """Whether Global Privacy Control closes purposes that leave the device."""
    signals: Annotated[tuple[Literal["sec_gpc", "os_setting"], ...], Field(strict=False)]
    """Opt-out signals the device looks at."""
    min_age: int = Field(ge=0)
    """Under it, and where the age is not known, purposes that leave are locked."""
    notices: dict[Annotated[str, Field(pattern=r"^[a-z]{2}(-[A-Z]{2})?$")], Notice] = Field(
        default_factory=dict
    )
    """The words shown, by language."""

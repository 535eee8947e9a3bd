"""``[consent]`` of ``privacy.toml``: how long an answer holds, and what closes a switch besides."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from .protection import STRICT

Text = Annotated[str, Field(min_length=1)]


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

    expiry_days: int = Field(default=365, ge=1)
    """Days a yes holds."""
    grace_days: int = Field(default=14, ge=0, le=30)
    """Days that data waits, shut, for a new yes after an expiry."""
    refusal_days: int = Field(default=180, ge=1)
    """Days a no is kept without asking again."""
    reach_back: bool = False
    """Whether a yes covers rows older than itself."""
    withdraw_max_seconds: int = Field(default=1, ge=1)
    """Bound on the time a withdrawal takes, erasure on disk included."""
    receipts_years: int = Field(default=3, ge=1)
    """Years receipts are kept after the last event."""
    honour_gpc: bool = True
    """Whether Global Privacy Control closes purposes that leave the device."""
    signals: Annotated[tuple[Literal["sec_gpc", "os_setting"], ...], Field(strict=False)] = (
        "sec_gpc",
        "os_setting",
    )
    """Opt-out signals the device looks at."""
    min_age: int = Field(default=16, ge=13)
    """Under it, and where the age is not known, purposes that leave are locked."""
    notices: dict[Annotated[str, Field(pattern=r"^[a-z]{2}(-[A-Z]{2})?$")], Notice] = Field(
        default_factory=dict
    )
    """The words shown, by language."""

"""``homebody device receipts``: what was decided when, and whether anybody changed it since."""

import secrets
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homebody_privacy.errors import IntegrityError, UsageError

from .session_cli import (
    HERE,
    Format,
    PassphraseOption,
    ProfileOption,
    answer,
    columns,
    opened,
)

if TYPE_CHECKING:
    from homebody_client.device import Device
    from homebody_privacy.receipts import ConsentReceipt

app = typer.Typer()


class ReceiptFormat(StrEnum):
    """How receipts are printed."""

    TEXT = "text"
    JSON = "json"
    DPV = "dpv"


@app.command("receipts")
def receipts(
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check every hash, every signature and the anchor.")
    ] = False,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: Annotated[
        ReceiptFormat,
        typer.Option("--format", help="text, json, or dpv: records after ISO/IEC TS 27560."),
    ] = ReceiptFormat.TEXT,
) -> None:
    """Show the receipts of your decisions, oldest first; exit 14 if they were changed."""
    with opened(profile, passphrase_file) as device:
        found = device.consent.receipts()
        proof = verified(device, profile) if verify else {}
        records = as_records(device, profile) if output is ReceiptFormat.DPV else None
    if records is not None:
        answer(Format.JSON, records, "")
        return
    value = {"receipts": [one.to_json() for one in found], **proof}
    lines = [columns([_row(one) for one in found]) if found else "nothing was decided yet"]
    if proof:
        lines.append(f"verified: {proof['verified']} receipts, key {proof['public_key']}")
    answer(Format(output.value), value, "\n".join(lines))


def verified(device: "Device", profile: Path) -> dict[str, Any]:
    """Check the receipts against hashes, signatures and anchor; return what was checked.

    Raises:
        IntegrityError: If anything was changed, cut or put back.
    """
    from homebody_client.consent.book import ConsentBook
    from homebody_privacy.receipts import read_chain

    book = device.consent
    if not isinstance(book, ConsentBook):
        book.receipts()
    journal, file = book.keeper.journal, profile / "receipts.jsonl"
    if journal.state.broken_at is not None:
        raise IntegrityError(
            f"{file}: the receipts are not those this device wrote; everything is shut since",
            fix="keep the file; the person has to be asked again",
        )
    lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    chain = read_chain(lines, public=book.signing_key.public, base=journal.state.base)
    return {
        "verified": len(chain),
        "head": journal.state.end.head,
        "public_key": book.signing_key.public.hex(),
    }


def as_records(device: "Device", profile: Path) -> dict[str, Any]:
    """Return the person's full copy of their consents, as JSON-LD.

    The ids in it are drawn anew each time: two copies cannot be told to be of one person by them.

    Raises:
        UsageError: If nothing was decided yet.
        InvalidFileError: If there is no valid config: it says who decides.
        IntegrityError: If the record would lack what it must have.
    """
    from homebody_privacy.config import PrivacyConfig
    from homebody_privacy.consent_record import ControllerFacts, consent_records, problems

    found, terms = device.consent.receipts(), device.consent.terms
    if terms is None or not any(one.purpose for one in found):
        raise UsageError(
            "nothing was decided yet: there is no record", fix="decide, then ask again"
        )
    activity = PrivacyConfig.load(profile / "privacy.toml").activity
    document = consent_records(
        found,
        terms,
        ControllerFacts(name=activity.controller, contact=activity.contact),
        subject=_new_id(),
        new_id=_new_id,
    )
    lacking = problems(document)
    if lacking:
        raise IntegrityError(f"the record is not complete: {lacking[0]}")
    return document


def _new_id() -> str:
    return secrets.token_hex(16)


def _row(one: "ConsentReceipt") -> tuple[object, ...]:
    from homebody_client.api.answers import moment

    who = "you" if one.by == "DataSubject" else "the device"
    features = ", ".join(one.features)
    return one.n, moment(one.at), one.event, one.purpose, features, who, one.cause or one.method

"""``homebody device`` and the person's rights: see, correct, take along, erase, and what left.

What these commands print is the person's own: rows and reasons are shown, keys never.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from homebody_privacy.errors import InvalidFileError, UsageError

from .session_cli import (
    HERE,
    Format,
    FormatOption,
    PassphraseOption,
    ProfileOption,
    answer,
    columns,
    meant,
    opened,
    opened_rows,
    there,
)

if TYPE_CHECKING:
    from homebody_client.consent.egress import EgressEntry
    from homebody_client.store import Value

app = typer.Typer()

_LITERALS: Final = {"true": True, "false": False, "null": None}


@app.command("knows")
def knows(
    *,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Show every row this device keeps of you (GDPR Art. 15)."""
    with opened_rows(profile, passphrase_file) as device:
        from homebody_client.api.answers import known_json, moment

        found = device.knows()
        value = known_json(device)
    rows = [
        (
            row.row,
            row.feature,
            moment(row.at),
            " ".join(f"{name}={field}" for name, field in row.values.items()),
        )
        for row in found
    ]
    answer(output, value, columns(rows) if rows else "nothing is kept")


@app.command("correct")
def correct(
    row: Annotated[int, typer.Argument(help="Number of the row, as homebody device knows shows.")],
    values: Annotated[list[str], typer.Argument(metavar="FIELD=VALUE...", help="New values.")],
    *,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Correct fields of a row (Art. 16); the next list goes by it."""
    with opened_rows(profile, passphrase_file) as device:
        before = next((one.values for one in device.knows() if one.row == row), {})
        new: dict[str, Value] = {}
        for pair in values:
            name, equals, text = pair.partition("=")
            if not name or not equals:
                raise UsageError("a correction is FIELD=VALUE", fix="such as rating=4")
            new[name] = _value(text, before.get(name))
        with meant("see homebody device knows for rows and fields"):
            device.correct(row, new)
    answer(output, {"corrected": True}, "corrected")


@app.command("delete")
def delete(
    row: Annotated[int, typer.Argument(help="Number of the row, as homebody device knows shows.")],
    *,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Erase a row, its bytes on the disk too."""
    with opened_rows(profile, passphrase_file) as device:
        gone = device.delete(row)
    answer(output, {"forgotten": gone}, f"rows erased: {gone}")


@app.command("forget")
def forget(
    product: Annotated[str, typer.Argument(help="A product.")],
    *,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Erase every row of a product: it is no reason of anything any more."""
    with opened_rows(profile, passphrase_file) as device:
        gone = device.forget(product)
    answer(output, {"forgotten": gone}, f"rows erased: {gone}")


@app.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="File to write; only its owner may read it.")],
    *,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Write everything of you into a file (Art. 15, 20): rows, decisions, receipts, what left."""
    with opened_rows(profile, passphrase_file) as device:
        try:
            written = device.export(file)
        except OSError as error:
            raise InvalidFileError(
                f"{file}: it cannot be written: {error.strerror}", fix="name a file in a folder"
            ) from error
    answer(output, {"file": str(written)}, f"written: {written}, which only you may read")


@app.command("erase")
def erase(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Really erase.")] = False,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Erase everything this device keeps of you, and the keys that open it (Art. 17)."""
    from homebody_client.page.words import ERASE_WARNING

    if not yes:
        raise UsageError(ERASE_WARNING, fix="say it with --yes")
    with opened(profile, passphrase_file) as device:
        device.erase()
    answer(output, {"erased": True}, "erased; receipts and counts of rounds joined stay")


@app.command("egress")
def egress(
    *,
    tail: Annotated[int, typer.Option(min=1, help="How many of the latest entries.")] = 50,
    profile: ProfileOption = HERE,
    output: FormatOption = Format.TEXT,
) -> None:
    """Say what left this device and what was held back, in words; also while the device runs."""
    from homebody_client.api.answers import left_json, moment
    from homebody_client.consent.egress import EgressLog

    there(profile)
    found = EgressLog(profile / "egress.jsonl").entries()[-tail:]
    rows = [
        (
            moment(one.time),
            one.kind,
            one.purpose,
            f"{one.bytes} B",
            _said(one),
        )
        for one in found
    ]
    value = {"entries": [left_json(one) for one in found]}
    answer(output, value, columns(rows) if rows else "nothing left this device")


def _said(one: "EgressEntry") -> str:
    """Return what an entry of the log says, with what it counts as."""
    if not one.sent:
        return f"held back, {one.why}"
    from homebody_privacy.egress_map import words_of_charge

    charge = words_of_charge(one.charge)
    return f"{one.summary}; counted as {charge}" if charge else one.summary


def _value(text: str, before: "Value") -> "Value":
    """Return what was typed, of the kind the field has."""
    if isinstance(before, str):
        return text
    if text in _LITERALS:
        return _LITERALS[text]
    try:
        number = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return number if isinstance(number, int | float) else text

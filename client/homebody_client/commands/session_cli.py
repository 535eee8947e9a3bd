"""What every command of a device does: open the profile that is named, and print one answer."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from homebody_privacy.errors import IntegrityError, InvalidFileError, UsageError

if TYPE_CHECKING:
    from homebody_client.device import Device

HERE: Final = Path("profile")
"""The profile where none is named."""

IDENTITY: Final = "profile.id"
"""The file that makes a folder a profile."""

_MOST_BYTES: Final = 4_096  # of a pass phrase


class Format(StrEnum):
    """How a command answers."""

    TEXT = "text"
    JSON = "json"


ProfileOption = Annotated[Path, typer.Option("--profile", help="Folder of the profile.")]
PassphraseOption = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="File of the pass phrase, where one seals the key."),
]
FormatOption = Annotated[Format, typer.Option("--format", help="text or json.")]


@contextmanager
def opened(profile: Path, passphrase_file: Path | None) -> "Iterator[Device]":
    """Open the device of a profile that is there, and close it afterwards.

    Raises:
        InvalidFileError: If there is no profile: a wrong name must not make one.
        UsageError: If another process has it open, or the pass phrase is wrong.
    """
    there(profile)
    from homebody_client.device import Device

    with Device.open(profile, passphrase=read_passphrase(passphrase_file)) as device:
        if device.readable:
            device.tick()  # no timer comes round in a command: what is overdue goes first
        yield device


@contextmanager
def opened_rows(profile: Path, passphrase_file: Path | None) -> "Iterator[Device]":
    """Open a device whose rows can be read: no answer at all is better than "nothing is kept".

    Raises:
        IntegrityError: If its keys or its store are not what was written.
        InvalidFileError: As ``opened``.
        UsageError: As ``opened``.
    """
    with opened(profile, passphrase_file) as device:
        if not device.readable:
            raise IntegrityError(
                next(iter(device.problems), "the rows of this device cannot be read"),
                fix="bring profile and state folder back, or erase: homebody device erase",
            )
        yield device


def there(profile: Path) -> None:
    """Refuse a folder that is no profile.

    Raises:
        InvalidFileError: If it is none.
    """
    if not (profile / IDENTITY).exists():
        raise InvalidFileError(
            f"{profile}: there is no profile here",
            fix=f"name one with --profile, or begin one: homebody device init {profile}",
        )


def read_passphrase(file: Path | None) -> str | None:
    """Return the pass phrase in a file, without its line end; None without a file. Secret.

    Raises:
        InvalidFileError: If it cannot be read, is empty, or is no text.
    """
    if file is None:
        return None
    try:
        with file.open("rb") as content:
            read = content.read(_MOST_BYTES + 1)
        text = read.decode().rstrip("\r\n")
    except OSError as error:
        raise InvalidFileError(
            f"{file}: the pass phrase cannot be read: {error.strerror}", fix="name a readable file"
        ) from error
    except UnicodeDecodeError:
        text = ""
    if not text or len(read) > _MOST_BYTES:
        raise InvalidFileError(
            f"{file}: it holds no pass phrase", fix=f"give a line of 1 to {_MOST_BYTES} bytes"
        )
    return text


@contextmanager
def meant(fix: str) -> Iterator[None]:
    """Turn the refusal of a value that was typed into one of the command line.

    Only around calls whose ``ValueError`` says nothing of the person.

    Args:
        fix: What helps.

    Raises:
        UsageError: If the value was refused.
    """
    try:
        yield
    except ValueError as error:
        raise UsageError(str(error), fix=fix) from error


def answer(output: Format, value: object, text: str) -> None:
    """Print one answer: a JSON object alone on its line, or text.

    Args:
        output: Which of the two.
        value: The answer for programs.
        text: The answer for people; nothing is printed where it is empty.
    """
    if output is Format.JSON:
        typer.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))
    elif text:
        typer.echo(text)


def shown(text: object) -> str:
    """Return text that cannot write to the terminal: an id may hold anything.

    Examples:
        >>> shown(chr(27) + "[31mred") == chr(0xFFFD) + "[31mred"
        True
    """
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in str(text))


def columns(rows: Sequence[Sequence[object]]) -> str:
    """Lay rows out below each other, two spaces between columns.

    Examples:
        >>> print(columns([("a", "bread"), ("row", "tea")]))
        a    bread
        row  tea
    """
    lines = [[shown(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def facts(values: Mapping[str, object]) -> str:
    """Lay named facts out, one a line.

    Examples:
        >>> print(facts({"key": "file", "consent": "off"}))
        key      file
        consent  off
    """
    return columns(list(values.items()))

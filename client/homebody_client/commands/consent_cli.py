"""``homebody device consent``: every switch, a no as short as a yes."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from homebody_privacy.errors import ConsentMissingError, UsageError

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
)

if TYPE_CHECKING:
    from homebody_client.consent.book import ConsentBook
    from homebody_client.device import Device
    from homebody_client.shut_book import ShutBook

    Book = ConsentBook | ShutBook

app = typer.Typer(
    name="consent",
    help="See and change what this device may do. Everything is off at first.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

_METHOD: Final = "cli"
_FIXES: Final = {
    "age_locked": "keep the person's age band first: homebody device consent age BAND",
    "config_not_approved": "bring a valid config: homebody device init --config privacy.toml",
    "needs": "say yes to what it needs in the same command, if the person does",
    "restricted": "end the pause first: homebody device consent lift",
    "opt_out_signal": "only where the person confirms it: --over-signal",
}

PurposesArgument = Annotated[
    list[str], typer.Argument(metavar="PURPOSE...", help="One purpose or more.")
]


class Signal(StrEnum):
    """What an opt-out signal says."""

    ON = "on"
    OFF = "off"
    UNREADABLE = "unreadable"


_SAID: Final = {Signal.ON: True, Signal.OFF: False, Signal.UNREADABLE: None}


@app.callback()
def consent() -> None:
    """See and change what this device may do."""


@app.command("show")
def show(
    *,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Show every switch: what was said, whether it is open, and why not."""
    with opened(profile, passphrase_file) as device:
        answer(output, _as_json(device), _as_text(device))


@app.command("grant")
def grant(
    purposes: PurposesArgument,
    *,
    features: Annotated[
        str, typer.Option(help="What may be used, as a,b. What is not named is off.")
    ],
    explicit: Annotated[
        bool, typer.Option("--explicit", help="A second, explicit yes to special data.")
    ] = False,
    over_signal: Annotated[
        bool, typer.Option("--over-signal", help="A yes although an opt-out signal is on.")
    ] = False,
    language: Annotated[str, typer.Option(help="Language of the notice that was read.")] = "en",
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Say yes to purposes for some feature groups; another yes replaces the one before."""
    named = [name.strip() for name in features.split(",") if name.strip()]
    if not named:
        raise UsageError("a yes names at least one feature group", fix="such as --features tastes")

    def change(book: "Book", purpose: str) -> None:
        book.grant(
            purpose,
            features=named,
            language=language,
            explicit=explicit,
            over_signal=over_signal,
            method=_METHOD,
        )

    with opened(profile, passphrase_file) as device:
        _known(device.consent, "feature group", named)
        _each(device, _needed_first(device.consent, purposes), change, output)


@app.command("withdraw")
def withdraw(
    purposes: PurposesArgument,
    *,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Take a yes back: shut and erased when the command ends, with all that needs it."""
    _say(purposes, lambda b, p: b.withdraw(p, method=_METHOD), profile, passphrase_file, output)


@app.command("refuse")
def refuse(
    purposes: PurposesArgument,
    *,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Say no; you are not asked again for a while."""
    _say(purposes, lambda b, p: b.refuse(p, method=_METHOD), profile, passphrase_file, output)


@app.command("defer")
def defer(
    purposes: PurposesArgument,
    *,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Say: not now."""
    _say(purposes, lambda b, p: b.defer(p), profile, passphrase_file, output)


@app.command("object")
def object_(
    purposes: PurposesArgument,
    *,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Object to a purpose (GDPR Art. 21): it is withdrawn."""
    _say(purposes, lambda b, p: b.object_to(p), profile, passphrase_file, output)


@app.command("restrict")
def restrict(
    *,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Pause everything (Art. 18): nothing is collected, read or sent, and nothing is erased."""
    with opened(profile, passphrase_file) as device:
        device.consent.restrict()
        answer(output, _as_json(device), "paused")


@app.command("lift")
def lift(
    *,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """End the pause; what became overdue meanwhile goes first."""
    with opened(profile, passphrase_file) as device:
        device.consent.lift()
        answer(output, _as_json(device), "not paused any more")


@app.command("age")
def age(
    band: Annotated[str, typer.Argument(help="under_13, 13_15, 16_17 or 18_plus.")],
    *,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Keep your age band; what leaves the device is locked while it is not known."""
    with opened(profile, passphrase_file) as device:
        with meant("name one of them"):
            device.consent.set_age_band(band)
        answer(output, _as_json(device), "kept")


@app.command("signal")
def signal(
    name: Annotated[str, typer.Argument(help="sec_gpc or os_setting.")],
    says: Annotated[Signal, typer.Argument(help="on, off or unreadable.")],
    *,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Tell the device what an opt-out signal says; on withdraws what leaves."""
    with opened(profile, passphrase_file) as device:
        with meant("name one of them"):
            device.consent.set_signal(name, _SAID[says])
        answer(output, _as_json(device), _as_text(device))


def _say(
    purposes: Iterable[str],
    change: "Callable[[Book, str], object]",
    profile: Path,
    passphrase_file: Path | None,
    output: Format,
) -> None:
    with opened(profile, passphrase_file) as device:
        _each(device, list(purposes), change, output)


def _each(
    device: "Device",
    purposes: list[str],
    change: "Callable[[Book, str], object]",
    output: Format,
) -> None:
    """Change one purpose after another, once all are known, and show what holds now."""
    _known(device.consent, "purpose", purposes)
    for number, purpose in enumerate(purposes):
        try:
            change(device.consent, purpose)
        except ConsentMissingError as error:
            done = f"; done before it: {', '.join(purposes[:number])}" if number else ""
            code = str(error).partition(":")[0]
            fix = _FIXES.get(code, error.fix)
            raise ConsentMissingError(f"{error} ({purpose}){done}", fix=fix) from error
    answer(output, _as_json(device), _as_text(device))


def _known(book: "Book", what: str, names: Iterable[str]) -> None:
    """Refuse names the config does not have; without a config the book says why it is shut.

    Raises:
        UsageError: If one is unknown.
    """
    if book.terms is None:
        return
    known = book.terms.purposes if what == "purpose" else book.terms.groups
    if not set(names) <= set(known):
        raise UsageError(
            f"the config has no such {what}", fix=f"name some of {', '.join(sorted(known))}"
        )


def _needed_first(book: "Book", purposes: Iterable[str]) -> list[str]:
    """Return purposes so that each comes after those it requires; nothing is added."""
    from homebody_privacy.consent import all_required

    terms, named = book.terms, dict.fromkeys(purposes)
    if terms is None:
        return list(named)
    return sorted(named, key=lambda one: len(all_required(terms, one)))


def _as_json(device: "Device") -> dict[str, Any]:
    from homebody_client.api.answers import consent_json

    book = device.consent
    return {**consent_json(book), "age_band": book.age_band, "signals": dict(book.signals)}


def _as_text(device: "Device") -> str:
    rows = [
        (
            "on " if row.open else "off",
            row.purpose,
            row.feature,
            "leaves, protected" if row.leaves_device else "stays here",
            row.state,
            f"{row.code}: {row.sentence}" if row.code else "",
        )
        for row in device.consent.matrix()
    ]
    if rows:
        return columns(rows)
    shut = device.consent.why("recommend", "")
    return f"everything is off: {shut}" if shut is not None else "there is no switch"

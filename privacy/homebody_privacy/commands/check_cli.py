"""``homebody check``: whether a config may be deployed, and what stands in the way."""

import json
import time
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from homebody_privacy.approval.statement import Waiver
    from homebody_privacy.config import PrivacyConfig
    from homebody_privacy.policy.findings import CheckResult

app = typer.Typer(
    help="Check a config against rules.", no_args_is_help=True, pretty_exceptions_enable=False
)


class Format(StrEnum):
    """How the answer is printed."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    JUNIT = "junit"


@app.command("check")
def check(
    config: Annotated[Path, typer.Argument(help="Config to check.")] = Path("privacy.toml"),
    policy: Annotated[
        Path | None, typer.Option(help="The firm's own rules; they only add to the baseline.")
    ] = None,
    profile: Annotated[
        str, typer.Option(help="Further sets of rules, with commas: gdpr, ccpa, health, media.")
    ] = "",
    output: Annotated[
        Format, typer.Option("--format", help="text, json, sarif or junit.")
    ] = Format.TEXT,
    fast: Annotated[
        bool, typer.Option("--fast", help="Take no credit for sampling: loads no accountant.")
    ] = False,
    enrolled: Annotated[
        int | None, typer.Option(min=1, help="Devices enrolled; checks what the file says.")
    ] = None,
    waivers: Annotated[
        Path | None, typer.Option(help="File of approvals whose waivers may lift rules.")
    ] = None,
    reviewers: Annotated[
        Path | None, typer.Option(help="Keys of those whose signatures count.")
    ] = None,
) -> None:
    """Judge a config by every rule in force, and say what one run would cost a person at most."""
    from homebody_privacy.config import PrivacyConfig
    from homebody_privacy.policy.check import check_config
    from homebody_privacy.policy.policy_file import PolicyRules
    from homebody_privacy.policy.profiles import profile_names

    profiles = profile_names(profile)
    rules = None if policy is None else PolicyRules.load(policy)
    read, now = PrivacyConfig.read(config), int(time.time())
    lifting, proposed = _waivers(read, waivers, reviewers, now)
    result = check_config(
        read,
        policy=rules,
        profiles=profiles,
        folder=config.parent,
        waivers=lifting,
        proposed=proposed,
        now=now,
        enrolled=enrolled,
        fast=fast,
    )
    _print(result, read, config, output)
    raise typer.Exit(result.exit_code)


def _waivers(
    config: "PrivacyConfig", file: Path | None, reviewers: Path | None, now: int
) -> "tuple[list[Waiver], list[Waiver]]":
    """Return the waivers that count, expired ones among them, and those that lift nothing.

    Raises:
        IntegrityError: If an envelope is not what was signed.
    """
    from homebody_privacy.errors import IntegrityError, InvalidFileError, UsageError

    if file is None:
        if reviewers is not None:
            raise UsageError("--reviewers checks --waivers, which is missing")
        return [], []
    from homebody_privacy.approval.app_digest import installed_app
    from homebody_privacy.approval.approvals_file import read_approvals
    from homebody_privacy.approval.quorum import approved
    from homebody_privacy.approval.reviewers import ReviewerKeys
    from homebody_privacy.approval.statement import Waiver, unverified

    if not file.exists():
        raise InvalidFileError(f"{file}: there is no such file", fix="name a file of approvals")
    envelopes = read_approvals(file)
    said = [found for found in map(unverified, envelopes) if isinstance(found, Waiver)]
    if reviewers is None:
        return [], said
    state = approved(config, installed_app(), envelopes, ReviewerKeys.load(reviewers), now)
    if state.broken:
        raise IntegrityError("\n".join(state.broken))
    return [*state.waivers, *(one for one in said if one.expires <= now)], said


def _print(result: "CheckResult", config: "PrivacyConfig", file: Path, output: Format) -> None:
    name = str(file)
    if output is Format.JSON:
        from homebody_privacy.policy.formats import to_json

        typer.echo(json.dumps(to_json(result, name), ensure_ascii=False, indent=2))
    elif output is Format.JUNIT:
        from homebody_privacy.policy.formats import to_junit

        typer.echo(to_junit(result, name), nl=False)
    elif output is Format.SARIF:
        from homebody_privacy.policy.lines import line_numbers
        from homebody_privacy.policy.sarif import to_sarif

        numbers = line_numbers(file.read_text("utf-8"))
        log = to_sarif(result, name, numbers, version("homebody"))
        typer.echo(json.dumps(log, ensure_ascii=False, indent=2))
    else:
        _print_text(result, config, name)


def _print_text(result: "CheckResult", config: "PrivacyConfig", name: str) -> None:
    """Print text, in colours on a terminal alone."""
    import sys

    from homebody_privacy.policy.wording import as_text, lines

    if not sys.stdout.isatty():
        typer.echo(as_text(result, config, name), nl=False)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for line in lines(result, config, name):
        console.print(Text.assemble(*((span.text, span.style) for span in line)))

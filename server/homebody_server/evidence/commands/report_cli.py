"""``homebody report``: the evidence pack of a run, or its entry for a registry."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from homebody_privacy.errors import UsageError

if TYPE_CHECKING:
    from homebody_server.evidence.case import Case

app = typer.Typer(help="Write the evidence pack of a run.", no_args_is_help=True)

_SHOWN = ("index.html", "evidence.json", "MANIFEST")


@app.callback()
def reports() -> None:
    """Write the evidence pack of a run."""


@app.command("report")
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run that has ended.")],
    *,
    evidence: Annotated[
        Path | None, typer.Option(help="Folder of the pack to write; a pack there is replaced.")
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(help="Pinned keys of reviewers, ledger and publisher.")
    ] = None,
    day: Annotated[
        str | None,
        typer.Option(help="Judge expiry as of this day, such as 2026-11-26; by default today."),
    ] = None,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Print the pack beside it, by WeasyPrint or Chromium.")
    ] = False,
    output: Annotated[
        Literal["text", "json", "opendp-registry"],
        typer.Option("--format", help="text, json, or opendp-registry: that entry alone."),
    ] = "text",
) -> None:
    """Write what a reviewer reads, checks and keeps; NOT VERIFIED and exit 14 if a check fails.

    Raises:
        UsageError: If there is nothing to write, or the day is none.
        InvalidFileError: If it is no folder of a run.
    """
    from homebody_privacy.approval.reviewers import ReviewerKeys
    from homebody_privacy.signing import SigningKey
    from homebody_server.evidence.case import open_case
    from homebody_server.evidence.pack import write_pack
    from homebody_server.evidence.pdf import print_pack
    from homebody_server.evidence.registry import registry_entry, to_yaml
    from homebody_server.evidence.sources import read_run

    if evidence is None and (output != "opendp-registry" or pdf):
        raise UsageError("--evidence is missing", fix="name the folder of the pack to write")
    pinned = None if keys is None else ReviewerKeys.load(keys)
    case = open_case(read_run(run), pinned, _seconds(day))
    written: list[Path] = []
    if evidence is not None:
        write_pack(evidence, case, SigningKey.load(run.resolve().parent / "ledger.key"))
        written = [evidence / name for name in _SHOWN]
        if pdf:
            written.append(print_pack(evidence))
    if output == "opendp-registry":
        typer.echo(to_yaml(registry_entry(case)), nl=False)
    elif output == "json":
        typer.echo(json.dumps(_told(case, written), ensure_ascii=False, allow_nan=False))
    else:
        typer.echo("  ".join(f"{p} (signed)" if p.name == "MANIFEST" else str(p) for p in written))
    if not case.is_verified:
        typer.echo(case.verify_log, err=True)
        raise typer.Exit(case.verification.exit_code)


def _told(case: "Case", written: list[Path]) -> dict[str, object]:
    return {
        "run": case.record.name,
        "verified": case.is_verified,
        "exit_code": case.verification.exit_code,
        "epsilon": None if case.figures is None else case.figures.epsilon,
        "withheld": list(case.withheld),
        "failed": case.check.failed,
        "warned": case.check.warned,
        "written": [str(path) for path in written],
    }


def _seconds(day: str | None) -> int:
    """Return the time expiry is judged for, in Unix seconds."""
    from datetime import UTC, datetime

    if day is None:
        return int(time.time())
    try:
        return int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError as error:
        raise UsageError(f"--day must be a day such as 2026-11-26, got {day!r}") from error

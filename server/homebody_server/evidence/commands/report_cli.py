"""``homebody report``: the evidence pack of a run, or its entry for a registry."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from homebody_privacy.errors import UsageError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

_FORMATS = ("text", "json", "opendp-registry")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run that has ended.")],
    evidence: Annotated[
        Path | None, typer.Option(help="Folder of the pack to write; a pack there is replaced.")
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(help="Reviewers' keys, to compare signatures with.")
    ] = None,
    day: Annotated[
        str | None,
        typer.Option(help="Judge expiry as of this day, such as 2026-11-26; today by default."),
    ] = None,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Print the pack beside it, by WeasyPrint or Chromium.")
    ] = False,
    format: Annotated[  # noqa: A002 - the option's name
        str, typer.Option(help="text, json, or opendp-registry: the registry's entry alone.")
    ] = "text",
) -> None:
    """Write the evidence pack of a run: what a reviewer reads, checks and keeps."""
    from homebody_privacy.approval.reviewers import ReviewerKeys
    from homebody_privacy.signing import SigningKey
    from homebody_server.evidence.case import open_case
    from homebody_server.evidence.pack import write_pack
    from homebody_server.evidence.pdf import print_pack
    from homebody_server.evidence.registry import registry_entry, to_yaml
    from homebody_server.evidence.sources import read_run

    if format not in _FORMATS:
        raise UsageError(f"--format must be {', '.join(_FORMATS)}, got {format}")
    if evidence is None and format != "opendp-registry":
        raise UsageError("--evidence is missing", fix="name the folder of the pack to write")
    now = _now(day)
    reviewers = None if keys is None else ReviewerKeys.load(keys)
    case = open_case(read_run(run), reviewers, now)
    written: list[Path] = []
    if evidence is not None:
        write_pack(evidence, case, SigningKey.load(run.resolve().parent / "ledger.key"))
        written = [evidence / name for name in ("index.html", "evidence.json", "MANIFEST")]
        if pdf:
            written.append(print_pack(evidence))
    if format == "opendp-registry":
        typer.echo(to_yaml(registry_entry(case)), nl=False)
    elif format == "json":
        typer.echo(
            json.dumps(
                {
                    "run": case.record.name,
                    "verified": case.is_verified,
                    "exit_code": case.verification.exit_code,
                    "epsilon": None if case.figures is None else case.figures.epsilon,
                    "withheld": list(case.withheld),
                    "failed": case.check.failed,
                    "warned": case.check.warned,
                    "written": [str(path) for path in written],
                }
            )
        )
    else:
        typer.echo(" ".join(f"{path}{_signed(path)}" for path in written))
    if not case.is_verified:
        typer.echo(str(case.verification), err=True)
        raise typer.Exit(case.verification.exit_code)


def _signed(path: Path) -> str:
    return " (signed)" if path.name == "MANIFEST" else ""


def _now(day: str | None) -> int:
    from datetime import UTC, datetime

    if day is None:
        return int(time.time())
    try:
        return int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError as error:
        raise UsageError(f"--day must be a day such as 2026-11-26, got {day}") from error

"""``homebody verify``: compare a run, or an evidence pack, with what was approved and signed."""

import json
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from homebody_privacy.errors import InvalidFileError

app = typer.Typer(help="Verify a run or an evidence pack.", no_args_is_help=True)


@app.callback()
def verifies() -> None:
    """Verify a run or an evidence pack."""


@app.command("verify")
def verify(
    folder: Annotated[Path, typer.Argument(help="Folder of a run, or an evidence pack.")],
    *,
    keys: Annotated[
        Path | None,
        typer.Option(help="Pinned keys of reviewers, ledger and publisher."),
    ] = None,
    output: Annotated[
        Literal["text", "json"], typer.Option("--format", help="text or json.")
    ] = "text",
) -> None:
    """Verify offline, from the record alone; leave with exit 14 if it is not what was signed.

    Raises:
        InvalidFileError: If it is neither a run nor a pack, or the keys cannot be read.
    """
    from homebody_privacy.approval.reviewers import ReviewerKeys
    from homebody_server.evidence.manifest import MANIFEST
    from homebody_server.evidence.verify import LIMIT, verify_run
    from homebody_server.evidence.verify_pack import verify_pack

    if not folder.is_dir():
        raise InvalidFileError(
            f"{folder} is no folder", fix="name a folder such as runs/autumn, or an evidence pack"
        )
    pinned = None if keys is None else ReviewerKeys.load(keys)
    check = verify_pack if (folder / MANIFEST).exists() else verify_run
    found = check(folder, pinned, int(time.time()))
    if output == "json":
        typer.echo(json.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False))
    else:
        typer.echo(f"{found}\n{LIMIT}")
    raise typer.Exit(found.exit_code)

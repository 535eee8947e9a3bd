"""``homebody release``: let devices have a fleet's model, once what the config asks for is so."""

import time
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Release a model that is held.", no_args_is_help=True)


@app.callback()
def releases() -> None:
    """Release a model that is held."""


@app.command("release")
def release(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    *,
    keys: Annotated[Path, typer.Option(help="Pinned keys of reviewers, ledger and publisher.")],
    publisher: Annotated[
        Path | None,
        typer.Option(help="The publisher's private key; by default publisher.key beside the run."),
    ] = None,
) -> None:
    """Verify the record, look at the audit, and add the publisher's signature.

    Raises:
        InvalidFileError: If a file is missing or is none.
        IntegrityError: If the record is not what was signed.
        PolicyViolationError: If something that release.requires names is not so.
    """
    from homebody_privacy.approval.reviewers import ReviewerKeys
    from homebody_privacy.signing import SigningKey
    from homebody_server.evidence.handing_out import release_run

    key = SigningKey.load(publisher or folder.parent / "publisher.key")
    release_run(folder, ReviewerKeys.load(keys), key, int(time.time()))
    typer.echo(f"released  {folder.name}  devices that pin the publisher's key take it now")

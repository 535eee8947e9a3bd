"""``homebody cosign``: the second key, which signs one history of a ledger only."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from homebody_privacy.note import VerifierKey

app = typer.Typer(pretty_exceptions_enable=False)


@app.command("cosign")
def cosign(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run.")],
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="Your private key.")],
    name: Annotated[
        str, typer.Option("--as", metavar="NAME", help="You, as the reviewers' file has you.")
    ],
    reviewers: Annotated[
        Path | None,
        typer.Option(
            "--reviewers", metavar="FILE", help="Reviewers' keys: the operator's key and yours."
        ),
    ] = None,
) -> None:
    """Cosign the checkpoint of a run's ledger, if it goes on from what you cosigned before."""
    from homebody_privacy.cosigning import cosign as cosigned
    from homebody_privacy.cosigning import memory_of
    from homebody_privacy.errors import InvalidFileError, UsageError
    from homebody_privacy.note import VerifierKey
    from homebody_privacy.signing import SigningKey

    secret = SigningKey.load(key)
    try:
        VerifierKey(name, secret.public)
    except ValueError as error:
        raise UsageError(f"--as {name}: {error}", fix="name yourself without them") from error
    operator = _operator(run, name, secret.public, reviewers)
    try:
        seen = cosigned(run, name, secret, memory_of(key), operator=operator, now=int(time.time()))
    except FileNotFoundError as error:
        raise InvalidFileError(
            f"{run} has no signed checkpoint to cosign",
            fix="name the folder of a run that was begun, such as runs/autumn",
        ) from error
    typer.echo(f"cosigned  {seen.origin}  {seen.size} entries  root {seen.root.hex()}  by {name}")


def _operator(run: Path, name: str, public: bytes, reviewers: Path | None) -> "VerifierKey":
    """Return the operator's key: the pinned one, or else the one beside the runs."""
    from homebody_privacy.approval.reviewers import ReviewerKeys
    from homebody_privacy.checkpoint import ledger_public
    from homebody_privacy.errors import InvalidFileError, PolicyViolationError
    from homebody_privacy.note import VerifierKey

    pinned = None if reviewers is None else ReviewerKeys.load(reviewers)
    if pinned is not None and pinned.witnesses.get(name) != public:
        raise PolicyViolationError(
            f"{name} is no witness of {reviewers}, or has another key there",
            fix='give your own key; the file must say may = ["witness"]',
        )
    if pinned is None or pinned.ledger is None:
        return ledger_public(run.resolve().parent)
    try:
        return VerifierKey.parse(pinned.ledger)
    except ValueError as error:
        raise InvalidFileError(f"{reviewers}: ledger.key: {error}") from error

"""``homebody approve`` and ``homebody waive``: four eyes, each with a key of their own."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from homebody_privacy.approval.reviewers import ReviewerKeys
    from homebody_privacy.approval.signing_off import Signer
    from homebody_privacy.config import PrivacyConfig

app = typer.Typer(pretty_exceptions_enable=False)

ConfigArgument = Annotated[Path, typer.Argument(metavar="CONFIG", help="The privacy config.")]
AsOption = Annotated[
    str, typer.Option("--as", metavar="NAME", help="You, as approval.approvers has you.")
]
KeyOption = Annotated[Path, typer.Option("--key", metavar="FILE", help="Your private key.")]
ReviewersOption = Annotated[
    Path | None,
    typer.Option("--reviewers", metavar="FILE", help="Reviewers' keys: whose signatures count."),
]
PolicyOption = Annotated[
    Path | None, typer.Option("--policy", metavar="FILE", help="The firm's policy.toml.")
]


@app.command("approve")
def approve(
    config: ConfigArgument,
    name: AsOption,
    key: KeyOption,
    wheel: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The wheel that devices and server run.")
    ] = None,
    installed: Annotated[
        bool, typer.Option("--installed", help="Approve what is installed here in its place.")
    ] = False,
    reviewers: ReviewersOption = None,
    policy: PolicyOption = None,
    expires_days: Annotated[
        int | None,
        typer.Option(min=1, help="Days it holds; by default approval.expires_days."),
    ] = None,
) -> None:
    """Sign that a config may run in an app. Beside it: CONFIG's stem and .approvals.json."""
    import hashlib

    from homebody_privacy.approval.app_digest import installed_app, wheel_app
    from homebody_privacy.approval.signing_off import reviewed, sign_approval
    from homebody_privacy.errors import UsageError

    if (wheel is None) is not installed:
        raise UsageError("name one of --wheel FILE and --installed")
    signer = _signer(config, name, key, expires_days)
    pinned = _pinned(reviewers)
    seen = reviewed(config, signer, pinned)
    counted = pinned if pinned is not None else _own(signer)
    policy_digest = _checked(config, seen, policy, counted, signer.now)
    digest = installed_app() if wheel is None else wheel_app(wheel)
    named = None if wheel is None else (wheel.name, hashlib.sha256(wheel.read_bytes()).hexdigest())
    state = sign_approval(
        config, seen, signer, app=digest, wheel=named, policy=policy_digest, reviewers=counted
    )
    typer.echo(f"signed  config sha256:{seen.digest()[:16]}  app sha256:{digest[:16]}  by {name}")
    for reason in state.refused:
        typer.echo(f"  not counted: {reason}")
    typer.echo(str(state))


@app.command("waive")
def waive(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="Stable id, such as AGG-002.")],
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="Its field, as homebody check has it.")
    ],
    reason: Annotated[str, typer.Option(help="Why, for the evidence; no personal data.")],
    expires: Annotated[int, typer.Option(min=1, metavar="DAYS", help="Days it holds.")],
    name: AsOption,
    key: KeyOption,
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE", help="The privacy config.")
    ] = Path("privacy.toml"),
    reviewers: ReviewersOption = None,
) -> None:
    """Lift one rule at one field of one config, for a time. In force once approved by all."""
    from homebody_privacy.approval.signing_off import reviewed, sign_waiver

    signer = _signer(config, name, key, expires)
    seen = reviewed(config, signer, _pinned(reviewers))
    waiver = sign_waiver(config, seen, signer, rule=rule, field=path, reason=reason)
    until = time.strftime("%Y-%m-%d", time.gmtime(waiver.expires))
    typer.echo(f"signed  {rule} is lifted for {path} until {until}  by {name}")
    typer.echo("in force once as many as must approve have signed it, or approved after it")


def _signer(config: Path, name: str, key: Path, days: int | None) -> "Signer":
    from homebody_privacy.approval.signing_off import Signer
    from homebody_privacy.config import PrivacyConfig
    from homebody_privacy.signing import SigningKey

    if days is None:
        days = PrivacyConfig.read(config).approval.expires_days
    return Signer(name=name, key=SigningKey.load(key), now=int(time.time()), days=days)


def _pinned(reviewers: Path | None) -> "ReviewerKeys | None":
    from homebody_privacy.approval.reviewers import ReviewerKeys

    return None if reviewers is None else ReviewerKeys.load(reviewers)


def _own(signer: "Signer") -> "ReviewerKeys":
    """Return keys to count by where no reviewers' file is at hand: the signer's, and no other."""
    from homebody_privacy.approval.reviewers import ReviewerKeys

    return ReviewerKeys({signer.name: signer.key.public}, {})


def _checked(
    path: Path, config: "PrivacyConfig", policy: Path | None, keys: "ReviewerKeys", now: int
) -> str | None:
    """Refuse a config that fails the policy, and return the digest of the firm's own."""
    from homebody_privacy.approval.gate import require_checked

    return require_checked(path, config, policy=policy, reviewers=keys, now=now)

"""``homebody audit``: try to refute a privacy config's claim."""

import json
from pathlib import Path
from typing import Annotated

import typer

from homebody_privacy.environment import silence
from homebody_privacy.errors import IntegrityError
from homebody_simulation.run_options import (
    Cohort,
    Config,
    MechanismName,
    Output,
    Rounds,
    check_output,
)

app = typer.Typer(help="Audit a privacy config.", no_args_is_help=True)


@app.callback()
def audits() -> None:
    """Audit a privacy config."""


@app.command("audit")
def audit(
    *,
    config: Config = Path("privacy.toml"),
    run: Annotated[
        Path | None,
        typer.Option(
            help="Audit the config of this finished run, and add the result to its report."
        ),
    ] = None,
    mechanism: MechanismName = None,
    epsilon: Annotated[
        float, typer.Option(help="User-level epsilon the run is planned for.")
    ] = 4.0,
    canaries: Annotated[int, typer.Option(help="Planted devices.")] = 1000,
    rounds: Rounds = None,
    population: Annotated[int, typer.Option(help="Synthetic devices, canaries included.")] = 2500,
    cohort: Cohort = None,
    tier: Annotated[
        str, typer.Option(help="conformance, one-run, membership or all.")
    ] = "conformance",
    shadows: Annotated[int, typer.Option(help="membership: shadow models.")] = 16,
    model: Annotated[str, typer.Option(help="membership: model that is attacked.")] = "popularity",
    seed: Annotated[int | None, typer.Option(help="Key everything random: repeatable.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for audit.json, audit.html and audit.svg.")
    ] = None,
    output: Output = "text",
) -> None:
    """Run the real pipeline with planted devices, and leave with exit 14 if the claim is refuted.

    Raises:
        IntegrityError: If a bound contradicts the claim.
        HomebodyError: If config or options are refused.
    """
    silence()
    check_output(output)
    from homebody_simulation.audit.request import AuditRequest, parse_tier

    request = AuditRequest(
        config_file=config,
        mechanism=mechanism,  # type: ignore[arg-type]  # checked by Request
        epsilon=epsilon,
        canaries=canaries,
        rounds=rounds,
        population=population,
        cohort=cohort,
        tiers=parse_tier(tier),
        shadows=shadows,
        model=model,
        seed=seed,
    )
    # The heavy half of the package loads once the options make sense.
    from homebody_simulation.audit.finished import add_to_report, of_run
    from homebody_simulation.audit.page import write
    from homebody_simulation.audit.run_audit import run_audit

    if run is not None:
        request = of_run(request, run)
    report = run_audit(request)
    if run is not None:
        add_to_report(report, run)
    if out is not None:
        write(report, out)
    if output == "json":
        typer.echo(json.dumps(report.to_dict(), ensure_ascii=False, allow_nan=False))
    else:
        typer.echo("\n".join(report.sentences()))
    if report.is_refuted:
        raise IntegrityError(
            "the audit refuted the claim: " + " ".join(report.findings),
            fix="stop releasing; find the fault, and run the audit again",
        )

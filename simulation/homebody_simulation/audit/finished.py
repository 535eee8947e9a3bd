"""Audit the config a finished run ran under, and put the result into the run's report."""

from dataclasses import replace
from pathlib import Path

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import UsageError
from homebody_server.run_folder import RunFolder
from homebody_simulation.audit.page import audit_section, write
from homebody_simulation.audit.report import AuditReport
from homebody_simulation.audit.request import AuditRequest
from homebody_simulation.report import write_report


def of_run(request: AuditRequest, run: Path) -> AuditRequest:
    """Return the audit of the config a run ran under, its noise included.

    Args:
        request: What is asked besides; its config, mechanism, rounds and cohort are the run's.
        run: Folder of the run.

    Raises:
        UsageError: If the run has not ended, promised nothing, or had no rounds.
        InvalidFileError: If there is no such run.
    """
    folder = RunFolder(run)
    found = folder.read_json("report.json")
    if folder.has_key():
        raise UsageError("the run has not ended", fix="resume it, then audit it")
    if found["epsilon"] is None:
        raise UsageError("the run had no differential privacy: there is no claim to audit")
    config = PrivacyConfig.load(folder.config_file)
    if config.recipe == "statistics":
        raise UsageError(
            "the run had no rounds: an audit tells devices apart by what rounds release",
            fix="audit a run of recipe both or rounds",
        )
    return replace(
        request,
        config_file=folder.config_file,
        mechanism=None,
        epsilon=config.dp.epsilon_max,  # the noise is fixed in the file: this only bounds it
        rounds=None,
        cohort=None,
        population=max(request.population, found["data"]["devices"]),
    )


def add_to_report(report: AuditReport, run: Path) -> None:
    """Write the audit beside the run's report, and the report again with it."""
    folder = RunFolder(run)
    write(report, folder.path)
    whole = {**folder.read_json("report.json"), "audit": audit_section(report)}
    write_report(folder.path, whole)
    folder.write_json("report.json", whole)

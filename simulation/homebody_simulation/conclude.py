"""The end of a run: open the test once, sign the model, write what was found."""

import sys
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from homebody_simulation.cost import Meter
from homebody_simulation.curve import read_points
from homebody_simulation.egress import write_egress
from homebody_simulation.privacy_report import PrivacyReport, claim, limits, privacy_report
from homebody_simulation.publish import publish
from homebody_simulation.report import write_report
from homebody_simulation.setup import Prepared
from homebody_simulation.utility_report import utility_report


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long training took.

    Attributes:
        seconds: Wall seconds of training.
        rounds: Rounds run in that time.
    """

    seconds: float
    rounds: int

    def devices_per_second(self, cohort_size: int) -> float:
        """Return expected devices per second: how many really came is nobody's to know."""
        return self.rounds * cohort_size / self.seconds if self.seconds > 0.0 else 0.0


def conclude(prepared: Prepared, meter: Meter, timing: Timing) -> dict[str, Any]:
    """Evaluate, sign and report a run that has ended; return the report.

    It may be called again after a crash: what it wrote before is replaced.

    Args:
        prepared: The run; its test must be sealed still.
        meter: What the devices' part cost.
        timing: How long training took.
    """
    folder, spec = prepared.folder, prepared.spec
    state = folder.load_state()
    utility = utility_report(prepared, state.parameters)
    found = privacy_report(prepared)
    epsilon, privacy = found.epsilon, found.privacy
    report: dict[str, Any] = {
        "schema": "report/1",
        "run": folder.name,
        "rounds": state.next_round - 1,
        "runtime": prepared.request.runtime,
        "seeded": prepared.request.seed is not None,
        "claim": {"statement": claim(prepared, epsilon)},
        "epsilon": epsilon,
        "privacy": privacy,
        "released": found.released,
        "audit": None,
        "voids": found.voids,
        "limits": limits(prepared, found),
        "utility": utility,
        "curve": _curve(prepared, found),
        "cost": meter.per_device(),
        "devices_per_second": timing.devices_per_second(spec.cohort_size),
        "seconds": timing.seconds,
        "data": _data(prepared),
        "model": {"name": prepared.model.name, "parameters": prepared.model.layout.size},
        "reproduce": _command(prepared),
        "digests": {"config": spec.config_digest, "model": state.digest()},
        "versions": ", ".join(
            f"{name} {version(name)}" for name in ("homebody", "flwr", "torch", "opacus")
        )
        + f", Python {sys.version.split()[0]}",
    }
    report["bundle"] = publish(prepared, state, report)
    write_egress(
        folder.path / "egress.jsonl",
        rounds=report["rounds"],
        size=prepared.model.layout.size,
        spec=spec,
    )
    write_report(folder.path, report)
    folder.write_json("report.json", report)  # last: a run with a report has all the rest
    return report


def _curve(prepared: Prepared, found: PrivacyReport) -> list[dict[str, Any]]:
    """Return the looks by round; without their epsilon where its premise failed."""
    points = [p.to_dict() for p in read_points(prepared.folder.path / "metrics.jsonl")]
    credit = prepared.config.dp.amplification
    if credit and found.epsilon is not None and not found.epsilon["user"]["amplified"]:
        return [{**point, "epsilon": None} for point in points]
    return points


def _data(prepared: Prepared) -> dict[str, Any]:
    data = prepared.dataset
    return {
        "name": prepared.request.data,
        "devices": data.interactions.devices,
        "items": len(data.interactions.catalog),
        "unit": data.unit,
        "options": dict(prepared.request.options),
        "source": data.source,
        "licence": data.licence,
        "population": prepared.spec.population,
    }


def _command(prepared: Prepared) -> str:
    """Return the command that runs this again."""
    request, spec = prepared.request, prepared.spec
    if request.fleet is not None:
        return f"homebody train --fleet {request.fleet}"
    options: dict[str, object] = {
        "data": request.data,
        "epsilon": "inf" if request.epsilon is None else f"{request.epsilon:g}",
        "rounds": spec.rounds,
        "cohort": spec.cohort_size,
        "mechanism": None if spec.ceiling is None else spec.mechanism,
        "runtime": request.runtime,
        "model": request.model,
        "seed": request.seed,
        **{name: request.options.get(name) for name in ("devices", "items", "on_bad")},
        "config": prepared.folder.config_file,
    }
    words = ["homebody simulate"]
    words += [f"--{k.replace('_', '-')} {v}" for k, v in options.items() if v is not None]
    columns = request.options.get("columns")
    if isinstance(columns, dict):
        words += [f"--column {role}={name}" for role, name in columns.items()]
    return " ".join(words)
